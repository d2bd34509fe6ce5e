"""How deliveries end: dead letters and their sinks, replies, parcels, crashes."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

from edge.errors import PartFailed, Rejected, TryLater
from edge.event import Event, WireEvent
from edge.traffic import LetterQuery
from tests.bus.rig import FAST, Sink, answered, event, opened, raising, trigger
from tests.parts import make_parcel, until

ENDLESS = {"delivery": {**FAST}}


async def test_a_dead_letter_goes_to_the_sink_that_wants_it(tmp_path: Path) -> None:
    refusing = Sink(raising(answered(Rejected("no"), 400, b"why")), where="http://there.example/")
    spec = trigger(
        "it", delivery={"retry": 0, "deadLetterSink": {"uri": "http://dead.example/"}, **FAST}
    )
    async with opened(tmp_path / "s.db", {"it": refusing}, {"it": spec}) as bus:
        sink = bus.forwards["http://dead.example/"]
        assert not sink.replies, "its answer is no event"
        await bus.broker.accept([event(1, extensions={"mine": 1, "knativeerrordata": "old"})])
        await bus.ended()
        (got,) = sink.got
        assert got.extensions == {
            "mine": 1,
            "knativeerrordest": "http://there.example/",
            "knativeerrorcode": 400,
            "knativeerrordata": base64.b64encode(b"why").decode(),
        }
        assert (got.id, got.data) == ("1", event().data)
        assert not await bus.letters()


async def test_without_an_answer_a_dead_letter_has_no_data_of_it(tmp_path: Path) -> None:
    dead, spec = Sink(), trigger("it", delivery={"deadLetterSink": {"ref": "dead"}})
    handlers = {"it": Sink(raising(PartFailed("refused"))), "dead": dead}
    async with opened(tmp_path / "s.db", handlers, {"it": spec}) as bus:
        await bus.broker.accept([event(extensions={"knativeerrordata": "old"})])
        await bus.ended()
        assert dead.got[0].extensions == {"knativeerrordest": "edge:sink", "knativeerrorcode": 500}


async def test_a_dead_letter_that_its_sink_refuses_stays_in_the_box(tmp_path: Path) -> None:
    dead = Sink(raising(answered(TryLater("busy"), 503)))
    spec = trigger("it", delivery={"retry": 1, "deadLetterSink": {"ref": "dead"}, **FAST})
    handlers = {"it": Sink(raising(Rejected("no"))), "dead": dead}
    async with opened(tmp_path / "s.db", handlers, {"it": spec}) as bus:
        await bus.broker.accept([event()])
        await bus.ended()
        (letter,) = await bus.letters()
        assert (letter.trigger, letter.tries, len(dead.got)) == ("it/dead", 2, 2)
        assert await bus.journal.replay(LetterQuery()) == 1
        await bus.ended()
        assert len(dead.got) == 4


async def test_a_sink_for_dead_letters_is_tried_again_after_a_restart(tmp_path: Path) -> None:
    spec = trigger("it", delivery={"retry": 500, "deadLetterSink": {"ref": "dead"}, **FAST})
    handlers = {"it": Sink(raising(Rejected("no"))), "dead": Sink(raising(PartFailed("shut")))}
    async with opened(tmp_path / "s.db", handlers, {"it": spec}) as bus:
        await bus.broker.accept([event()])
        await until(lambda: len(handlers["dead"].got) >= 2)
    dead = Sink()
    async with opened(tmp_path / "s.db", {**handlers, "dead": dead}, {"it": spec}) as bus:
        await bus.ended()
        assert (dead.ids, await bus.letters()) == (["1"], [])


async def test_a_handler_that_answers_its_own_events_ends_after_its_hops(tmp_path: Path) -> None:
    async def answer(given: WireEvent) -> WireEvent:
        return given

    sink = Sink(answer)
    spec = {"it": trigger("it")}
    async with opened(tmp_path / "s.db", {"it": sink}, spec, config={"hops": 9}) as bus:
        await bus.broker.accept([event()])
        await bus.ended()
        assert len(sink.got) == 9
        (letter,) = await bus.letters()
        assert (letter.reason, letter.trigger) == ("hop_limit", "it")
        assert all("knativebrokerttl" not in one.extensions for one in sink.got)


async def test_a_crash_after_the_work_delivers_again_and_makes_one_reply(tmp_path: Path) -> None:
    working = asyncio.Event()

    async def answer(given: WireEvent) -> WireEvent:
        working.set()
        return event(f"answer to {given.id}", type="t.two")

    async def crash(_: WireEvent) -> None:
        working.set()
        await asyncio.sleep(60)

    path, listener = tmp_path / "s.db", Sink()
    triggers = {
        "it": trigger("it", filters=[{"exact": {"type": "t.one"}}]),
        "listener": trigger("listener", filters=[{"exact": {"type": "t.two"}}]),
    }
    first = Sink(crash)
    async with opened(path, {"it": first, "listener": listener}, triggers) as bus:
        await bus.broker.accept([event()])
        await working.wait()  # the work is done, nothing is noted: and now it stops
    second = Sink(answer)
    async with opened(path, {"it": second, "listener": listener}, triggers) as bus:
        await bus.ended()
        assert (first.ids, second.ids) == (["1"], ["1"])
        assert listener.ids == ["answer to 1"]
        assert not (await bus.broker.accept([event()]))[0].new
        (trace,) = await bus.journal.traces("1")
        assert trace.passages[0].replies == ["answer to 1"]


async def test_a_parcel_goes_to_the_outbox_and_its_message_to_who_wants_it(tmp_path: Path) -> None:
    message = {"id": "gate/1/p1", "source": "/s", "type": "io.edge.picture.redacted.v1", "data": 7}
    parcel, listener = make_parcel(1, message=message), Sink()

    async def answer(_: Event[object]) -> object:
        return parcel

    triggers = {
        "it": trigger("it", filters=[{"exact": {"type": "t.one"}}]),
        "listener": trigger("listener", filters=[{"prefix": {"type": "io.edge."}}]),
    }
    handlers = {"it": Sink(answer), "listener": listener}  # type: ignore[arg-type]
    async with opened(tmp_path / "s.db", handlers, triggers) as bus:
        await bus.broker.accept([event()])
        await bus.ended()
        assert bus.outbox.stats().waiting == 1
        assert [(one.id, one.data) for one in listener.got] == [("gate/1/p1", b"7")]
        (trace,) = await bus.journal.traces("1")
        assert trace.passages[0].parcel == parcel.id


async def test_a_full_outbox_holds_the_trigger_and_costs_no_try(tmp_path: Path) -> None:
    message = {"id": "1", "source": "/s", "type": "t.two", "data": None}

    async def answer(given: WireEvent) -> object:
        return make_parcel(int(given.id), body=b"x" * 3000, message=message)

    sink = Sink(answer)  # type: ignore[arg-type]
    spec = trigger("it", filters=[{"exact": {"type": "t.one"}}], delivery={"retry": 0, **FAST})
    room = {"max_bytes": "5000B"}
    async with opened(tmp_path / "s.db", {"it": sink}, {"it": spec}, outbox=room) as bus:
        await bus.broker.accept([event(1), event(2)])
        await until(lambda: bus.status("it").reason == "holding")
        assert not await bus.letters()
        (head,) = await bus.outbox.heads(1)
        await bus.outbox.passed(head.seq)
        await bus.ended()
        assert bus.outbox.stats().waiting == 1
        assert not await bus.letters()


async def test_a_reply_that_is_too_large_makes_a_dead_letter_of_the_event(tmp_path: Path) -> None:
    async def answer(_: WireEvent) -> WireEvent:
        return event(2, data=b"x" * 2000)

    spec, small = {"it": trigger("it")}, {"max_event": "1KiB"}
    async with opened(tmp_path / "s.db", {"it": Sink(answer)}, spec, config=small) as bus:
        await bus.broker.accept([event()])
        await bus.ended()
        assert await bus.reasons() == {"1": "too_large"}
