"""Triggers that come, change and go while events arrive."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from edge.errors import Rejected, TryLater
from edge.event import WireEvent
from tests.bus.rig import FAST, Sink, event, opened, raising, trigger
from tests.parts import until


def spec(ref: str = "it", **other: Any) -> dict[str, Any]:
    return {"subscriber": {"ref": ref}, **other}


async def test_a_swap_under_load_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    chance, first, second = random.Random(1), Sink(), Sink()

    async def nap(_: WireEvent) -> None:
        await asyncio.sleep(chance.random() * 0.003)

    first.answer = second.answer = nap
    async with opened(tmp_path / "s.db", {"first": first, "second": second}, {}) as bus:
        await bus.broker.put_trigger("it", spec("first"))
        for n in range(300):
            await bus.broker.accept([event(n)])
            if n % 30 == 29:
                await bus.broker.put_trigger("it", spec(["first", "second"][n % 60 // 30]))
        await bus.ended()
        assert sorted(map(int, first.ids + second.ids)) == list(range(300))
        assert first.got
        assert second.got
        assert not await bus.letters()


async def test_a_reload_leaves_alone_what_did_not_change(tmp_path: Path) -> None:
    go, sink = asyncio.Event(), Sink()

    async def answer(_: WireEvent) -> None:
        await go.wait()

    sink.answer = answer
    triggers = {"it": trigger("it"), "other": trigger("it", enabled=False)}
    async with opened(tmp_path / "s.db", {"it": sink}, triggers) as bus:
        await bus.broker.accept([event()])
        await until(lambda: sink.now == 1)
        await bus.broker.set_triggers({"it": trigger("it"), "new": trigger("it")}, "config")
        assert [one.name for one in bus.broker.triggers()] == ["it", "new"]
        assert bus.status("it").under_way == 1
        go.set()
        await bus.ended()
        assert sink.ids == ["1"]


async def test_what_waits_for_a_removed_trigger_becomes_dead_letters(tmp_path: Path) -> None:
    never, sink = asyncio.Event(), Sink()

    async def answer(_: WireEvent) -> None:
        await never.wait()

    sink.answer = answer
    async with opened(tmp_path / "s.db", {"it": sink}, {}) as bus:
        await bus.broker.put_trigger("it", spec(concurrency=2))
        await bus.broker.accept([event(n) for n in range(5)])
        await until(lambda: sink.now == 2)
        assert await bus.broker.remove_trigger("it")
        assert await bus.reasons() == {str(n): "trigger_removed" for n in range(5)}
        assert sink.now == 0, "what was under way is given up"
        assert not await bus.broker.remove_trigger("it")
        assert bus.broker.triggers() == []
        await bus.ended()


async def test_what_waits_for_a_trigger_that_the_file_lost_becomes_dead_letters(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.db"
    async with opened(path, {}, {"it": trigger("it")}) as bus:
        await bus.broker.accept([event()])
    async with opened(path, {}, {}) as bus:
        await bus.ended()
        assert await bus.reasons() == {"1": "trigger_removed"}


async def test_a_trigger_set_at_run_time_is_there_after_a_restart(tmp_path: Path) -> None:
    path, sink = tmp_path / "s.db", Sink()
    async with opened(path, {}, {}) as bus:
        status = await bus.broker.put_trigger("mine", spec(filters=[{"cel": "data.n == 1"}]))
        assert (status.ready, status.reason) == (False, "no_subscriber")
        await bus.broker.accept([event()])
    async with opened(path, {"it": sink}, {}) as bus:
        (status,) = bus.broker.triggers()
        assert (status.name, status.origin, status.ready) == ("mine", "api", True)
        assert status.spec == spec(filters=[{"cel": "data.n == 1"}])
        await bus.ended()
        assert sink.ids == ["1"]


async def test_a_saved_trigger_that_is_none_any_more_says_so(tmp_path: Path) -> None:
    path, sink = tmp_path / "s.db", Sink()
    async with opened(path, {"it": sink}, {}) as bus:
        await bus.broker.put_trigger("it", spec(concurrency=1, enabled=False))
        await bus.broker.put_trigger("it", spec())
        await bus.journal.save_trigger("it", '{"subscriber": {"ref": "it"}, "retries": 3}')
        await bus.journal.save_trigger("odd", "[1")
    async with opened(path, {"it": sink}, {}) as bus:
        states = {one.name: (one.ready, one.reason) for one in bus.broker.triggers()}
        assert states == {"it": (False, "bad_trigger"), "odd": (False, "bad_trigger")}
        assert "retries" in bus.status("it").message
        assert (await bus.broker.put_trigger("it", spec())).ready


async def test_the_file_comes_first_and_its_triggers_are_not_changed_from_outside(
    tmp_path: Path,
) -> None:
    sink = Sink()
    async with opened(tmp_path / "s.db", {"it": sink}, {}) as bus:
        await bus.broker.set_triggers({"redact": trigger("it")}, "built-in")
        await bus.broker.put_trigger("mine", spec())
        await bus.broker.set_triggers({"mine": trigger("it", enabled=False)}, "config")
        shown = [(one.name, one.origin) for one in bus.broker.triggers()]
        assert shown == [("mine", "config"), ("redact", "built-in")]
        for name in ("mine", "redact"):
            for change in (bus.broker.put_trigger(name, spec()), bus.broker.remove_trigger(name)):
                with pytest.raises(Rejected) as caught:
                    await change
                assert caught.value.reason == "in_config"
        await bus.broker.set_triggers({}, "config")
        assert bus.status("mine").origin == "api", "it was only shadowed"


async def test_a_faulty_trigger_changes_nothing(tmp_path: Path) -> None:
    sink = Sink()
    async with opened(tmp_path / "s.db", {"it": sink}, {"it": trigger("it")}) as bus:
        bad = {
            "it": trigger("it", enabled=False),
            "a": trigger(),
            "b": trigger("x", filter={"y": 1}),
        }
        with pytest.raises(Rejected) as caught:
            await bus.broker.set_triggers(bad, "config")
        assert "trigger 'a'" in str(caught.value)
        assert "trigger 'b'" in str(caught.value)
        with pytest.raises(Rejected, match="filters"):
            await bus.broker.put_trigger("mine", spec(filters=[{"cesql": "("}]))
        with pytest.raises(Rejected, match="its name"):
            await bus.broker.put_trigger("it/dead", spec())
        assert [one.name for one in bus.broker.triggers()] == ["it"]
        assert await bus.journal.triggers_saved() == {}


async def test_events_wait_for_a_handler_that_is_missing(tmp_path: Path) -> None:
    sink = Sink()
    async with opened(tmp_path / "s.db", {}, {"it": trigger("it")}) as bus:
        await bus.broker.accept([event(n) for n in range(40)])
        await asyncio.sleep(0.05)
        status = bus.status("it")
        assert (status.ready, status.reason, status.waiting) == (False, "no_subscriber", 40)
        await bus.broker.set_handlers({"it": sink})
        await bus.ended()
        assert sorted(sink.ids, key=int) == [str(n) for n in range(40)]


async def test_when_handlers_were_changed_the_old_ones_are_in_use_no_more(tmp_path: Path) -> None:
    go, old, new = asyncio.Event(), Sink(), Sink()

    async def answer(_: WireEvent) -> None:
        await go.wait()

    old.answer = answer
    async with opened(tmp_path / "s.db", {"it": old}, {"it": trigger("it", concurrency=1)}) as bus:
        await bus.broker.accept([event(1), event(2)])
        await until(lambda: old.now == 1)
        change = asyncio.create_task(bus.broker.set_handlers({"it": new}))
        await asyncio.sleep(0.05)
        assert not change.done()
        go.set()
        await change
        assert old.now == 0
        await bus.ended()
        assert (old.ids, new.ids) == (["1"], ["2"])


async def test_a_disabled_trigger_takes_nothing_new_and_what_waits_waits(tmp_path: Path) -> None:
    sink = Sink()
    async with opened(tmp_path / "s.db", {}, {"it": trigger("it")}) as bus:
        await bus.broker.accept([event(1)])
        await bus.broker.set_triggers({"it": trigger("it", enabled=False)}, "config")
        await bus.broker.set_handlers({"it": sink})
        await bus.broker.accept([event(2)])
        await asyncio.sleep(0.05)
        status = bus.status("it")
        assert (status.reason, status.waiting, sink.got) == ("disabled", 1, [])
        await bus.broker.set_triggers({"it": trigger("it")}, "config")
        await bus.ended()
        assert sink.ids == ["1"]


async def test_a_sink_for_dead_letters_comes_and_goes_with_its_trigger(tmp_path: Path) -> None:
    dead = Sink(raising(TryLater("shut")))
    handlers = {"it": Sink(raising(Rejected("no"))), "dead": dead}
    delivery = {"retry": 1000, "deadLetterSink": {"ref": "dead"}, **FAST}
    async with opened(tmp_path / "s.db", handlers, {}) as bus:
        await bus.broker.put_trigger("it", spec(delivery=delivery))
        assert [one.name for one in bus.broker.triggers()] == ["it", "it/dead"]
        await bus.broker.accept([event()])
        await until(lambda: len(dead.got) > 1)
        await bus.broker.put_trigger("it", spec())
        assert [one.name for one in bus.broker.triggers()] == ["it"]
        (letter,) = await bus.letters()
        assert (letter.trigger, letter.reason) == ("it/dead", "trigger_removed")


async def test_what_dies_after_its_sink_was_taken_away_stays_in_the_box(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def refuse(_: WireEvent) -> None:
        await go.wait()
        raise Rejected("no")

    sink = Sink(refuse)
    async with opened(tmp_path / "s.db", {"it": sink, "dead": Sink()}, {}) as bus:
        await bus.broker.put_trigger("it", spec(delivery={"deadLetterSink": {"ref": "dead"}}))
        await bus.broker.accept([event()])
        await until(lambda: sink.now == 1)
        await bus.broker.put_trigger("it", spec())
        go.set()
        await bus.ended()
        assert [one.trigger for one in await bus.letters()] == ["it"]


async def test_a_batch_under_way_does_not_wait_for_a_trigger_removed_meanwhile(
    tmp_path: Path,
) -> None:
    sink = Sink()
    async with opened(tmp_path / "s.db", {"it": sink}, {}, run=False) as bus:
        await bus.broker.put_trigger("it", spec())
        taking = asyncio.create_task(bus.broker.accept([event(n) for n in range(3000)]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await bus.broker.remove_trigger("it")
        assert {one.seq for one in await taking} == {0}
        assert bus.journal.stats().events == 0


async def test_a_handler_that_could_not_be_made_is_tried_again_with_the_next_change(
    tmp_path: Path,
) -> None:
    uri = "https://there.example/"
    async with opened(tmp_path / "s.db", {}, {}) as bus:
        bus.unmade.add(uri)
        status = await bus.broker.put_trigger("it", {"subscriber": {"uri": uri}})
        assert (status.ready, status.reason) == (False, "bad_trigger")
        await bus.broker.accept([event()])
        bus.unmade.clear()
        await bus.broker.set_handlers({})
        await bus.ended()
        assert bus.forwards[uri].ids == ["1"]


async def test_a_handler_made_for_a_uri_is_closed_when_nothing_uses_it(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def answer(_: WireEvent) -> None:
        await go.wait()

    async with opened(tmp_path / "s.db", {"it": Sink()}, {}) as bus:
        await bus.broker.put_trigger("it", {"subscriber": {"uri": "http://me:pass@there.example/"}})
        assert "pass" not in str(bus.broker.triggers())
        made = bus.forwards["http://me:pass@there.example/"]
        made.answer = answer
        await bus.broker.accept([event()])
        await until(lambda: made.now == 1)
        await bus.broker.put_trigger("it", spec())
        await asyncio.sleep(0.05)
        assert made.closed == 0
        go.set()
        await until(lambda: made.closed == 1)
        await bus.ended()
