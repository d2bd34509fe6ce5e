"""(i) A burst of events into a box whose store and whose sink are shut, and how they drain.

Many connections send one event at a time, as cameras and buckets do; the sink is then opened, and
has to get every event once, those of one subject in their order.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.bench.box import Box, box
from tests.bench.inputs import Inputs
from tests.bench.result import Row, at_most
from tests.places import free_port

EVENTS = 50_000
CONNECTIONS = 16
SUBJECTS = 64
GOAL_P99_MS = 50.0
PATIENCE_S = 300.0


@dataclass(slots=True)
class Sink:
    """What arrived, by subject."""

    numbers: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    many: int = 0

    async def take(self, request: web.Request) -> web.Response:
        self.numbers[request.headers["ce-subject"]].append(int(request.headers["ce-id"]))
        self.many += 1
        return web.Response(status=202)


def config(port: int) -> str:
    return f"""
detect.engine = "builtin"
[triggers.out]
filters = [{{exact = {{type = "burst"}}}}]
subscriber = {{uri = "http://127.0.0.1:{port}/"}}
order = "ordered"
concurrency = 64
"""


async def send(url: str, numbers: list[int], seconds: list[float]) -> None:
    """Send events one after the other over one connection; note how long each took."""
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as session:
        for number in numbers:
            headers = {
                "ce-specversion": "1.0",
                "ce-id": str(number),
                "ce-source": "/bench",
                "ce-type": "burst",
                "ce-subject": str(number % SUBJECTS),
                "Content-Type": "application/json",
            }
            while True:
                began = time.perf_counter()
                async with session.post(url, data=b'{"n": 1}', headers=headers) as answer:
                    seconds.append(time.perf_counter() - began)
                    if answer.status == 202:
                        break
                await asyncio.sleep(0.1)


async def burst(url: str) -> list[float]:
    """Send all; return how long each answer took. A subject keeps to one connection."""
    seconds: list[float] = []
    every = [list(range(n, EVENTS, CONNECTIONS)) for n in range(CONNECTIONS)]
    await asyncio.gather(*(send(url, numbers, seconds) for numbers in every))
    return seconds


async def drain(port: int) -> tuple[Sink, float]:
    """Open the sink; return what came and how long that took."""
    sink, began = Sink(), time.perf_counter()
    app = web.Application()
    app.router.add_post("/", sink.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    while sink.many < EVENTS and time.perf_counter() - began < PATIENCE_S:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    seconds = time.perf_counter() - began
    await asyncio.sleep(1)  # for what would come twice
    await runner.cleanup()
    return sink, seconds


def measure(_: Inputs) -> list[Row]:
    """Run the burst and the drain."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as home:
        folder = Path(home)
        (folder / "pictures").write_text("in the way of the store")
        with box(config(port), folder) as one:
            return _rows(one, port)


def _rows(one: Box, port: int) -> list[Row]:
    url = f"{one.url}/v1/events"
    before = one.memory()
    began = time.perf_counter()
    seconds = sorted(asyncio.run(burst(url)))
    took = time.perf_counter() - began
    grown = one.memory() - before
    sink, drained = asyncio.run(drain(port))
    lost = EVENTS - len({number for numbers in sink.numbers.values() for number in numbers})
    twice = sink.many - (EVENTS - lost)
    disorder = sum(numbers != sorted(numbers) for numbers in sink.numbers.values())
    p99 = 1000 * seconds[int(len(seconds) * 0.99)]
    goal, kept = at_most(p99, GOAL_P99_MS)
    none, sound = at_most(lost + twice + disorder, 0)
    return [
        Row(
            part="i",
            what=f"answer to one of {EVENTS} events, 99th percentile",
            value=p99,
            unit="ms",
            against=f"median {1000 * seconds[len(seconds) // 2]:.1f} ms, {EVENTS / took:.0f}/s",
            goal=goal,
            kept=kept,
            note=f"{CONNECTIONS} connections, one event a request, store and sink shut",
        ),
        Row(part="i", what="memory grown by the burst", value=grown, unit="MB"),
        Row(
            part="i",
            what="events lost, come twice, or subjects out of order",
            value=lost + twice + disorder,
            unit="",
            against=f"drained at {EVENTS / drained:.0f}/s",
            goal=none,
            kept=sound,
        ),
    ]
