from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence

import pytest

from edge.bus.pictures import Kept, Pictures, Taker, unwanted
from edge.contracts import Note, Picture
from edge.errors import EdgeError, Rejected, TryLater
from edge.event import PICTURE_CLASSIFIED, Event, Outcome, WireEvent
from edge.ops.metrics import Metrics
from edge.parcel import Parcel
from tests.parts import make_parcel
from tests.stages.parts import a_frame, an_event

Answer = Parcel | WireEvent | EdgeError | ZeroDivisionError | None


class Asked:
    """A handler that answers as it is told."""

    where = "test"
    sees_pictures = True

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def __call__(self, event: Event[Picture]) -> WireEvent | Parcel | None:
        assert event.data.subject == event.subject
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def close(self) -> None:
        pass


class Everyone:
    """An audience and an outbox in one: rows are names, and notes write to a real database."""

    def __init__(self, *answers: Answer) -> None:
        self._takers = [Taker(f"t{n}", Asked(answer)) for n, answer in enumerate(answers)]
        self.rows = sqlite3.connect(":memory:", isolation_level=None)
        self.rows.execute("CREATE TABLE kept (name TEXT UNIQUE)")
        self.told: list[str] = []
        self.full = False

    async def takers(self, event: Event[Picture]) -> Sequence[Taker]:
        if not self._takers:
            raise unwanted(event)
        return self._takers

    def note_of(
        self, event: Event[Picture], trigger: str, reply: WireEvent | Parcel
    ) -> tuple[Note, Callable[[], None]]:
        name = f"reply to {event.id} by {trigger} about {reply.id}"
        return (
            lambda db: db.execute("INSERT OR IGNORE INTO kept VALUES (?)", (name,)),
            lambda: self.told.append(name),
        )

    async def keep(self, note: Note) -> None:
        note(self.rows)

    async def put(self, parcel: Parcel, also: Note | None = None) -> bool:
        if self.full:
            raise TryLater("no room", reason="outbox_full")
        self.rows.execute("BEGIN")
        new = self.rows.execute("INSERT OR IGNORE INTO kept VALUES (?)", (parcel.id,)).rowcount
        if also is not None:
            also(self.rows)
        self.rows.execute("COMMIT")
        return bool(new)

    async def knows(self, event_id: str) -> bool:
        return bool(event_id)

    def kept(self) -> list[str]:
        return [name for (name,) in self.rows.execute("SELECT name FROM kept ORDER BY rowid")]


def over(everyone: Everyone) -> tuple[Pictures, Metrics, Kept]:
    metrics = Metrics()
    kept = Kept(metrics, everyone)
    return Pictures(metrics, audience=everyone, keeper=kept), metrics, kept


def labels() -> WireEvent:
    return Event(id="labels-1", source="/site/box/gate", type=PICTURE_CLASSIFIED, data=b"{}")


def failures(metrics: Metrics, trigger: str) -> float:
    labelled = {"trigger": trigger, "outcome": "failed"}
    return metrics.registry.get_sample_value("edge_bus_deliveries_total", labelled) or 0.0


async def test_a_parcel_and_the_note_of_its_message_are_kept_together() -> None:
    everyone = Everyone(make_parcel())
    pictures, _, kept = over(everyone)
    seen: list[str] = []
    kept.made.append(lambda parcel: seen.append(parcel.id))
    assert await pictures(an_event(a_frame())) is Outcome.DONE
    parcel, note = everyone.kept()
    assert note == f"reply to gate-0 by t0 about {parcel}"
    assert (everyone.told, seen) == ([note], [parcel])


async def test_the_same_parcel_again_is_a_duplicate_that_nobody_is_told_of() -> None:
    everyone = Everyone(make_parcel())
    pictures, _, kept = over(everyone)
    seen: list[str] = []
    kept.made.append(lambda parcel: seen.append(parcel.id))
    await pictures(an_event(a_frame()))
    assert await pictures(an_event(a_frame())) is Outcome.DUPLICATE
    assert len(everyone.kept()) == 2
    assert len(seen) == 1


async def test_where_the_outbox_is_full_nothing_is_noted_and_the_reason_is_said() -> None:
    everyone = Everyone(make_parcel())
    pictures, _, kept = over(everyone)
    everyone.full = True
    with pytest.raises(TryLater):
        await pictures(an_event(a_frame()))
    assert (everyone.kept(), everyone.told, kept.no_room) == ([], [], "no room")
    everyone.full = False
    await pictures(an_event(a_frame()))
    assert kept.no_room == ""


async def test_an_event_that_came_of_a_picture_is_journalled_without_a_parcel() -> None:
    everyone = Everyone(labels())
    pictures, _, _ = over(everyone)
    assert await pictures(an_event(a_frame())) is Outcome.DONE
    assert everyone.kept() == ["reply to gate-0 by t0 about labels-1"]


async def test_a_second_handler_that_fails_does_not_spoil_the_redaction_but_is_counted() -> None:
    everyone = Everyone(make_parcel(), Rejected("no labels"))
    pictures, metrics, _ = over(everyone)
    assert await pictures(an_event(a_frame())) is Outcome.DONE
    assert failures(metrics, "t1") == 1


@pytest.mark.parametrize("failure", [Rejected("never"), TryLater("later"), ZeroDivisionError()])
async def test_where_nothing_was_redacted_the_failure_is_the_pictures_own(
    failure: EdgeError | ZeroDivisionError,
) -> None:
    everyone = Everyone(failure, labels())
    pictures, _, _ = over(everyone)
    with pytest.raises(type(failure)):
        await pictures(an_event(a_frame()))
    assert everyone.kept() == []


async def test_a_bug_in_a_second_handler_is_never_hidden() -> None:
    pictures, _, _ = over(Everyone(make_parcel(), ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        await pictures(an_event(a_frame()))


async def test_a_picture_that_nobody_wants_says_so() -> None:
    pictures, _, _ = over(Everyone())
    with pytest.raises(Rejected) as caught:
        await pictures(an_event(a_frame()))
    assert caught.value.reason == "unwanted"
