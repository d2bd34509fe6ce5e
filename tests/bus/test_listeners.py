"""Pictures among the triggers: the real broker, journal and outbox, and the way of pictures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edge.bus.listeners import Listeners
from edge.bus.pictures import Pictures
from edge.contracts import Handler, Picture
from edge.errors import Rejected
from edge.event import FRAME_TAKEN, PICTURE_CLASSIFIED, PICTURE_REDACTED, Event, Outcome, WireEvent
from edge.frame import Frame
from edge.parcel import Parcel
from tests.bus.rig import Bus, Sink, opened
from tests.parts import make_parcel
from tests.stages.parts import a_frame, an_event

WANTS_FRAMES = {"filters": [{"exact": {"type": FRAME_TAKEN}}]}


class Redacts:
    """Makes a parcel with a proper message, and sees pictures."""

    where = "test"
    sees_pictures = True

    async def __call__(self, event: Event[Picture]) -> Parcel:
        assert isinstance(event.data, Frame)
        message = {
            "id": f"{event.id}.p1",
            "source": event.source,
            "type": PICTURE_REDACTED,
            "subject": event.subject,
            "data": {"people": []},
        }
        return make_parcel(1, "gate", id=f"{event.id}.p1", event_id=event.id, message=message)

    async def close(self) -> None:
        pass


class Classifies(Redacts):
    """Makes labels."""

    async def __call__(self, event: Event[Picture]) -> WireEvent:  # type: ignore[override]
        return Event(id=event.id, source=event.source, type=PICTURE_CLASSIFIED, data=b"{}")


class Rig:
    """A bus with the way of pictures on top."""

    def __init__(self, bus: Bus, sink: Sink) -> None:
        self.bus, self.sink = bus, sink
        listeners = Listeners(bus.broker, bus.journal, keep=bus.database.do, hops=255)
        self.pictures = Pictures(bus.metrics, audience=listeners, keeper=bus.outbox)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    sink = Sink()
    handlers: dict[str, Handler] = {
        "redact": Redacts(),
        "classify": Classifies(),
        "sink": sink,
    }
    async with opened(tmp_path / "spool.db", handlers, {}) as bus:
        yield Rig(bus, sink)


async def set_triggers(rig: Rig, **triggers: dict[str, Any]) -> None:
    for name, spec in triggers.items():
        ref = spec.pop("ref")
        await rig.bus.broker.put_trigger(name, {"subscriber": {"ref": ref}, **spec})


async def test_a_parcels_message_goes_to_whoever_waits_for_results(rig: Rig) -> None:
    wants_results = {"filters": [{"exact": {"type": PICTURE_REDACTED}}]}
    await set_triggers(
        rig, redact={"ref": "redact", **WANTS_FRAMES}, results={"ref": "sink", **wants_results}
    )
    assert await rig.pictures(an_event(a_frame())) is Outcome.DONE
    assert await rig.pictures(an_event(a_frame())) is Outcome.DUPLICATE
    await rig.bus.ended()
    (got,) = rig.sink.got
    assert (got.id, got.subject, got.data) == ("gate-0.p1", "gate", b'{"people":[]}')
    assert rig.bus.outbox.stats().waiting == 1


async def test_two_handlers_see_one_picture_and_both_answers_go_on(rig: Rig) -> None:
    everything = {"filters": [{"prefix": {"type": "io.edge.picture."}}]}
    await set_triggers(
        rig,
        redact={"ref": "redact", **WANTS_FRAMES},
        labels={"ref": "classify", **WANTS_FRAMES},
        results={"ref": "sink", **everything},
    )
    assert await rig.pictures(an_event(a_frame())) is Outcome.DONE
    await rig.bus.ended()
    assert {event.type for event in rig.sink.got} == {PICTURE_REDACTED, PICTURE_CLASSIFIED}


async def test_who_sees_no_pictures_gets_the_event_without_its_picture(rig: Rig) -> None:
    await set_triggers(
        rig, redact={"ref": "redact", **WANTS_FRAMES}, told={"ref": "sink", **WANTS_FRAMES}
    )
    assert await rig.pictures(an_event(a_frame())) is Outcome.DONE
    await rig.bus.ended()
    (got,) = rig.sink.got
    assert (got.id, got.type, got.data) == ("gate-0", FRAME_TAKEN, None)


async def test_a_picture_that_no_trigger_wants_is_refused_with_the_reason(rig: Rig) -> None:
    await set_triggers(rig, other={"ref": "redact", "filters": [{"exact": {"type": "else"}}]})
    with pytest.raises(Rejected) as caught:
        await rig.pictures(an_event(a_frame()))
    assert caught.value.reason == "unwanted"


async def test_watchers_see_a_picture_once_and_only_its_attributes(rig: Rig) -> None:
    await set_triggers(
        rig, redact={"ref": "redact", **WANTS_FRAMES}, told={"ref": "sink", **WANTS_FRAMES}
    )
    watch = rig.bus.broker.watch()
    await rig.pictures(an_event(a_frame()))
    await rig.bus.ended()
    await asyncio.sleep(0)
    watch.shut()
    seen = [event async for event in watch]
    assert [event.type for event in seen] == [FRAME_TAKEN, PICTURE_REDACTED]
    assert seen[0].data is None


async def test_the_way_of_a_picture_can_be_looked_up(rig: Rig) -> None:
    await set_triggers(rig, redact={"ref": "redact", **WANTS_FRAMES})
    await rig.pictures(an_event(a_frame()))
    (trace,) = rig.pictures.recent.traces("gate-0")
    (passage,) = trace.passages
    assert (trace.outcome, passage.trigger, passage.parcel) == ("done", "redact", "gate-0.p1")
    assert rig.pictures.recent.traces("gate-1") == []
