"""How tests run rgw-dev, which starts and stops a real Ceph RADOS Gateway.

Between the fork of a daemon and its exec, rgw-dev takes it for dead: on a busy machine that moment
is long enough to be met now and then. So a start is tried again, and what it left behind ends.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

_TRIES = 4


class RgwTool:
    """rgw-dev for one gateway.

    Args:
        tool: the script.
        directory: where the gateway lives, the tool's own.
        options: of its start.

    """

    def __init__(self, tool: Path, directory: Path, *options: str) -> None:
        self._tool, self._directory, self._options = tool, directory, options

    def start(self) -> None:
        """Start what does not run, and wait until it answers."""
        for tries_left in reversed(range(_TRIES)):
            done = self._run("start", *self._options)
            if not done.returncode:
                break
            assert tries_left, f"rgw-dev start: {done.stderr[-2000:]}"
            # with its state written only a gateway was missing: it comes up by itself
            if not (self._directory / "state").exists():
                self._end_daemons()
        facts = self.facts()
        for name in ("RGW_ENDPOINT", "RGW_PUBSUB_ENDPOINT"):
            _wait_for(facts.get(name, ""))

    def facts(self) -> dict[str, str]:
        """Return its addresses and keys, by the names that rgw-dev has for them."""
        done = self._run("env")
        assert not done.returncode, f"rgw-dev env: {done.stderr[-2000:]}"
        return dict(line.split("=", 1) for line in shlex.split(done.stdout))

    def stop(self) -> None:
        """End all daemons and delete the data."""
        done = self._run("stop")
        assert not done.returncode, f"rgw-dev stop: {done.stderr[-2000:]}"
        self._end_daemons()

    def _run(self, verb: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", self._tool, verb, *options, "--dir", self._directory],
            check=False,
            capture_output=True,
            text=True,
            timeout=90,
        )

    def _end_daemons(self) -> None:
        """End those that rgw-dev lost sight of: they name its own configuration."""
        ours = os.fsencode(self._directory / "ceph.conf")
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if ours in (process / "cmdline").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)


def _wait_for(endpoint: str, patience: float = 60.0) -> None:
    """Wait until an HTTP server answers anything; at once where there is no address."""
    ends = time.monotonic() + patience
    while endpoint and not _answers(endpoint):
        assert time.monotonic() < ends, f"{endpoint} does not answer"
        time.sleep(0.05)


def _answers(endpoint: str) -> bool:
    try:
        urllib.request.urlopen(endpoint, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
