"""(m) Messages a second from the upstream queue to the broker's acknowledgement, durably.

Against paho's own loop and mosquitto's client in C, which keep nothing: the same broker, messages
of the same size, the same number under way at once, one after the other in each round.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge.config.mqtt import UpstreamConfig
from edge.ops.mqtt_types import MqttSettings
from tests.bench.inputs import Inputs
from tests.bench.result import Missing, Row, at_least, middle
from tests.journeys.upstream_life import SOURCES, TOPICS, Upstream, batch, kept, result, upstream
from tests.parts import until
from tests.places import free_port
from tests.servers.mosquitto import Mosquitto

MESSAGES = 20_000
WINDOW = 64
A_BATCH = 500
CALLERS = 64
IDLE_S = 15
OF_PAHO, OF_C = 0.8, 0.5
HOST = "127.0.0.1"
TOPIC = TOPICS.result(SOURCES[0])


@contextmanager
def broker() -> Iterator[Mosquitto]:
    """Start a broker that takes as many at once as anybody sends."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        found = Mosquitto(_need("mosquitto"), Path(folder), free_port())
        found.lines += ["max_inflight_messages 1000", "set_tcp_nodelay true"]
        found.start()
        try:
            yield found
        finally:
            found.stop()


def _need(program: str) -> str:
    import shutil

    path = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if path is None:
        raise Missing(f"{program} (packaging/test-servers)")
    return path


def settings(port: int) -> MqttSettings:
    return MqttSettings(host=HOST, port=port, client_id="box", window=WINDOW)


def body() -> bytes:
    """Return a message as the queue sends it."""
    return result(0, 0.0).json()[:-1] + b',"seq":12345,"historical":false}'


# -- ours


async def drain(port: int, spool: Path) -> float:
    """Return messages a second, of such as were waiting on the disk."""
    async with kept(spool) as box:
        for first in range(0, MESSAGES, A_BATCH):
            await box.queue.put(*batch(first, A_BATCH, time.time()))
    async with upstream(spool, settings(port)) as life:
        await life.link.room()
        began = time.perf_counter()
        await gone(life)
        return MESSAGES / (time.perf_counter() - began)


async def live(port: int, spool: Path) -> float:
    """Return messages a second, of such as come in meanwhile, one by one from several callers."""
    numbers = iter(range(MESSAGES))

    async def bring(life: Upstream) -> None:
        for number in numbers:
            await life.queue.put(result(number, time.time()))

    async with upstream(spool, settings(port)) as life:
        await life.link.room()
        began = time.perf_counter()
        await asyncio.gather(*(bring(life) for _ in range(CALLERS)))
        await gone(life)
        return MESSAGES / (time.perf_counter() - began)


async def gone(life: Upstream) -> None:
    await until(lambda: not life.queue.stats().waiting, 120)


async def idle(port: int, spool: Path) -> float:
    """Return the percentage of a core that it takes to send one message a second."""
    async with upstream(spool, settings(port), UpstreamConfig(window=WINDOW)) as life:
        await life.link.room()
        began, cpu = time.perf_counter(), time.process_time()
        for number in range(IDLE_S):
            await life.queue.put(result(number, time.time()))
            await asyncio.sleep(1)
        assert not life.queue.stats().waiting
        return 100 * (time.process_time() - cpu) / (time.perf_counter() - began)


# -- theirs


def paho(port: int) -> float:
    """Return messages a second of paho's loop in a thread, as its documentation has it."""
    client = Client(CallbackAPIVersion.VERSION2, "paho", protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(WINDOW)
    up, done, left = threading.Event(), threading.Event(), MESSAGES

    def published(*_: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    client.on_connect = lambda *_: up.set()
    client.on_publish = published
    client.connect(HOST, port)
    client.loop_start()
    up.wait(10)
    payload, began = body(), time.perf_counter()
    for _ in range(MESSAGES):
        client.publish(TOPIC, payload, 1)
    done.wait(120)
    took = time.perf_counter() - began
    client.disconnect()
    client.loop_stop()
    return MESSAGES / took


def in_c(port: int) -> tuple[float, float]:
    """Return messages a second of ``mosquitto_pub -l``: all in all, and while it sends.

    It waits 0.1 s at its end, which is a third of the whole with so few messages.
    """
    whole, fixed = _pub(port, MESSAGES), _pub(port, 1)
    return MESSAGES / whole, MESSAGES / (whole - fixed)


def _pub(port: int, many: int) -> float:
    command = [_need("mosquitto_pub"), "-h", HOST, "-p", str(port), "-V", "5", "-q", "1"]
    lines, began = (body() + b"\n") * many, time.perf_counter()
    command += ["-M", str(WINDOW), "-t", TOPIC, "-l"]
    subprocess.run(command, input=lines, check=True)
    return time.perf_counter() - began


def measure(inputs: Inputs, rounds: int) -> list[Row]:  # noqa: ARG001 (it needs none)
    """Run all in turn."""
    drained, lively, pahos, cs, pure = [], [], [], [], []
    with broker() as there, tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        for number in range(rounds):
            path = Path(folder)
            drained.append(asyncio.run(drain(there.port, path / f"drain{number}.db")))
            pahos.append(paho(there.port))
            whole, sending = in_c(there.port)
            cs.append(whole)
            pure.append(sending)
            lively.append(asyncio.run(live(there.port, path / f"live{number}.db")))
        percent = asyncio.run(idle(there.port, Path(folder) / "idle.db"))
    note = (
        f"{MESSAGES} messages of {len(body())} bytes, {WINDOW} under way at once, MQTT 5, QoS 1; "
        f"SQLite WAL, synchronous=FULL; {rounds} rounds"
    )
    rows = []
    for what, ours, than, theirs, goal in (
        ("waiting messages sent", drained, "paho's loop", pahos, OF_PAHO),
        ("waiting messages sent", drained, "mosquitto_pub", cs, OF_C),
        ("waiting messages sent", drained, "mosquitto_pub without its pause", pure, None),
        ("coming messages sent", lively, "paho's loop", pahos, None),
        ("coming messages sent", lively, "mosquitto_pub", cs, None),
    ):
        ratio = middle([one / other for one, other in zip(ours, theirs, strict=True)])
        said, well = at_least(ratio, goal) if goal else ("", None)
        rows.append(
            Row(
                part="m",
                what=what,
                value=ratio,
                unit=f"of {than}",
                against=f"{middle(ours):.0f} to {middle(theirs):.0f} messages/s",
                goal=said,
                kept=well,
                note=note,
            )
        )
    rows.append(Row(part="m", what="one message a second", value=percent, unit="% of a core"))
    return rows
