"""(j) Pictures a second from bucket to bucket, as a ratio to the sum of the parts taken alone.

Pictures land in a bucket of a real Ceph RGW while its topic tells a recorder; then the recorder
passes on what it was told, in the gateway's own bytes, as fast as the box takes them. In between,
the bare parts walk the same pictures, one after the other in one thread: a box in which nothing
overlaps could not be faster. Gateway, box and bench share the cores in both cases.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from tests.bench import buckets
from tests.bench.box import Box
from tests.bench.inputs import Inputs
from tests.bench.result import Row, at_least, middle
from tests.servers.rgw import Rgw
from tests.servers.rgw_topics import push_to

COUNT = 120
ROUNDS = 3
CALLERS = 4
"""Connections of the gateway that pass notifications on."""
GOAL = 1.2


@dataclass(frozen=True, slots=True)
class Round:
    """What one round found."""

    #: pictures a second, from the first notification to the last message stored
    through: float
    #: processor seconds of the box a picture
    cpu: float
    #: means of the parts, in seconds: others on the machine then hold up both alike
    parts: list[float]


async def tell(url: str, bodies: Sequence[bytes]) -> None:
    """Pass notifications on, each in a request of its own, as the gateway does."""
    rest = iter(bodies)

    async def caller() -> None:
        for body in rest:
            async with session.post(url, data=body) as answer:
                answer.raise_for_status()

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(caller() for _ in range(CALLERS)))


def run_box(rgw: Rgw, one: Box, bodies: Sequence[bytes]) -> tuple[float, float]:
    """Let the box do all of them; return pictures and processor seconds."""
    before, cpu, began = one.metric("edge_parcels_stored_total"), one.cpu(), time.time()
    asyncio.run(tell(f"{one.url}/hooks/s3?token={buckets.TOKEN}", bodies))
    wanted = before + len(bodies)
    one.wait_for(lambda: one.metric("edge_parcels_stored_total") >= wanted, step=0.3)
    used = one.cpu() - cpu
    # to the millisecond, so this began before its own second did
    times = buckets.written(rgw.client(), buckets.OUT, since=began - 0.001)
    if len(times) != 2 * len(bodies):
        raise RuntimeError(f"{len(times)} objects of {len(bodies)} pictures")
    return len(bodies) / (max(times.values()) - began), used / len(bodies)


def run_round(rgw: Rgw, one: Box, alone: buckets.Alone, bodies: dict[str, bytes]) -> Round:
    """Walk the parts over half of the pictures before the box has its turn, and half after."""
    keys = list(bodies)
    walked = alone.walk(keys[::2])
    through, cpu = run_box(rgw, one, list(bodies.values()))
    walked += alone.walk(keys[1::2])
    return Round(through, cpu, [statistics.mean(part) for part in zip(*walked, strict=True)])


def measure(inputs: Inputs, rounds: int = ROUNDS) -> list[Row]:
    """Run all rounds on one box."""
    found = []
    with buckets.yard(inputs) as (rgw, one), buckets.recorder() as (address, told):
        client, alone = rgw.client(), buckets.Alone.open(inputs, rgw)
        push_to(rgw, buckets.IN, address)
        jpegs = buckets.pictures(inputs, COUNT)
        for turn in range(rounds + 1):
            told.clear()
            keys = [f"{turn}/{number}.jpg" for number in range(COUNT)]
            for key, body in zip(keys, jpegs, strict=True):
                buckets.put(client, buckets.IN, key, body)
            found.append(run_round(rgw, one, alone, dict(zip(keys, told, strict=True))))
            for name in (buckets.IN, buckets.OUT, buckets.ALONE):
                buckets.clear(client, name)
    return _rows(found[1:])  # in the first one, connections open and caches fill


def _rows(found: Sequence[Round]) -> list[Row]:
    ratio = middle([one.through * sum(one.parts) for one in found])
    goal, kept = at_least(ratio, GOAL)
    parts = [middle(part) * 1000 for part in zip(*(one.parts for one in found), strict=True)]
    words = ", ".join(f"{name} {ms:.1f}" for name, ms in zip(buckets.PARTS, parts, strict=True))
    note = (
        f"{COUNT} JPEGs of {buckets.SIZE}, {buckets.MODEL}, {len(found)} rounds, real Ceph RGW on "
        f"the same cores; parts alone, ms: {words}"
    )
    through = middle([one.through for one in found])
    return [
        Row(
            part="j",
            what="bucket to bucket",
            value=ratio,
            unit="of the parts in a row",
            against=f"{through:.1f} to {1000 / sum(parts):.1f} pictures/s",
            goal=goal,
            kept=kept,
            note=note,
        ),
        Row(
            part="j",
            what="processor time of the box",
            value=1000 * middle([one.cpu for one in found]),
            unit="ms a picture",
        ),
    ]
