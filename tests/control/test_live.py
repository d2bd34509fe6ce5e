from __future__ import annotations

import asyncio

from edge.control.live import WINDOW, Live
from tests.control.parcels import a_parcel


async def test_the_newest_picture_is_shown_and_those_who_wait_are_woken_together() -> None:
    live = Live()
    waiting = [asyncio.create_task(live.next("gate", "", 5), name=f"viewer {n}") for n in range(3)]
    await asyncio.sleep(0)
    live.show(a_parcel("gate", 1))
    assert [await one for one in waiting] == [a_parcel("gate", 1)] * 3
    assert live.latest("gate") == a_parcel("gate", 1)
    assert live.latest("yard") is None


async def test_a_viewer_gets_what_is_newer_at_once_and_nothing_when_there_is_nothing() -> None:
    live = Live()
    live.show(a_parcel("gate", 1))
    assert await live.next("gate", "", 5) == a_parcel("gate", 1)
    assert await live.next("gate", a_parcel("gate", 1).id, 0.01) is None
    live.show(a_parcel("gate", 2))
    assert await live.next("gate", a_parcel("gate", 1).id, 5) == a_parcel("gate", 2)
    live.forget("gate")
    assert live.latest("gate") is None


def test_the_rate_counts_the_last_seconds_only() -> None:
    now = 100.0
    live = Live(clock=lambda: now)
    for number in range(10):
        live.show(a_parcel("gate", number))
    assert live.rate("gate") == 10 / WINDOW
    now += WINDOW + 1
    assert live.rate("gate") == 0
