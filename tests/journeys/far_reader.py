"""Who reads far away: a consumer with a persistent session, in a process of its own, never slow.

``python -m tests.journeys.far_reader HOST PORT FILTER FILE`` says ``up`` on each granted
subscription and appends a line to FILE for each message: topic, blank, payload. It speaks MQTT
3.1.1 by hand: a broker that is killed loses what it has not handed on, so it must never wait.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from tests.places import ROOT

CLIENT: Final = "reader"
ROOM: Final = 64 * 2**20
"""Bytes that the kernel may keep for it."""
_FORCE: Final = 33  # SO_RCVBUFFORCE: as much as root wants
_PUBLISH, _SUBACK = 3, 9


@dataclass
class FarReader:
    """The consumer, seen from a test."""

    host: str
    port: int
    wants: str
    file: Path
    _process: subprocess.Popen[str] | None = None
    _lines: IO[bytes] | None = None
    _rest: bytes = b""
    #: how often each id came
    ids: Counter[str] = field(default_factory=Counter)
    #: numbers of each class and source, in the order in which each came first
    seqs: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    losses: list[dict[str, Any]] = field(default_factory=list)
    historical: int = 0

    def start(self) -> None:
        self.file.touch()
        command = [sys.executable, "-m", "tests.journeys.far_reader", self.host, str(self.port)]
        self._process = subprocess.Popen(
            [*command, self.wants, str(self.file)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        self._lines = self.file.open("rb")
        self.wait_up()

    @classmethod
    def leave_word(cls, host: str, port: int, wants: str) -> None:
        """Subscribe, and go: the broker keeps what comes."""
        with _connected(host, port) as sock:
            _greet(sock, wants)
            data = bytearray()
            while len(data) < 4 + 5:  # welcome and answer
                data += sock.recv(100)

    def wait_up(self) -> None:
        """Wait until it is subscribed again."""
        assert self._process
        assert self._process.stdout
        assert self._process.stdout.readline() == "up\n"

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()
        if self._lines:
            self._lines.close()

    def look(self) -> int:
        """Read what came since; return how many different messages that are by now."""
        assert self._lines
        while piece := self._lines.read(2**22):
            *lines, self._rest = (self._rest + piece).split(b"\n")
            for line in lines:
                self._count(*line.split(b" ", 1))
        return len(self.ids)

    def wait_for(self, many: int, within: float = 20.0) -> None:
        """Wait until so many different messages came."""
        end = time.monotonic() + within
        while self.look() < many:
            assert time.monotonic() < end, f"{len(self.ids)} of {many} came"
            time.sleep(0.05)

    def _count(self, topic: bytes, payload: bytes) -> None:
        message = json.loads(payload)
        self.ids[message["id"]] += 1
        if self.ids[message["id"]] > 1:
            return
        kind, _, source = topic.decode().split("/", 4)[4].partition("/")
        self.seqs[kind, source].append(message["seq"])
        self.historical += message["historical"]
        if kind == "loss":
            self.losses.append(message["data"])

    @property
    def twice(self) -> int:
        """How many came that had come before, and are thrown away by their id."""
        return sum(self.ids.values()) - len(self.ids)

    def faults(self) -> dict[tuple[str, str], str]:
        """Return what is wrong with the numbers of any source: holes, or out of order."""
        return {
            line: f"{found[:3]}… of {len(found)}"
            for line, found in self.seqs.items()
            if found != list(range(1, len(found) + 1))
        }


def main() -> None:
    with suppress(PermissionError):
        os.nice(-15)  # on a busy machine it would wait, too
    host, port, wants, file = sys.argv[1:]
    with Path(file).open("ab") as out:
        while True:
            with suppress(OSError):
                _listen(_connected(host, int(port)), wants, out)
            time.sleep(0.01)


def _connected(host: str, port: int) -> socket.socket:
    sock = socket.socket()
    with suppress(PermissionError):
        sock.setsockopt(socket.SOL_SOCKET, _FORCE, ROOM)
    try:
        sock.connect((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def _packet(first: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes((first, len(body))) + body


def _greet(sock: socket.socket, wants: str) -> None:
    # version 4, keep the session, no keep-alive
    sock.sendall(_packet(0x10, _text("MQTT") + b"\x04\x00\x00\x00" + _text(CLIENT)))
    sock.sendall(_packet(0x82, b"\x00\x01" + _text(wants) + b"\x01"))


def _listen(sock: socket.socket, wants: str, out: IO[bytes]) -> None:
    with sock:
        _greet(sock, wants)
        data = bytearray()
        while piece := sock.recv(2**20):
            data += piece
            acks = _take(data, out)
            out.flush()
            with suppress(OSError):  # the broker is dead: what it sent before counts
                sock.sendall(acks)


def _take(data: bytearray, out: IO[bytes]) -> bytes:
    """Take all whole packets; return the acknowledgements."""
    at, acks = 0, bytearray()
    while (found := _next(data, at)) is not None:
        first, begin, end = found
        if first >> 4 == _PUBLISH:
            name = begin + 2 + int.from_bytes(data[begin : begin + 2], "big")
            body = name + 2 if first & 6 else name
            out.write(data[begin + 2 : name] + b" " + data[body:end] + b"\n")
            if first & 6:
                acks += b"\x40\x02" + data[name:body]
        elif first >> 4 == _SUBACK:
            print("up", flush=True)
        at = end
    del data[:at]
    return bytes(acks)


def _next(data: bytearray, at: int) -> tuple[int, int, int] | None:
    """Return the first byte of the packet that begins there, and where its body begins and ends."""
    size = shift = 0
    for place in range(at + 1, min(at + 5, len(data))):
        size |= (data[place] & 127) << shift
        shift += 7
        if data[place] < 128:
            end = place + 1 + size
            return (data[at], place + 1, end) if end <= len(data) else None
    return None


if __name__ == "__main__":
    main()
