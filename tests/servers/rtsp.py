"""RTSP cameras for tests: the shared simulator, and a GStreamer server for what it lacks.

Both run under the system's Python, because GStreamer's bindings are not in a virtual environment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.places import free_port, need, shared

_PYTHON = "/usr/bin/python3"
_INSTALL = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad glib-networking"
)
_CHECK = "import gi; gi.require_version('GstRtspServer', '1.0')"


@dataclass
class RtspServer:
    """A server of RTSP cameras on a loopback port; it may be killed and started again."""

    command: list[str]
    port: int
    control: int = 0
    scheme: str = "rtsp"
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def url(self, mount: str = "cam0", login: str = "") -> str:
        before = f"{login}@" if login else ""
        return f"{self.scheme}://{before}127.0.0.1:{self.port}/{mount}"

    def do(self, *words: str) -> str:
        """Tell the simulator: ``stall resume drop add kick gap stats`` (see its docstring)."""
        address = f"http://127.0.0.1:{self.control}/{'/'.join(words)}"
        with urllib.request.urlopen(address, timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    def start(self) -> None:
        self._process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line.startswith("READY"), f"the RTSP server did not start: {line!r}"

    def kill(self) -> None:
        """Let it die at once, as in a power cut."""
        if self._process:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            assert self._process.stdout
            self._process.stdout.close()
        self._process = None


StartRtsp = Callable[..., RtspServer]


def _can_serve() -> None:
    need("gst-inspect-1.0", f"gstreamer1.0-tools {_INSTALL}")
    found = subprocess.run([_PYTHON, "-c", _CHECK], capture_output=True, check=False)
    if found.returncode:
        text = f"GStreamer's RTSP server is missing; as root: apt-get install {_INSTALL}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(text)


@pytest.fixture
def start_rtsp() -> Iterator[StartRtsp]:
    """Start simulators: ``start_rtsp(file, mounts=1, login="user:password")``."""
    _can_serve()
    servers: list[RtspServer] = []

    def start(video: Path, mounts: int = 1, login: str = "") -> RtspServer:
        port, control = free_port(), free_port()
        command = [_PYTHON, str(shared("tools/rtsp_sim.py"))]
        command += ["--port", str(port), "--control", str(control)]
        command += ["--auth", login] if login else []
        server = RtspServer([*command, str(video), str(mounts)], port, control)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def serve_rtsp() -> Iterator[StartRtsp]:
    """Serve a GStreamer pipeline: ``serve_rtsp(launch, certificate=…, key=…)``."""
    _can_serve()
    servers: list[RtspServer] = []

    def start(
        launch: str, *, certificate: Path | None = None, key: Path | None = None, login: str = ""
    ) -> RtspServer:
        port = free_port()
        script = Path(__file__).with_name("rtsp_pipeline.py")
        command = [_PYTHON, str(script), str(port), launch]
        command += [str(certificate or ""), str(key or ""), login]
        server = RtspServer(command, port, scheme="rtsps" if certificate else "rtsp")
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()
