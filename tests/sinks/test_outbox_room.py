"""What gives way where the outbox is full, and who is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge.config.store import OutboxConfig
from edge.errors import TryLater
from edge.ops.metrics import Metrics
from edge.sinks.outbox import Outbox
from edge.sinks.outbox_room import Evicted
from tests.parts import make_parcel, outbox_at
from tests.sinks.conftest import Clock

A_PARCEL = 10_000


class Full:
    """An outbox with room for few, and what gave way."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.gone: list[tuple[str, int, str]] = []
        outbox.room.yields = lambda name: name != "upload"
        outbox.room.tell.append(self._told)

    def _told(self, _: object, evicted: Sequence[Evicted], reason: str) -> None:
        self.gone += [(one.source, one.seq, reason) for one in evicted]

    async def put(self, number: int, source: str = "gate") -> None:
        await self.outbox.put(make_parcel(number, source, body=bytes(A_PARCEL)))

    async def waiting(self, source: str) -> list[int]:
        found = await self.outbox.oldest(source, 100)
        return [int(one.parcel.event_id.rpartition("/")[2]) for one in found]


@pytest.fixture
async def lives(tmp_path: Path, clock: Clock) -> AsyncIterator[Any]:
    opened: list[Outbox] = []

    async def begin(**config: Any) -> Full:
        settings = OutboxConfig(**{"when_full": "evict", "max_bytes": 10 * A_PARCEL, **config})
        outbox = outbox_at(tmp_path / "outbox.db", settings, Metrics(), clock=clock)
        await outbox.open()
        opened.append(outbox)
        return Full(outbox)

    yield begin
    for outbox in opened:
        await outbox.close()


async def test_the_oldest_of_a_camera_give_way_but_for_the_one_on_its_way(lives: Any) -> None:
    box = await lives()
    for number in range(20):
        await box.put(number)
    kept = await box.waiting("gate")
    assert kept[0] == 0
    assert kept[-1] == 19
    assert len(kept) == 9
    assert [seq for _, seq, _ in box.gone] == list(range(2, 13))
    assert {reason for _, _, reason in box.gone} == {"bytes"}
    stats = box.outbox.stats()
    assert stats.waiting + len(box.gone) == 20
    assert stats.waiting_bytes <= 10 * A_PARCEL


async def test_what_somebody_sent_never_gives_way(lives: Any) -> None:
    box = await lives()
    for number in range(9):
        await box.put(number, "upload")
    for number in range(5):
        with pytest.raises(TryLater, match=r"outbox\.max_bytes"):
            await box.put(number)
    assert await box.waiting("upload") == list(range(9))
    assert box.gone == []


async def test_an_upload_pushes_out_pictures_of_cameras(lives: Any) -> None:
    box = await lives()
    for number in range(9):
        await box.put(number)
    await box.put(1, "upload")
    assert await box.waiting("upload") == [1]
    assert [source for source, _, _ in box.gone] == ["gate"]


async def test_hold_keeps_what_was_there_first(lives: Any) -> None:
    box = await lives(when_full="hold")
    for number in range(9):
        await box.put(number)
    with pytest.raises(TryLater):
        await box.put(9)
    assert await box.waiting("gate") == list(range(9))


async def test_their_number_and_their_age_are_bounded_too(lives: Any, clock: Clock) -> None:
    box = await lives(max_items=5, max_age="1h", max_bytes="1GiB")
    for number in range(8):
        await box.put(number)
    assert await box.waiting("gate") == [0, 4, 5, 6, 7]
    clock.now += 3601
    await box.put(8)
    assert await box.waiting("gate") == [0, 8]
    assert [reason for _, _, reason in box.gone] == ["items"] * 3 + ["age"] * 4


async def test_a_parcel_that_finds_no_room_at_all_pushes_nobody_out_in_vain(lives: Any) -> None:
    box = await lives()
    for number in range(5):
        await box.put(number)
    with pytest.raises(TryLater):
        await box.outbox.put(make_parcel(9, body=bytes(11 * A_PARCEL)))
    assert await box.waiting("gate") == list(range(5))
