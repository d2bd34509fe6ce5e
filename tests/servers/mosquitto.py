"""A real MQTT broker (mosquitto; MQTT 3.1.1 and 5) on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.places import free_port, need


@dataclass(slots=True)
class Mosquitto:
    """A broker that lets everyone in. It may be killed, and started again on its port."""

    program: str
    folder: Path
    port: int
    host: str = "127.0.0.1"
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        config = self.folder / "mosquitto.conf"
        config.write_text(f"listener {self.port} {self.host}\nallow_anonymous true\n")
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, "-c", str(config)], stdout=log, stderr=log
            )
        until = time.monotonic() + 10
        while not self._listens():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < until, f"mosquitto does not listen: {self.log()}"
            time.sleep(0.01)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it; ``SIGKILL`` as in a power cut. Nothing happens if it does not run."""
        if self._process is not None:
            os.kill(self._process.pid, how)
            self._process.wait(10)
        self._process = None

    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def _listens(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(need("mosquitto", "mosquitto"), tmp_path, free_port())
    broker.start()
    yield broker
    broker.stop()
