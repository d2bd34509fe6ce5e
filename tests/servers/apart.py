"""A network of its own for a server, with a real wire that loses packets: a Linux namespace."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.places import free_port, need
from tests.servers.mosquitto import Mosquitto

_NET = "198.18"
"""Set aside for measuring networks (RFC 2544): nobody's."""


@dataclass(slots=True)
class Wire:
    """A cable to a namespace; only what goes through it suffers."""

    name: str
    iptables: str

    @property
    def host(self) -> str:
        number = os.getpid() % 60_000
        return f"{_NET}.{number // 250 % 256}.{2 + number % 250}"

    def lossy(self, share: float) -> None:
        """Lose a share of the packets, each way."""
        for chain in ("INPUT", "OUTPUT"):
            rule = f"-A {chain} -m statistic --mode random --probability {share} -j DROP"
            self._inside(f"{self.iptables} {rule}")

    def slow(self, rate: str) -> None:
        """Let only so much through to the server, as ``tc`` writes it: ``200kbit``."""
        _run(f"tc qdisc add dev {self.name}a root tbf rate {rate} burst 5kb latency 400ms")

    def cut(self, way: str) -> None:
        """Lose all packets ``to`` the server, or ``from`` it."""
        self._inside(f"{self.iptables} -A {'INPUT' if way == 'to' else 'OUTPUT'} -j DROP")

    def mend(self) -> None:
        self._inside(f"{self.iptables} -F")

    def start(self) -> None:
        _run(f"ip netns add {self.name}")
        near = f"{self.host.rpartition('.')[0]}.1"
        _run(f"ip link add {self.name}a type veth peer name {self.name}b netns {self.name}")
        _run(f"ip addr add {near} peer {self.host} dev {self.name}a")
        _run(f"ip link set {self.name}a up")
        self._inside(f"ip addr add {self.host} peer {near} dev {self.name}b")
        self._inside(f"ip link set {self.name}b up")
        self._inside("ip link set lo up")

    def stop(self) -> None:
        # the network itself goes when its last process has gone, a little later
        for line in (f"ip link del {self.name}a", f"ip netns del {self.name}"):
            subprocess.run(line.split(), check=False, capture_output=True)

    def _inside(self, line: str) -> None:
        _run(f"ip netns exec {self.name} {line}")


def _run(line: str) -> None:
    subprocess.run(line.split(), check=True, capture_output=True, text=True)


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A wire to a network of its own; skips where this user may make none."""
    need("ip", "iproute2")
    found = Wire(f"edge{os.getpid()}", need("iptables", "iptables"))
    try:
        found.start()
        found.mend()
    except subprocess.CalledProcessError as error:
        found.stop()
        pytest.skip(f"no rights for a network namespace: {error.stderr.strip()}")
    yield found
    found.stop()


@pytest.fixture
def far_mosquitto(wire: Wire, tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker at the other end of the wire."""
    program = tmp_path / "mosquitto"
    inside = need("mosquitto", "mosquitto")
    program.write_text(f'#!/bin/sh\nexec ip netns exec {wire.name} {inside} "$@"\n')
    program.chmod(0o755)
    broker = Mosquitto(str(program), tmp_path, free_port(), wire.host)
    broker.start()
    yield broker
    broker.stop()
