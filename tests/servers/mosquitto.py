"""A real MQTT broker (mosquitto; MQTT 3.1.1 and 5) on loopback."""

from __future__ import annotations

import getpass
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
    """A broker that lets everyone in. It may be killed, and started again on its port.

    ``lines`` are more lines of its configuration: those of its one listener, or ``listener`` again.
    """

    program: str
    folder: Path
    port: int
    host: str = "127.0.0.1"
    lines: list[str] = field(default_factory=list)
    anonymous: bool = True
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        config = self.folder / "mosquitto.conf"
        lines = [
            # started as root it would become somebody who may not read the test's files
            f"user {getpass.getuser()}",
            f"allow_anonymous {str(self.anonymous).lower()}",
            f"listener {self.port} {self.host}",
            *self.lines,
        ]
        config.write_text("\n".join(lines) + "\n")
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, "-c", str(config)], stdout=log, stderr=log
            )
        until = time.monotonic() + 30
        while not self._listens():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < until, f"mosquitto does not listen: {self.log()}"
            time.sleep(0.01)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it; ``SIGKILL`` as in a power cut. Nothing happens if it does not run."""
        if self._process is not None:
            os.kill(self._process.pid, how)
            self.thaw()
            self._process.wait(30)
        self._process = None

    def freeze(self) -> None:
        """Have it hang: the kernel still takes what is sent to it."""
        assert self._process
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process
        os.kill(self._process.pid, signal.SIGCONT)

    def save(self) -> None:
        """Have it write sessions and what is kept to its disk now; ``persistence`` must be on."""
        self._ask(signal.SIGUSR1, "Saving in-memory database")

    def reload(self) -> None:
        """Have it read passwords and access list anew."""
        self._ask(signal.SIGHUP, "Reloading config")

    def _ask(self, what: signal.Signals, answer: str) -> None:
        assert self._process
        before = self.log().count(answer)
        os.kill(self._process.pid, what)
        until = time.monotonic() + 30
        while self.log().count(answer) == before:
            assert time.monotonic() < until, self.log()
            time.sleep(0.01)

    def keep(self) -> None:
        """Have sessions and what is kept survive a restart, even after ``SIGKILL``."""
        self.lines += [
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
        ]

    def let_in(self, **users: str) -> None:
        """Let in these users with their passwords, and nobody else."""
        passwords = self.folder / "passwords"
        passwords.touch(mode=0o600)
        for name, password in users.items():
            program = need("mosquitto_passwd", "mosquitto")
            subprocess.run([program, "-b", passwords, name, password], check=True)
        self.anonymous = False
        self.lines.append(f"password_file {passwords}")

    def allow(self, *rules: str) -> None:
        """Allow only what these lines of an access list say."""
        rights = self.folder / "rights"
        rights.write_text("\n".join(rules) + "\n")
        rights.chmod(0o600)
        self.lines.append(f"acl_file {rights}")

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


@pytest.fixture
def idle_mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that is set up, and then started, by its test."""
    broker = Mosquitto(need("mosquitto", "mosquitto"), tmp_path, free_port())
    yield broker
    broker.stop()
