"""The broker: intake, and what pictures and parcels are to the bus."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from edge.bus.broker import event_of
from edge.bus.journal import digest_of
from edge.errors import Rejected
from edge.event import Event, WireEvent
from edge.frame import Frame
from tests.bus.rig import Sink, event, opened, trigger
from tests.parts import MORNING, make_parcel
from tests.places import shared


async def test_an_event_goes_to_each_trigger_that_wants_it_and_to_no_other(tmp_path: Path) -> None:
    sinks = {name: Sink() for name in "abc"}
    triggers = {
        "a": trigger("a", filters=[{"cel": "data.n > 0"}]),
        "b": trigger("b", filters=[{"cesql": "type LIKE 't.%'"}]),
        "b again": trigger("b"),
        "c": trigger("c", filters=[{"exact": {"type": "t.two"}}]),
    }
    triggers["b.again"] = triggers.pop("b again")
    async with opened(tmp_path / "s.db", sinks, triggers) as bus:
        await bus.broker.accept([event()])
        await bus.ended()
        assert {name: sink.ids for name, sink in sinks.items()} == {
            "a": ["1"],
            "b": ["1", "1"],
            "c": [],
        }


async def test_what_nobody_wants_is_done_at_once_and_known_again(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.db", {}, {}) as bus:
        first, second = await bus.broker.accept([event()]), await bus.broker.accept([event()])
        assert first[0].seq == 0
        assert [one.new for one in first + second] == [True, False]
        (trace,) = await bus.journal.traces("1")
        assert trace.outcome == "unwanted"


def files_with(piece: bytes, folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if piece in file.read_bytes()]


@pytest.mark.parametrize("name", ["beagle.jpg", "grace_hopper.bmp"])
async def test_a_raw_picture_is_never_journalled(tmp_path: Path, name: str) -> None:
    picture = (shared("data/photos") / name).read_bytes()[:100_000]
    sink = Sink()
    async with opened(tmp_path / "s.db", {"it": sink}, {"it": trigger("it")}) as bus:
        for one in (
            event(2, data=picture, datacontenttype="application/octet-stream"),
            event(3, data=b"whatever", datacontenttype="image/x-own"),
        ):
            with pytest.raises(Rejected) as caught:
                await bus.broker.accept([event(1), one])
            assert caught.value.reason == "raw_picture"
        text = event(4, data=b"BM, GIF8 and RIFF are letters", datacontenttype="text/plain")
        await bus.broker.accept([text])
        await bus.ended()
        assert sink.ids == ["4"]


async def test_a_raw_picture_that_comes_as_an_answer_is_written_nowhere(tmp_path: Path) -> None:
    picture = (shared("data/photos") / "beagle.jpg").read_bytes()

    async def answer(_: WireEvent) -> WireEvent:
        return event(9, type="t.two", data=picture, datacontenttype="application/octet-stream")

    triggers = {"it": trigger("it")}
    async with opened(tmp_path / "s.db", {"it": Sink(answer)}, triggers) as bus:
        await bus.broker.accept([event(1)])
        await bus.ended()
        assert await bus.reasons() == {"1": "raw_picture"}
    piece = picture[5000:5064]
    assert files_with(piece, tmp_path) == []


async def test_a_batch_with_one_event_too_large_is_refused_whole(tmp_path: Path) -> None:
    sink, small = Sink(), {"max_event": "1KiB"}
    triggers = {"it": trigger("it")}
    async with opened(tmp_path / "s.db", {"it": sink}, triggers, config=small) as bus:
        for large in (event(2, data=b"x" * 1024), event(2, extensions={"x": "y" * 1024})):
            with pytest.raises(Rejected) as caught:
                await bus.broker.accept([event(1), large])
            assert caught.value.reason == "too_large"
        assert bus.journal.stats().events == 0


async def test_an_event_that_expired_is_taken_and_dropped(tmp_path: Path) -> None:
    sink = Sink()
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    async with opened(tmp_path / "s.db", {"it": sink}, {"it": trigger("it")}) as bus:
        (taken,) = await bus.broker.accept([event(extensions={"expirytime": past})])
        assert taken.new
        await bus.ended()
        assert not sink.got
        (trace,) = await bus.journal.traces("1")
        assert [one.state for one in trace.passages] == ["dropped"]


async def test_subscribers_never_see_the_hops(tmp_path: Path) -> None:
    async def answer(given: WireEvent) -> WireEvent:
        return event(f"{given.id}+", extensions={"knativebrokerttl": 99})

    sink = Sink(answer)
    async with opened(tmp_path / "s.db", {"it": sink}, {"it": trigger("it")}) as bus:
        await bus.broker.accept([event(extensions={"knativebrokerttl": "3", "mine": 1})])
        await bus.ended()
        assert [dict(one.extensions) for one in sink.got] == [{"mine": 1}, {}, {}]
        assert await bus.reasons() == {"1+++": "hop_limit"}


async def test_a_picture_is_matched_by_its_attributes_and_its_answers_are_journalled(
    tmp_path: Path,
) -> None:
    eyes, listener = Sink(), Sink()
    eyes.sees_pictures = True
    triggers = {
        "redact": trigger("eyes", filters=[{"prefix": {"type": "io.edge.frame."}}]),
        "listener": trigger("listener", filters=[{"prefix": {"type": "io.edge.picture."}}]),
        "both": trigger("listener", filters=[{"cel": "ce.type.startsWith('io.edge.f')"}]),
    }
    pixels = np.zeros((8, 8, 3), np.uint8)
    frame = Frame(pixels=pixels, taken_at=MORNING, source="gate", subject="gate")
    picture = Event(id="1", source="/s/b/gate", type="io.edge.frame.taken.v1", data=frame)
    message = {"id": "1/p", "source": "/s/b/gate", "type": "io.edge.picture.redacted.v1", "data": 1}
    handlers = {"eyes": eyes, "listener": listener}
    async with opened(tmp_path / "s.db", handlers, triggers) as bus:
        found = bus.broker.matching(picture)
        assert [(one.name, one.for_pictures(picture)) for one in found] == [
            ("redact", True),
            ("both", False),
        ]
        parcel = make_parcel(1, message=message)
        for _ in range(2):  # the second time after a crash
            arrivals = bus.broker.reply_arrivals(
                digest_of(picture.carrying(None)), "redact", 255, event_of(parcel)
            )
            await bus.outbox.put(parcel, also=bus.journal.note_of(arrivals))
            bus.broker.announce(arrivals)
        await bus.ended()
        assert [one.id for one in listener.got] == ["1/p"]
        assert not eyes.got


def test_a_parcel_is_an_event_with_all_that_its_message_has() -> None:
    message = {
        "specversion": "1.0", "id": "a", "source": "/s", "type": "t", "subject": "ä",
        "time": "2026-03-04T05:06:07.890Z", "datacontenttype": "application/json",
        "traceparent": "00-1", "data": {"people": [], "ü": 1.5},
    }  # fmt: skip
    found = event_of(make_parcel(1, message=message))
    assert found.attributes() == {name: v for name, v in message.items() if name != "data"}
    assert json.loads(found.data or b"") == message["data"]
    assert event_of(make_parcel(1, message={"id": "a", "source": "/s", "type": "t"})).data is None


async def test_a_large_batch_does_not_stall_the_loop(tmp_path: Path) -> None:
    filters = [{"cesql": "EXISTS subject OR type LIKE '%two' OR data = 'x'"}]
    triggers = {f"t{n}": trigger("none", filters=filters) for n in range(10)}
    longest = 0.0

    async def watch_the_loop() -> None:
        nonlocal longest
        while True:
            before = time.thread_time()  # of this thread alone: a busy machine plays no part
            await asyncio.sleep(0.001)
            longest = max(longest, time.thread_time() - before)

    async with opened(tmp_path / "s.db", {}, triggers, run=False) as bus:
        watching = asyncio.create_task(watch_the_loop())
        await bus.broker.accept([event(n) for n in range(5000)])
        watching.cancel()
        # 256 events at a time; the rest is the journal's own preparation of 5000 rows
        assert longest < 0.3
