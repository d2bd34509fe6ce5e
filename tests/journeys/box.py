"""A real box in a process of its own, and ways to look at what it did from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.places import free_port

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds that anything may take on a busy machine; a test that waits so long fails."""


def until(what: str, look: Callable[[], T], seconds: float = PATIENCE) -> T:
    """Return the first true answer of ``look``; fail, naming what was waited for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = look()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:g} s in vain until {what}")


class BoxProcess:
    """``edge run`` on a configuration of the test's own."""

    program: Sequence[str] = (sys.executable, "-m", "edge")

    def __init__(self, home: Path, models: Path, toml: str) -> None:
        self.home, self.state = home, home / "state"
        self.port = free_port()
        self.log = home / "box.log"
        self.config = home / "edge.toml"
        self._models = models
        self.write(toml)
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, toml: str) -> None:
        """Write the configuration: the test's part, and what every box of a test has."""
        self.config.write_text(
            f'[box]\nstate = "{self.state}"\n[web]\nport = {self.port}\n'
            f'[models]\npath = "{self._models}"\npull = false\n{toml}'
        )

    def start(self, **environ: str) -> None:
        """Start it and wait until it may publish."""
        self.start_only(**environ)
        until("the box is ready", lambda: self.get("/readyz")[0] == 200)

    def start_only(self, **environ: str) -> None:
        """Start it without waiting."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.program, "run", "--config", str(self.config)],
                stderr=log,
                stdout=log,
                env={**os.environ, **environ},
            )

    def get(self, path: str) -> tuple[int, bytes]:
        """GET a path of the page; status 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 0, b""

    def post_raw(self, path: str, body: bytes) -> tuple[int, bytes]:
        """POST bytes without a type; return status and body."""
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data=body, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def post(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """POST a picture or JSON; return status and JSON."""
        kind = "application/json" if body.startswith(b"{") else "application/octet-stream"
        headers = {"Content-Type": kind}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data=body, headers=headers, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def status(self) -> dict[str, Any]:
        """Return ``/v1/status``."""
        answer: dict[str, Any] = json.loads(self.get("/v1/status")[1] or b"{}")
        return answer

    def source(self, name: str) -> dict[str, Any]:
        """Return how one source is."""
        return next(
            (one for one in self.status().get("seeing", []) if one["name"] == name), {"state": ""}
        )

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        lines = self.get("/metrics")[1].decode().splitlines()
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.split("{")[0].split(" ")[0] == name
        )

    def come_to_rest(self) -> int:
        """Wait until no picture is under way and none waits; return how many were redacted."""

        def at_rest() -> bool:
            before = self.metric("edge_pictures_redacted_total")
            time.sleep(0.5)
            after = self.metric("edge_pictures_redacted_total")
            return before == after and self.status()["sending"]["waiting"] == 0

        until("the box comes to rest", at_rest)
        return int(self.metric("edge_pictures_redacted_total"))

    def kill(self) -> None:
        """``kill -9``."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def reload(self) -> None:
        """SIGHUP."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def close(self) -> None:
        """End it whatever it does."""
        if self.process is not None and self.process.poll() is None:
            self.kill()


def pictures(folder: Path) -> list[Path]:
    """Return every picture of a folder store, by name."""
    return sorted(folder.rglob("*.jpg"))


def message(picture: Path) -> dict[str, Any]:
    """Return what the store has beside a picture."""
    answer: dict[str, Any] = json.loads(picture.with_suffix(".json").read_text())
    return answer


def pixels(picture: Path | bytes) -> NDArray[np.uint8]:
    """Decode a picture."""
    body = picture if isinstance(picture, bytes) else picture.read_bytes()
    decoded = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded.astype(np.uint8)


def traces(originals: list[bytes], *folders: Path) -> Iterator[str]:
    """Name every file under ``folders`` that holds a piece of an original picture's bytes.

    Pieces are taken from the compressed pixels, where no two pictures agree by chance.
    """
    pieces = [
        body[at : at + 48]
        for body in originals
        for at in range(len(body) // 3, len(body) - 48, 4096)
    ]
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and any(piece in path.read_bytes() for piece in pieces):
                yield str(path)


def check_covered(redacted: NDArray[np.uint8], raw: NDArray[np.uint8], facts: Any) -> None:
    """Fail unless every person is smooth colour now, and what is far from people still there."""
    assert redacted.shape == raw.shape
    background = np.ones(raw.shape[:2], bool)
    for x, y, width, height in facts["data"]["covered"]:
        background[y : y + height, x : x + width] = False
    for x, y, width, height in (person["box"] for person in facts["data"]["people"]):
        if width >= 24 and height >= 24:
            inner = np.s_[y + 4 : y + height - 4, x + 4 : x + width - 4]
            assert detail(redacted[inner]) < 0.5 * detail(raw[inner]) + 3, facts["subject"]
    if background.any():
        apart = np.abs(redacted[background].astype(int) - raw[background])
        assert apart.mean() < 6, facts["subject"]


def detail(picture: NDArray[np.uint8]) -> float:
    """How much fine structure a picture has: mean absolute Laplacian."""
    return float(np.abs(cv2.Laplacian(picture, cv2.CV_16S)).mean())
