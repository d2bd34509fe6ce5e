"""Notes: a delivery's waits for another's commit; what belongs to a parcel is kept with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge.config.store import OutboxConfig
from edge.errors import TryLater
from edge.ops.database import HURRY_S
from edge.ops.metrics import Metrics
from edge.sinks.outbox import Outbox
from tests.parts import make_parcel, outbox_at


async def test_a_note_joins_the_next_commit_and_sees_its_parcel(outbox: Outbox) -> None:
    await outbox.put(make_parcel(1))
    (head,) = await outbox.heads(1)
    outbox.carried.add("gate")
    note = asyncio.create_task(outbox.passed(head.seq))
    await asyncio.sleep(HURRY_S / 4)
    assert not note.done()
    assert outbox.stats().waiting == 1
    await outbox.put(make_parcel(2))
    following = await asyncio.wait_for(note, HURRY_S / 4)
    assert following is not None
    assert following.parcel == make_parcel(2)
    assert outbox.stats().waiting == 1


async def test_a_note_that_nobody_takes_along_is_written_all_the_same(outbox: Outbox) -> None:
    await outbox.put(make_parcel())
    (head,) = await outbox.heads(1)
    outbox.carried.add("gate")
    assert await asyncio.wait_for(outbox.passed(head.seq), 20 * HURRY_S) is None
    assert outbox.stats().waiting == 0


async def test_a_note_waits_for_nobody_while_others_wait_for_it(outbox: Outbox) -> None:
    for number in range(3):
        await outbox.put(make_parcel(number))
    (head,) = await outbox.heads(1)
    outbox.carried.add("gate")
    following = await asyncio.wait_for(outbox.passed(head.seq), HURRY_S / 2)
    assert following is not None
    assert following.parcel == make_parcel(1)


async def test_a_waiting_note_is_written_when_the_outbox_closes(
    tmp_path: Path, metrics: Metrics
) -> None:
    path = tmp_path / "box" / "outbox.db"
    box = outbox_at(path, OutboxConfig(), metrics)
    await box.open()
    await box.put(make_parcel())
    (head,) = await box.heads(1)
    box.carried.add("gate")
    note = asyncio.create_task(box.passed(head.seq))
    await asyncio.sleep(0)
    await box.close()
    assert await note is None
    again = outbox_at(path, OutboxConfig(), metrics)
    await again.open()
    assert again.stats().waiting == 0
    await again.close()


async def test_what_belongs_to_a_parcel_is_kept_with_it_or_not_at_all(
    tmp_path: Path, metrics: Metrics
) -> None:
    box = outbox_at(tmp_path / "o.db", OutboxConfig(max_bytes=400), metrics)
    await box.open()
    noted: list[str] = []
    assert await box.put(make_parcel(1), lambda _: noted.append("new"))
    assert not await box.put(make_parcel(1), lambda _: noted.append("known"))
    with pytest.raises(TryLater):
        await box.put(make_parcel(2), lambda _: noted.append("no room"))
    assert noted == ["new", "known"]
    await box.close()


async def test_an_event_that_was_given_up_is_known_and_may_still_have_its_parcel(
    outbox: Outbox,
) -> None:
    await outbox.remember("gate/1")
    assert await outbox.knows("gate/1")
    assert await outbox.put(make_parcel(1))
    assert outbox.stats().waiting == 1
