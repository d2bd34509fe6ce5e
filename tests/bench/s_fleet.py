"""(s) 2,000 simulated boxes on one mosquitto, against what bare clients of paho reach there.

Boxes, broker and bench share the cores. Bare clients have the same broker, window and payload:
connecting one after the other, and publishing with QoS 1 as fast as acknowledgements come.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.cli.sim_messages import result_of
from tests.bench.inputs import Inputs
from tests.bench.result import Missing, Row, at_least, at_most
from tests.places import ROOT, free_port
from tests.servers.mosquitto import Mosquitto

BOXES, RATE = 2000, 0.5
BARE, CONNECTS, WINDOW = 20_000, 300, 64
STEADY = 20.0
"""Seconds that are looked at, once all boxes are up and have said what they are."""
SETTLE = 10.0
PATIENCE = 300.0
KEEPS_UP, CPU, CONNECT, MEMORY = 0.98, 8.0, 60.0, 150.0
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Bare:
    """What one client of paho reaches."""

    #: processor seconds of the client a connect
    connect: float
    #: messages a second
    publishes: float
    #: processor seconds of the client a message
    cpu: float


@dataclass(frozen=True, slots=True)
class Used:
    """What a process has used so far."""

    cpu: float
    #: bytes
    memory: int


def used(pid: int) -> Used:
    """Look at a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    memory = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return Used((int(fields[11]) + int(fields[12])) / TICKS, memory)


@contextmanager
def broker() -> Iterator[tuple[Mosquitto, int]]:
    """Run a mosquitto as it comes; yield it and its pid.

    Raises:
        Missing: there is none.

    """
    program = next(
        (p for p in ("/usr/sbin/mosquitto", "/usr/bin/mosquitto") if Path(p).exists()), ""
    )
    if not program:
        raise Missing("mosquitto; as root: apt-get install --no-install-recommends mosquitto")
    with tempfile.TemporaryDirectory() as folder:
        one = Mosquitto(program, Path(folder), free_port())
        one.start()
        try:
            assert one._process is not None
            yield one, one._process.pid
        finally:
            one.stop()


def client(name: str) -> paho.Client:
    """Return one of paho's clients, with the window of the boxes."""
    made = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5)
    made.max_inflight_messages_set(WINDOW)
    return made


def connects(one: Mosquitto) -> float:
    """Return the processor seconds of a bare client until it is welcomed."""
    began = time.process_time()
    for number in range(CONNECTS):
        bare, up = client(f"bare-{number}"), threading.Event()
        bare.on_connect = lambda *_, up=up: up.set()
        bare.connect(one.host, one.port)
        while not up.is_set():
            bare.loop(1.0)
        bare.disconnect()
    return (time.process_time() - began) / CONNECTS


def publishes(one: Mosquitto) -> tuple[float, float]:
    """Return messages a second of one bare client, and its processor seconds a message."""
    bare, done, acked = client("bare"), threading.Event(), 0

    def on_publish(*_: object) -> None:
        nonlocal acked
        acked += 1
        if acked == BARE:
            done.set()

    bare.on_publish = on_publish
    bare.connect(one.host, one.port)
    bare.loop_start()
    payload = result_of("site", "node", "cam1", 1, time.time())
    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(BARE):
        bare.publish("bench/result", payload, 1)
    if not done.wait(PATIENCE):
        raise RuntimeError("the bare client does not end")
    took, spent = time.perf_counter() - began, time.process_time() - cpu
    bare.disconnect()
    bare.loop_stop()
    return BARE / took, spent / BARE


@contextmanager
def boxes(one: Mosquitto) -> Iterator[subprocess.Popen[str]]:
    """Run the simulation."""
    words = ("--boxes", str(BOXES), "--rate", str(RATE), "--sites", "20", "--keep", "--json")
    command = [sys.executable, "-m", "edge", "sim", *words, "--connect-rate", "1000"]
    with subprocess.Popen(
        [*command, "--broker", f"mqtt://{one.host}:{one.port}"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the next statistics."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the simulation has ended")
    found: dict[str, Any] = json.loads(line)
    return found


def until_up(process: subprocess.Popen[str]) -> float:
    """Return the seconds until every box was welcomed."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = told(process)
        if found["all_up_after"] is not None and found["up"] == BOXES:
            return float(found["all_up_after"])
    raise RuntimeError(f"not all boxes are up after {PATIENCE:g} s: {found}")


def measure(_: Inputs) -> list[Row]:
    """Measure the bare clients, then the boxes."""
    with broker() as (one, pid):
        bare = Bare(connects(one), *publishes(one))
        empty = used(pid)
        with boxes(one) as process:
            up = until_up(process)
            connecting = used(process.pid).cpu / BOXES
            time.sleep(SETTLE)
            first = told(process)
            before, before_broker = used(process.pid), used(pid)
            last, began = first, time.monotonic()
            while time.monotonic() - began < STEADY:
                last = told(process)
            after, after_broker = used(process.pid), used(pid)
    acked = last["counts"]["acknowledged"] - first["counts"]["acknowledged"]
    made = last["counts"]["made result"] - first["counts"]["made result"]
    took = last["seconds"] - first["seconds"]
    mine, brokers = after.cpu - before.cpu, after_broker.cpu - before_broker.cpu
    return [
        _connect(up, connecting, bare),
        *_messages(acked, made, took, bare, last["round_trip"]),
        *_cpu(mine / acked, brokers / acked, took, mine + brokers, bare),
        *_memory(last["memory_a_box"], (after_broker.memory - empty.memory) / BOXES),
    ]


def _connect(up: float, mine: float, bare: Bare) -> Row:
    goal, kept = at_most(mine / bare.connect, CONNECT)
    return Row(
        part="s",
        what=f"processor time until a box is up, one of {BOXES}",
        value=mine / bare.connect,
        unit="of a bare connect's",
        against=f"{1e3 * mine:.1f} to {1e3 * bare.connect:.2f} ms; all up after {up:.0f} s",
        goal=goal,
        kept=kept,
        note="a box says 15 retained messages, subscribes to 4 filters, reads its own back, and "
        "sends results while others still connect; bare: CONNECT alone",
    )


def _messages(acked: int, made: int, took: float, bare: Bare, trip: float) -> list[Row]:
    goal, kept = at_least(acked / made, KEEPS_UP)
    rate = f"{acked / took:.0f} to {bare.publishes:.0f} messages/s"
    return [
        Row(
            part="s", what="results acknowledged, of those made", value=acked / made, unit="",
            against=f"{BOXES} boxes, {RATE:g} results/s each", goal=goal, kept=kept,
        ),
        Row(
            part="s", what="results a second", value=acked / took / bare.publishes,
            unit="of one bare client", against=rate,
            note=f"bare: paho, QoS 1, window {WINDOW}, as fast as it can; boxes: at their rate, "
            f"acknowledged within {1000 * trip:.1f} ms (median)",
        ),
    ]  # fmt: skip


def _cpu(mine: float, brokers: float, took: float, both: float, bare: Bare) -> list[Row]:
    goal, kept = at_most(mine / bare.cpu, CPU)
    return [
        Row(
            part="s", what="processor time of the boxes a result", value=mine / bare.cpu,
            unit="of a bare client's", against=f"{1e3 * mine:.2f} to {1e3 * bare.cpu:.2f} ms",
            goal=goal, kept=kept, note="with health, keep-alive and sources of all boxes in it",
        ),
        Row(
            part="s", what="processor time of the broker a result", value=1e3 * brokers, unit="ms",
            against=f"both together {both / took:.2f} cores",
        ),
    ]  # fmt: skip


def _memory(mine: float, brokers: float) -> list[Row]:
    goal, kept = at_most(mine / 1024, MEMORY)
    return [
        Row(
            part="s", what="memory of a simulated box", value=mine / 1024, unit="KiB",
            goal=goal, kept=kept,
        ),
        Row(part="s", what="memory of the broker a box", value=brokers / 1024, unit="KiB"),
    ]  # fmt: skip
