from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import numpy as np
import pytest

from edge.bus.lanes import KEPT_ROOM, Lanes
from edge.contracts import Picture
from edge.event import FRAME_TAKEN, Event, Outcome
from edge.frame import Frame
from edge.ops.metrics import Metrics, counts_by


def an_event(source: str, number: int) -> Event[Picture]:
    now = datetime.now(UTC)
    pixels = np.zeros((4, 4, 3), np.uint8)
    frame = Frame(pixels=pixels, taken_at=now, source=source, subject=source)
    return Event(
        id=f"{source}-{number}",
        source=f"/site/node/{source}",
        type=FRAME_TAKEN,
        subject=source,
        time=now.isoformat(),
        data=frame,
    )


class Ends:
    """Remembers how events ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, Outcome, str]] = []

    async def __call__(self, event: Event[Picture], outcome: Outcome, reason: str) -> None:
        self.ends.append((event.id, outcome, reason))


async def test_a_newer_live_frame_takes_the_place_of_an_older_one_which_is_counted() -> None:
    metrics, ends = Metrics(), Ends()
    lanes = Lanes(metrics)
    for number in range(3):
        await lanes.offer(an_event("gate", number), ends)

    assert (await lanes.take()).event.id == "gate-2"
    assert ends.ends == [
        ("gate-0", Outcome.DROPPED, "newer"),
        ("gate-1", Outcome.DROPPED, "newer"),
    ]
    assert len(lanes) == 0
    assert counts_by(metrics.pictures_dropped, "source") == {"gate": 2}


async def test_kept_pictures_leave_in_the_order_in_which_they_came() -> None:
    lanes, ends = Lanes(Metrics()), Ends()
    for number in range(5):
        await lanes.accept(an_event("drop", number), ends)

    assert [(await lanes.take()).event.id for _ in range(5)] == [f"drop-{n}" for n in range(5)]
    assert ends.ends == []


async def test_accept_waits_while_its_lane_is_full_and_goes_on_when_there_is_room() -> None:
    lanes, ends = Lanes(Metrics()), Ends()
    for number in range(KEPT_ROOM):
        await lanes.accept(an_event("drop", number), ends)
    late = asyncio.create_task(lanes.accept(an_event("drop", 99), ends), name="late")
    await asyncio.sleep(0.01)
    assert not late.done()

    taken = [(await lanes.take()).event.id]
    await late
    taken += [(await lanes.take()).event.id for _ in range(KEPT_ROOM)]
    assert taken == [f"drop-{n}" for n in range(KEPT_ROOM)] + ["drop-99"]


async def test_accept_survives_that_its_lane_was_emptied_and_forgotten_while_it_waited() -> None:
    lanes, ends = Lanes(Metrics()), Ends()
    for number in range(KEPT_ROOM):
        await lanes.accept(an_event("drop", number), ends)
    late = [
        asyncio.create_task(lanes.accept(an_event("drop", 100 + n), ends), name="late")
        for n in range(3)
    ]
    await asyncio.sleep(0)
    taken = [(await lanes.take()).event.id for _ in range(KEPT_ROOM)]
    taken += [(await asyncio.wait_for(lanes.take(), 5)).event.id for _ in range(3)]
    await asyncio.gather(*late)

    assert sorted(taken) == sorted(
        [f"drop-{n}" for n in range(KEPT_ROOM)] + ["drop-100", "drop-101", "drop-102"]
    )


async def test_a_busy_source_cannot_starve_a_quiet_one() -> None:
    lanes, ends = Lanes(Metrics()), Ends()
    for number in range(4):
        await lanes.accept(an_event("busy", number), ends)
    await lanes.offer(an_event("quiet", 0), ends)

    order = [(await lanes.take()).event.id for _ in range(5)]
    assert order.index("quiet-0") == 1


async def test_closing_drops_live_frames_by_name_and_keeps_what_must_not_be_lost() -> None:
    lanes, ends = Lanes(Metrics()), Ends()
    await lanes.offer(an_event("gate", 0), ends)
    await lanes.accept(an_event("drop", 0), ends)
    await lanes.close()
    await lanes.offer(an_event("gate", 1), ends)

    assert ends.ends == [
        ("gate-0", Outcome.DROPPED, "stopping"),
        ("gate-1", Outcome.DROPPED, "stopping"),
    ]
    assert (await lanes.take()).event.id == "drop-0"


@pytest.mark.parametrize("sources", [1, 3])
async def test_take_waits_for_something(sources: int) -> None:
    lanes, ends = Lanes(Metrics()), Ends()
    takers = [asyncio.create_task(lanes.take(), name=f"take {n}") for n in range(sources)]
    await asyncio.sleep(0)
    for number in range(sources):
        await lanes.offer(an_event(f"cam{number}", 0), ends)
    got = {item.event.id for item in await asyncio.gather(*takers)}
    assert got == {f"cam{n}-0" for n in range(sources)}


async def test_a_source_whose_frame_was_replaced_still_has_one_turn_only() -> None:
    lanes, ends = Lanes(Metrics()), Ends()
    for number in range(2):
        await lanes.offer(an_event("gate", number), ends)
    assert (await lanes.take()).event.id == "gate-1"

    nothing = asyncio.create_task(lanes.take(), name="take")
    await asyncio.sleep(0.01)
    assert not nothing.done()
    await lanes.offer(an_event("gate", 2), ends)
    assert (await nothing).event.id == "gate-2"
