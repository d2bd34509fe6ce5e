"""The whole appliance as a process of its own, watched from outside."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 120.0


class Box:
    """``edge run`` with a configuration of its own in a folder of its own.

    Args:
        folder: where its state, its log and, unless ``config`` has a store, its pictures are.
        config: TOML; what stands outside of tables comes first.

    """

    def __init__(self, folder: Path, config: str) -> None:
        self.folder = folder
        self.pictures = folder / "pictures"
        self._log = folder / "log"
        file = folder / "edge.toml"
        store = f'[store]\nkind = "folder"\npath = "{self.pictures}"\n'
        file.write_text(
            f'box.state = "{folder}/state"\nweb.port = 0\n{config}\n'
            f"{'' if '[store]' in config else store}"
        )
        self.started = time.time()
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "edge", "run", "--config", str(file)]
            self._process = subprocess.Popen(command, stderr=log, cwd=folder)

    @property
    def url(self) -> str:
        """Wait for the page's address."""
        self.wait_for(lambda: "page is at" in self._log.read_text())
        found = re.search(r"http://[0-9.]+:[0-9]+", self._log.read_text())
        assert found is not None
        return found.group()

    def wait_for(self, met: Any, patience: float = PATIENCE, step: float = 0.05) -> None:
        """Wait until ``met()``; fail loudly with the log when it takes too long or the box ends."""
        until = time.monotonic() + patience
        while not met():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the box did not get there:\n{self._log.read_text()[-2000:]}")
            time.sleep(step)

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/v1/status", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def is_ready(self) -> bool:
        """Tell whether it may publish: the engine is up."""
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/readyz", timeout=5):
            return True
        return False

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if re.match(f"{name}[{{ ]", line)
        )

    def stored(self) -> list[Path]:
        """List the stored pictures; their mtimes say when the store had them."""
        return [path for path in self.pictures.rglob("*.jpg") if not path.name.startswith(".")]

    def cpu(self) -> float:
        """Return the seconds of processor time used so far, by all threads."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> float:
        """Return the memory that it has for itself, in MB (10^6): anonymous and shared by share."""
        text = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024 / 1e6

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def box(config: str, folder: Path | None = None) -> Iterator[Box]:
    """Run a box for the length of a ``with``; in a given folder, what it wrote stays there."""
    with contextlib.ExitStack() as ends:
        if folder is None:
            made = tempfile.TemporaryDirectory(prefix="edge-bench-")
            folder = Path(ends.enter_context(made))
        one = Box(folder, config)
        ends.callback(one.stop)
        yield one


def camera(name: str, clip: Path | str, **keys: Any) -> str:
    """Write the table of a camera."""
    lines = [f"[sources.{name}]", 'kind = "camera"', f'url = "{clip}"']
    return "\n".join([*lines, *(f"{key} = {json.dumps(value)}" for key, value in keys.items())])


def detect(models: Path, model: str) -> str:
    """Write the tables that say which model looks."""
    return (
        f'detect.engine = "onnx"\ndetect.model = "{model}"\n'
        f'models.path = "{models}"\nmodels.pull = false'
    )
