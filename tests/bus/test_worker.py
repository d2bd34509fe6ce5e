"""Workers: order, concurrency, retries, holds, dead letters; every event ends exactly once."""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections import defaultdict
from pathlib import Path

import pytest

from edge.errors import Fatal, PartFailed, Rejected, TryLater
from edge.event import WireEvent
from tests.bus.rig import FAST, Sink, answered, event, opened, raising, trigger
from tests.parts import until

ENDLESS = {"delivery": {**FAST}}
IT = {"it": trigger("it")}


async def test_a_thousand_events_and_three_triggers_all_end_exactly_once(tmp_path: Path) -> None:
    chance = random.Random(3)

    async def moody(_: WireEvent) -> None:
        if chance.random() < 0.2:
            raise answered(TryLater("busy"), 503)

    sinks = {"fine": Sink(), "moody": Sink(moody), "none": Sink(raising(Rejected("no")))}
    triggers = {
        "fine": trigger("fine"),
        "moody": trigger("moody", delivery={"retry": 30, **FAST}),
        "none": trigger("none"),
    }
    async with opened(tmp_path / "s.db", sinks, triggers) as bus:
        for start in range(0, 1000, 50):
            await bus.broker.accept([event(n) for n in range(start, start + 50)])
        await bus.ended()
        assert sorted(sinks["fine"].ids, key=int) == [str(n) for n in range(1000)]
        assert set(sinks["moody"].ids) == set(sinks["fine"].ids)
        assert len(await bus.letters()) == 1000
        totals = {one.name: (one.done, one.dead) for one in bus.broker.triggers()}
        assert totals == {"fine": (1000, 0), "moody": (1000, 0), "none": (0, 1000)}


async def test_keys_never_overlap_and_keep_their_order_though_tries_fail(tmp_path: Path) -> None:
    chance, busy, done = random.Random(5), set[str](), defaultdict[str, list[int]](list)

    async def answer(given: WireEvent) -> None:
        assert given.subject not in busy
        busy.add(given.subject)
        await asyncio.sleep(chance.random() * 0.002)
        busy.discard(given.subject)
        if chance.random() < 0.3:
            raise answered(TryLater("busy"), 503)
        done[given.subject].append(int(given.id))

    sink = Sink(answer)
    spec = trigger("it", order="ordered", concurrency=4, delivery={"retry": 50, **FAST})
    async with opened(tmp_path / "s.db", {"it": sink}, {"it": spec}) as bus:
        await bus.broker.accept([event(n, subject=f"key {n % 7}") for n in range(150)])
        await bus.ended()
        assert not await bus.letters()
        assert done == {f"key {k}": list(range(k, 150, 7)) for k in range(7)}
        assert 1 < sink.most <= 4


@pytest.mark.parametrize("seed", range(3))
async def test_no_more_than_concurrency_are_under_way_whatever_happens(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)

    async def answer(_: WireEvent) -> None:
        await asyncio.sleep(chance.random() * 0.003)
        if chance.random() < 0.2:
            raise answered(TryLater("busy"), 503)

    sink = Sink(answer)

    def spec(concurrency: int) -> dict[str, object]:
        delivery = {"retry": 50, **FAST}
        return {"subscriber": {"ref": "it"}, "concurrency": concurrency, "delivery": delivery}

    async with opened(tmp_path / "s.db", {"it": sink}, {}) as bus:
        await bus.broker.put_trigger("it", spec(3))
        for n in range(120):
            await bus.broker.accept([event(n)])
            if n % 20 == 0:  # a swap does not forget what is under way
                await bus.broker.put_trigger("it", spec(chance.randint(1, 3)))
        await bus.ended()
        assert sink.most <= 3
        assert len(sink.counts) == 120


async def test_a_slow_trigger_does_not_hold_up_another(tmp_path: Path) -> None:
    never = asyncio.Event()

    async def stuck(_: WireEvent) -> None:
        await never.wait()

    quick = Sink()
    triggers = {"slow": trigger("slow", concurrency=1), "quick": trigger("quick")}
    async with opened(tmp_path / "s.db", {"slow": Sink(stuck), "quick": quick}, triggers) as bus:
        await bus.broker.accept([event(n) for n in range(100)])
        await until(lambda: len(quick.got) == 100)
        await until(lambda: bus.status("quick").done == 100)
        assert bus.status("slow").under_way == 1
        assert bus.status("slow").waiting == 99


async def test_what_is_rejected_is_a_dead_letter_at_once(tmp_path: Path) -> None:
    error = answered(Rejected("no such thing", reason="refused"), 422, b"x" * 2000)
    sink = Sink(raising(error), where="http://there.example/in")
    async with opened(tmp_path / "s.db", {"it": sink}, IT, config=ENDLESS) as bus:
        await bus.broker.accept([event()])
        await bus.ended()
        (letter,) = await bus.letters()
        assert (letter.reason, letter.code, letter.where) == ("refused", 422, sink.where)
        assert base64.b64decode(letter.answer) == b"x" * 768
        assert len(letter.answer) == 1024
        assert len(sink.got) == letter.tries == 1


async def test_tries_are_counted_and_the_last_answer_is_kept(tmp_path: Path) -> None:
    first, last = answered(TryLater("one"), 503, b"one"), answered(TryLater("two"), 429, b"two")
    sink = Sink(raising(first, first, last))
    spec = trigger("it", delivery={"retry": 2, **FAST})
    async with opened(tmp_path / "s.db", {"it": sink}, {"it": spec}) as bus:
        await bus.broker.accept([event()])
        await bus.ended()
        (letter,) = await bus.letters()
        assert (letter.tries, letter.code, base64.b64decode(letter.answer)) == (3, 429, b"two")
        assert [one.status for one in letter.attempts] == [503, 503, 429]


async def test_where_nobody_answered_the_code_is_500(tmp_path: Path) -> None:
    spec = trigger("it", delivery={"retry": 0})
    sink = Sink(raising(PartFailed("refused")))
    async with opened(tmp_path / "s.db", {"it": sink}, {"it": spec}) as bus:
        await bus.broker.accept([event()])
        await bus.ended()
        (letter,) = await bus.letters()
        assert (letter.code, letter.answer) == (500, "")


async def test_a_retry_waits_as_long_as_it_was_asked_to(tmp_path: Path) -> None:
    times: list[float] = []

    async def answer(_: WireEvent) -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            raise answered(TryLater("wait", after=0.4), 429)

    spec = trigger("it", delivery={"retry": 3, **FAST})
    async with opened(tmp_path / "s.db", {"it": Sink(answer)}, {"it": spec}) as bus:
        await bus.broker.accept([event()])
        await bus.ended()
        assert 0.4 <= times[1] - times[0] < 1.5


async def test_what_takes_too_long_is_tried_again(tmp_path: Path) -> None:
    calls: list[str] = []

    async def answer(given: WireEvent) -> None:
        calls.append(given.id)
        if len(calls) == 1:
            await asyncio.sleep(60)

    spec = trigger("it", delivery={"retry": 1, "timeout": "PT0.1S", **FAST})
    async with opened(tmp_path / "s.db", {"it": Sink(answer)}, {"it": spec}) as bus:
        await bus.broker.accept([event()])
        await bus.ended()
        assert len(calls) == 2
        (trace,) = await bus.journal.traces("1")
        assert [one.reason for one in trace.passages[0].attempts] == ["timeout", ""]


async def test_while_nobody_answers_only_one_probe_at_a_time_is_sent(tmp_path: Path) -> None:
    shut = True

    async def answer(_: WireEvent) -> None:
        await asyncio.sleep(0.001)
        if shut:
            raise PartFailed("connection refused")

    sink = Sink(answer)
    async with opened(tmp_path / "s.db", {"it": sink}, IT, config=ENDLESS) as bus:
        await bus.broker.accept([event(n) for n in range(500)])
        await until(lambda: len(sink.got) >= 12)
        first = len(sink.got)
        await asyncio.sleep(0.1)
        assert len(sink.got) - first < 5, "each probe waits longer than the one before"
        status = bus.status("it")
        assert (status.ready, status.reason) == (True, "holding")
        assert status.waiting + status.under_way == 500
        shut = False
        tried = len(sink.got)
        await bus.ended()
        later = [int(one) for one in sink.ids[tried:]]
        assert sorted(later) == list(range(500)), "each is delivered once"
        assert sum(abs(n - later.index(n)) > 16 for n in later) == 0, "about in their order"
        assert not await bus.letters()
        (trace,) = await bus.journal.traces("0")
        assert trace.passages[0].tries == 0, "nothing was charged with it"


async def test_what_waits_for_nobody_grows_old(tmp_path: Path) -> None:
    sink = Sink(raising(PartFailed("connection refused")))
    config = {"max_age": "300ms", "delivery": {**FAST, "backoffDelay": "PT1M"}}
    async with opened(tmp_path / "s.db", {"it": sink}, IT, config=config) as bus:
        await bus.broker.accept([event(n) for n in range(50)])
        await until(lambda: bus.status("it").reason == "holding" and not bus.broker.busy)
        await asyncio.sleep(0.35)
        await bus.journal.expire()
        assert await bus.reasons() == {str(n): "max_age" for n in range(50)}
        await bus.ended()


async def test_one_event_that_nobody_answers_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async def answer(given: WireEvent) -> None:
        if given.id == "0":
            raise PartFailed("it hung up")

    sink = Sink(answer)
    spec = trigger("it", concurrency=1)
    async with opened(tmp_path / "s.db", {"it": sink}, {"it": spec}, config=ENDLESS) as bus:
        await bus.broker.accept([event(n) for n in range(100)])
        await until(lambda: len(sink.counts) == 100, seconds=5)
        await until(lambda: bus.status("it").done == 99)
        assert sink.counts["0"] < 30


async def test_who_is_gone_gets_no_more_until_the_trigger_is_set_again(tmp_path: Path) -> None:
    sink = Sink(raising(PartFailed("410 Gone", reason="gone"), None))
    spec = {"subscriber": {"ref": "it"}, "concurrency": 1}
    async with opened(tmp_path / "s.db", {"it": sink}, {}, config=ENDLESS) as bus:
        await bus.broker.put_trigger("it", spec)
        await bus.broker.accept([event(n) for n in range(5)])
        await until(lambda: not bus.status("it").ready)
        await asyncio.sleep(0.05)
        status = bus.status("it")
        assert (status.reason, status.waiting, len(sink.got)) == ("gone", 5, 1)
        await bus.broker.put_trigger("it", spec)
        await bus.ended()
        assert sink.ids == ["0", "0", "1", "2", "3", "4"]
        assert not await bus.letters()


async def test_a_bug_makes_a_dead_letter_and_ten_in_a_row_end_the_process(tmp_path: Path) -> None:
    sink = Sink(raising(*[ValueError("oops")] * 9, None, ValueError("oops")))
    spec = trigger("it", concurrency=1)
    handlers, triggers = {"it": sink}, {"it": spec}
    async with opened(tmp_path / "s.db", handlers, triggers, config=ENDLESS, run=False) as bus:
        running = asyncio.create_task(bus.broker.run())
        await bus.broker.accept([event(n) for n in range(10)])
        await bus.ended()
        assert await bus.reasons() == {str(n): "bug" for n in range(9)}
        await bus.broker.accept([event(n) for n in range(10, 30)])
        with pytest.raises(Fatal, match="10 bugs in a row"):
            await running
    assert len(sink.got) == 20


@pytest.mark.parametrize("made", [[event(2)], "text", event(2, data={"n": 1})])
async def test_what_is_no_reply_is_a_bug(tmp_path: Path, made: object) -> None:
    async def answer(_: WireEvent) -> object:
        return made

    sink = Sink(answer)  # type: ignore[arg-type]
    async with opened(tmp_path / "s.db", {"it": sink}, IT, config=ENDLESS) as bus:
        await bus.broker.accept([event()])
        await bus.ended()
        assert await bus.reasons() == {"1": "bug"}


async def test_a_cancellation_within_a_handler_is_a_bug_and_no_end(tmp_path: Path) -> None:
    sink = Sink(raising(asyncio.CancelledError()))  # type: ignore[arg-type]
    async with opened(tmp_path / "s.db", {"it": sink}, IT, config=ENDLESS) as bus:
        await bus.broker.accept([event()])
        await bus.ended()
        assert await bus.reasons() == {"1": "bug"}
        assert len(sink.got) == 1


async def test_a_handler_of_pictures_gets_no_event_of_the_wire(tmp_path: Path) -> None:
    sink = Sink()
    sink.sees_pictures = True
    async with opened(tmp_path / "s.db", {"it": sink}, {"it": trigger("it")}) as bus:
        assert (await bus.broker.accept([event()]))[0].seq == 0
        assert not sink.got


async def test_a_drain_waits_for_what_is_under_way_and_begins_nothing(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def answer(_: WireEvent) -> None:
        await go.wait()

    sink = Sink(answer)
    path, spec = tmp_path / "s.db", {"it": trigger("it", concurrency=2)}
    async with opened(path, {"it": sink}, spec) as bus:
        await bus.broker.accept([event(n) for n in range(5)])
        await until(lambda: len(sink.got) == 2)
        assert await bus.broker.drain(0.05) == 2
        with pytest.raises(TryLater, match="stopping"):
            await bus.broker.accept([event(9)])
        go.set()
        assert await bus.broker.drain(5) == 0
        assert len(sink.got) == 2
    again = Sink()
    async with opened(path, {"it": again}, spec) as bus:
        await bus.ended()
        assert again.ids == ["2", "3", "4"]


async def test_a_handler_that_ignores_its_timeout_is_seen_by_the_watchdog(tmp_path: Path) -> None:
    async def answer(_: WireEvent) -> None:
        for _turn in range(2):
            try:
                await asyncio.sleep(0.3)
            except asyncio.CancelledError:
                continue

    spec = trigger("it", delivery={"retry": 0, "timeout": "PT0.05S"})
    async with opened(tmp_path / "s.db", {"it": Sink(answer)}, {"it": spec}) as bus:
        assert bus.broker.age() is None
        await bus.broker.accept([event()])
        await until(lambda: (bus.broker.age() or 0) > 0.1)
        await bus.ended()
        assert bus.broker.age() is None
