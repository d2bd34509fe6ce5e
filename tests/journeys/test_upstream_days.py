"""Three days offline by the box's clock, and then a broker: everything is accounted for.

``EDGE_RESULTS=1000000 EDGE_PICTURES=20000`` is the size of the promise; CI takes a part of it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge.config.mqtt import UpstreamConfig
from edge.config.store import OutboxConfig
from edge.contracts import Note
from edge.errors import TryLater
from edge.parcel import Parcel
from edge.sinks.forward import Forwarder
from edge.sinks.outbox import Waiting
from edge.sinks.upstream.outgoing import Outgoing
from tests.journeys.far_reader import FarReader
from tests.journeys.upstream_life import (
    SOURCES,
    TOPICS,
    Kept,
    Upstream,
    batch,
    kept,
    result,
    settings_for,
    upstream,
)
from tests.parts import MemoryStore, make_parcel, until
from tests.servers.mosquitto import Mosquitto, idle_mosquitto

__all__ = ["idle_mosquitto"]

RESULTS = int(os.environ.get("EDGE_RESULTS", "50000"))
PICTURES = int(os.environ.get("EDGE_PICTURES", "2000"))
A_PICTURE = 1000
"""Bytes of a picture: it is their number that counts here."""
FIT = PICTURES * 9 // 10
"""Pictures that find room, about."""
DAY_S = 86_400.0
OFFLINE_S = 3 * DAY_S
A_BATCH = 500
MOST_GROWTH = 48 * 2**20
"""Bytes that the process may grow by, however many messages wait."""
PATIENCE = 30.0 + RESULTS / 1000


@dataclass
class Clock:
    """The box's clock; it began on a Friday."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Shelf(MemoryStore):
    """A store that only remembers what came, in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.came: dict[str, list[str]] = {source: [] for source in SOURCES}

    async def put(self, parcel: Parcel) -> None:
        self.came[parcel.source].append(parcel.id)


def memory() -> int:
    """Return the bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def reader(idle_mosquitto: Mosquitto, tmp_path: Path) -> Iterator[FarReader]:
    idle_mosquitto.lines += ["max_queued_messages 0", "max_inflight_messages 100"]
    idle_mosquitto.start()
    found = FarReader(
        idle_mosquitto.host, idle_mosquitto.port, f"{TOPICS.base}/#", tmp_path / "came"
    )
    found.start()
    yield found
    found.stop()


@dataclass
class Offline:
    """What happened while there was no network."""

    accepted: list[str] = field(default_factory=list)
    refused: int = 0
    #: bytes that the process grew by since a tenth of it had happened
    growth: int = 0
    seconds: float = 0.0


async def days_pass(box: Kept, clock: Clock) -> Offline:
    """Produce all results, and now and then a picture."""
    off, began, first = Offline(), time.perf_counter(), 0
    pictures = iter(range(PICTURES))
    each = PICTURES * A_BATCH // RESULTS
    for number in range(0, RESULTS, A_BATCH):
        clock.now += OFFLINE_S * A_BATCH / RESULTS
        await box.queue.put(*batch(number, A_BATCH, clock.now))
        for _, picture in zip(range(each), pictures, strict=False):
            await offer(box, picture, off)
        if number <= RESULTS // 10:
            first = memory()
    for picture in pictures:
        await offer(box, picture, off)
    off.growth, off.seconds = memory() - first, time.perf_counter() - began
    return off


async def offer(box: Kept, number: int, off: Offline) -> None:
    parcel = make_parcel(number, SOURCES[number % len(SOURCES)], bytes(A_PICTURE))
    try:
        await box.outbox.put(parcel)
    except TryLater:
        off.refused += 1
    else:
        off.accepted.append(parcel.id)


async def carry(box: Upstream, shelf: Shelf) -> None:
    """Bring the pictures to the store, and have the broker learn of each."""

    def stored(waiting: Waiting) -> Note | None:
        number = RESULTS + int(waiting.parcel.event_id.rpartition("/")[2])
        return box.queue.note(result(number, waiting.parcel.taken_at.timestamp()))

    forwarder = Forwarder(box.outbox, shelf, OutboxConfig(), box.metrics)
    forwarder.also.append(stored)
    carrying = asyncio.create_task(forwarder.run(lambda: None), name="forwarder")
    await until(lambda: not box.outbox.stats().waiting, PATIENCE)
    carrying.cancel()
    await asyncio.wait([carrying])


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_three_days_offline_arrive_whole_and_in_order(
    idle_mosquitto: Mosquitto, reader: FarReader, tmp_path: Path
) -> None:
    clock, shelf, spool = Clock(), Shelf(), tmp_path / "spool.db"
    quota = OutboxConfig(max_bytes=FIT * (A_PICTURE + 120))
    async with kept(spool, UpstreamConfig(), clock, quota) as box:
        off = await days_pass(box, clock)
    assert len(off.accepted) + off.refused == PICTURES
    assert off.refused > 0
    size = spool.stat().st_size
    # the box starts anew, and the broker is there
    async with upstream(spool, settings_for(idle_mosquitto.port), clock=clock) as life:
        before, began = memory(), time.perf_counter()
        assert life.queue.totals().waiting == RESULTS
        carrying = asyncio.create_task(carry(life, shelf), name="carry")
        await life.empty(PATIENCE)
        await carrying
        await life.empty(PATIENCE)
        took, growth, totals = time.perf_counter() - began, memory() - before, life.queue.totals()
    produced = RESULTS + len(off.accepted)
    print(
        f"{RESULTS} results and {PICTURES} pictures ({off.refused} found no room) in "
        f"{off.seconds:.0f} s, {size / 2**20:.0f} MiB; memory grew by {off.growth / 2**20:.0f} MiB;"
        f" drained {produced / took:.0f}/s, memory grew by {growth / 2**20:.0f} MiB"
    )
    assert totals.produced == totals.delivered == produced
    assert sorted(itertools.chain(*shelf.came.values())) == sorted(off.accepted)
    assert all(came == sorted(came, key=number_of) for came in shelf.came.values())
    await asyncio.to_thread(reader.wait_for, produced, PATIENCE)
    assert reader.faults() == {}
    assert reader.historical >= RESULTS - A_BATCH
    assert off.growth < MOST_GROWTH
    assert growth < MOST_GROWTH


def number_of(parcel: str) -> int:
    return int(parcel.split("/")[1])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("reason", "config"),
    [
        ("items", UpstreamConfig(max_items=RESULTS // 10)),
        ("bytes", UpstreamConfig(max_bytes=RESULTS // 10 * 500)),
        ("age", UpstreamConfig.model_validate({"max_age": "1d"})),
    ],
)
async def test_what_does_not_fit_is_told_number_by_number(
    idle_mosquitto: Mosquitto,
    reader: FarReader,
    tmp_path: Path,
    reason: str,
    config: UpstreamConfig,
) -> None:
    clock, spool, results = Clock(), tmp_path / "spool.db", RESULTS // 5
    async with kept(spool, config, clock) as box:
        for first in range(0, results, A_BATCH):
            clock.now += OFFLINE_S * A_BATCH / results
            await box.queue.put(*batch(first, A_BATCH, clock.now), alarm(first, clock.now))
    async with upstream(spool, settings_for(idle_mosquitto.port), config, clock) as life:
        await life.empty(PATIENCE)
        totals, classes = life.queue.totals(), life.queue.stats().classes
    assert totals.waiting == 0
    assert totals.produced == totals.delivered + totals.tombstoned
    lost = classes["result"].tombstoned
    assert 0 < lost < results
    await asyncio.to_thread(reader.wait_for, totals.delivered)
    assert len(reader.ids) == totals.delivered
    for source in SOURCES:
        check_source(reader, source, results // len(SOURCES))
    told = [one for one in reader.losses if one["class"] == "result"]
    assert sum(one["count"] for one in told) == lost
    assert {one["reason"] for one in told} == {reason}
    # one for each source, however many are lost
    assert len(told) == len(SOURCES)
    if reason != "age":
        assert classes["alarm"].tombstoned == 0


def alarm(number: int, at: float) -> Outgoing:
    body = {"specversion": "1.0", "id": f"alarm {number}", "source": "/site/box", "type": "t"}
    return Outgoing(kind="alarm", source="", id=f"alarm {number}", body=body, at=at)


def check_source(reader: FarReader, source: str, produced: int) -> None:
    """What came and what is told as lost are all, without a gap and without doubt."""
    came = reader.seqs["result", source]
    assert came == sorted(came)
    gone: list[int] = []
    for one in reader.losses:
        if (one["source"], one["class"]) == (source, "result"):
            numbers = range(one["from_seq"], one["to_seq"] + 1)
            assert len(numbers) == one["count"]
            gone += numbers
    assert sorted(gone + came) == list(range(1, produced + 1))
