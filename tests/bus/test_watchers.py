"""Those who watch what passes, and hold nothing up."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import Rejected
from edge.event import Event, WireEvent
from tests.bus.rig import Sink, event, opened, trigger


async def test_a_watcher_sees_what_it_wants_from_now_on_replies_included(tmp_path: Path) -> None:
    async def answer(given: WireEvent) -> WireEvent | None:
        return event(f"re {given.id}", type="t.two") if given.type == "t.one" else None

    async with opened(tmp_path / "s.db", {"it": Sink(answer)}, {"it": trigger("it")}) as bus:
        await bus.broker.accept([event(0)])
        every = bus.broker.watch()
        some = bus.broker.watch([{"exact": {"type": "t.two"}}])
        await bus.broker.accept([event(1)])
        await bus.broker.accept([event(1)])
        await bus.ended()
        await bus.broker.close()
        assert [one.id async for one in every if not one.id.endswith("0")] == ["1", "re 1"]
        assert "re 1" in [one.id async for one in some]
        with pytest.raises(Rejected) as caught:
            bus.broker.watch([{"nonsense": 1}])
        assert caught.value.reason == "bad_filter"


async def test_a_watcher_that_sleeps_holds_nothing_up_and_misses_the_oldest(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.db", {}, {}) as bus:
        watch = bus.broker.watch()
        for start in range(0, 3000, 500):
            await bus.broker.accept([event(n) for n in range(start, start + 500)])
        assert watch.missed == 2000
        assert (await anext(watch)).id == "2000"
        await bus.broker.accept([event(f"{n}x", data=b"x" * 900_000) for n in range(8)])
        assert watch.missed > 2990
        await watch.aclose()
        left = [one.id async for one in watch]
        assert left == ["4x", "5x", "6x", "7x"]


async def test_whoever_lets_go_of_a_watch_is_forgotten(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.db", {}, {}) as bus:
        watch = bus.broker.watch()
        assert bus.broker._watchers
        del watch
        await bus.broker.accept([event()])
        assert not bus.broker._watchers


async def test_a_picture_is_shown_without_its_pixels(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.db", {}, {}) as bus:
        watch = bus.broker.watch()
        bus.broker.tell(Event(id="1", source="/s", type="t", data=object()))
        assert (await anext(watch)).data is None
