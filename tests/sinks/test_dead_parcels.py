from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from edge.config.store import OutboxConfig
from edge.ops.database import Database
from edge.ops.metrics import Metrics
from edge.sinks.dead_parcels import AT_ONCE, DeadParcels
from edge.sinks.outbox import Outbox
from edge.sinks.outbox_sql import SCHEMA
from edge.traffic import LetterQuery
from tests.parts import make_parcel


class Yard:
    """An outbox with its dead parcels."""

    def __init__(self, path: Path) -> None:
        database = Database(path, SCHEMA, name="spool")
        self.outbox = Outbox(database, OutboxConfig(), Metrics())
        self.put_back = 0
        self.dead = DeadParcels(database, where="folder /pictures", put_back=self._count)

    def _count(self) -> None:
        self.put_back += 1

    async def bury(self, number: int, reason: str, source: str = "gate") -> None:
        message = {
            "specversion": "1.0",
            "id": f"{source}-{number}",
            "source": f"/site/box/{source}",
            "type": "io.edge.picture.redacted.v1",
            "subject": source,
            "data": {"people": [], "n": number},
        }
        await self.outbox.put(make_parcel(number, source, message=message))
        (head,) = [one for one in await self.outbox.heads(9) if one.parcel.source == source]
        await self.outbox.dead(head.seq, reason)


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    yard = Yard(tmp_path / "spool.db")
    await yard.outbox.open()
    yield yard
    await yard.outbox.close()


async def test_a_dead_parcel_is_a_letter_with_where_why_and_what(yard: Yard) -> None:
    await yard.bury(1, "key_taken: there is another picture of that name")
    (letter,) = await yard.dead.letters(LetterQuery())
    assert letter.id.startswith("parcel-")
    assert (letter.trigger, letter.reason) == ("store", "key_taken")
    assert letter.error == "there is another picture of that name"
    assert letter.where == "folder /pictures gate/2026/03/04/000001.jpg"
    assert letter.attributes["subject"] == "gate"
    assert "data" not in letter.attributes
    one = await yard.dead.letter(letter.id)
    assert one is not None
    assert one.event is not None
    assert one.event.data == b'{"people": [], "n": 1}'


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (LetterQuery(reason="key_taken"), 2),
        (LetterQuery(reason="key"), 0),
        (LetterQuery(subject="ya"), 1),
        (LetterQuery(subject="%"), 0),
        (LetterQuery(source="/site/box/gate"), 2),
        (LetterQuery(type="io.edge.picture.redacted.v1"), 3),
        (LetterQuery(trigger="store"), 3),
        (LetterQuery(trigger="redact"), 0),
        (LetterQuery(ids=("event-1", "parcel-x")), 0),
        (LetterQuery(until=0.0), 0),
        (LetterQuery(since=0.0, limit=2), 2),
    ],
)
async def test_letters_are_found_by_what_is_known_of_them(
    yard: Yard, query: LetterQuery, found: int
) -> None:
    await yard.bury(1, "key_taken: there")
    await yard.bury(2, "too_large")
    await yard.bury(3, "key_taken", "yard")
    assert len(await yard.dead.letters(query)) == found


async def test_pages_follow_each_other(yard: Yard) -> None:
    for number in range(5):
        await yard.bury(number, "never")
    first = await yard.dead.letters(LetterQuery(limit=3))
    rest = await yard.dead.letters(LetterQuery(limit=3, after=first[-1].id))
    assert [letter.attributes["id"] for letter in first + rest] == [f"gate-{n}" for n in range(5)]


async def test_what_is_put_back_waits_again_and_is_no_letter_any_more(yard: Yard) -> None:
    await yard.bury(1, "never")
    before = yard.outbox.stats()
    assert (before.waiting, before.dead) == (0, 1)
    assert await yard.dead.replay(LetterQuery()) == 1
    after = yard.outbox.stats()
    assert (after.waiting, after.waiting_bytes) == (1, before.dead_bytes)
    assert (after.dead, after.dead_bytes, yard.put_back) == (0, 0, 1)
    (head,) = await yard.outbox.heads(1)
    assert (head.parcel.event_id, head.tries) == ("gate/1", 0)
    assert await yard.dead.replay(LetterQuery()) == 0
    assert yard.put_back == 1


async def test_what_is_dropped_makes_room(yard: Yard) -> None:
    await yard.bury(1, "never")
    await yard.bury(2, "never")
    (first, _) = await yard.dead.letters(LetterQuery())
    assert await yard.dead.drop(LetterQuery(ids=(first.id,))) == 1
    assert yard.outbox.stats().dead == 1
    assert await yard.dead.drop(LetterQuery(limit=5)) == 1
    assert (yard.outbox.stats().dead, yard.outbox.stats().dead_bytes) == (0, 0)


@pytest.mark.parametrize("verb", [DeadParcels.replay, DeadParcels.drop])
async def test_many_letters_go_in_pieces(
    yard: Yard, verb: Callable[[DeadParcels, LetterQuery], object]
) -> None:
    many = AT_ONCE + 7
    for number in range(many):
        await yard.bury(number, "never")
    count = await verb(yard.dead, LetterQuery(limit=AT_ONCE + 1))  # type: ignore[misc]
    assert count == AT_ONCE + 1
    assert yard.outbox.stats().dead == 6
