"""A journal that lost rows is put right: every event that is left still ends, exactly once."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from edge.bus.journal import SCHEMA
from edge.bus.journal_mend import NOBODY, REASON, mend
from edge.ops.database_file import PAGE_BYTES
from edge.ops.repair import check, repair
from edge.traffic import LetterQuery
from tests.bus.parts_journal import arrival, attempt, ids, journal_at, take_all


async def a_journal(path: Path) -> None:
    """Leave 40 events of which 5 ended and 1 is a dead letter; of 10 a key they wait in line."""
    async with journal_at(path) as journal:
        for number in range(40):
            key = f"k{number % 2}" if number >= 20 else ""
            await journal.accept([arrival(number, "one", "two", key=key, body={"n": number})])
        for due in await journal.due("one", 6):
            await journal.done(due, attempt())
        for due in await journal.due("two", 5):
            await journal.done(due, attempt())
        (sixth,) = await journal.due("two", 1)
        await journal.dead(
            sixth, attempt("refused"), where="x", reason="refused", error="x", code=500, answer=""
        )


def lose(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
        mend(connection)
    connection.close()


async def test_a_sound_journal_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await a_journal(path)
    with sqlite3.connect(path) as connection:
        before = list(connection.iterdump())
        mend(connection)
        assert list(connection.iterdump()) == before
    connection.close()


async def test_every_event_that_is_left_ends_and_the_sums_are_right(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await a_journal(path)
    lose(
        path,
        "DELETE FROM event WHERE seq IN (10, 22)",
        "DELETE FROM delivery WHERE seq = 12",
        "DELETE FROM delivery WHERE seq = 13 AND trigger = 'one'",
        "DELETE FROM heard",
        "DELETE FROM bus_waiting",
        "UPDATE bus_total SET seq = 0, ended = 0, events = 0, bytes = 0, letter = 0, letters = 0",
    )
    async with journal_at(path) as journal:
        stats = journal.stats()
        assert stats.events == 40 - 6 - 2 - 1
        assert (journal.waiting("one"), journal.waiting("two")) == (30, 31)
        # known before, though what remembered it was lost; a new one gets a number of its own
        assert not (await journal.accept([arrival(0), arrival(30)]))[0].new
        (fresh,) = await journal.accept([arrival("new", "one")])
        assert fresh.seq > 40
        one, two = await take_all(journal, "one"), await take_all(journal, "two")
        assert len(one) == len(ids(one)) == len(set(ids(one))) == 31
        assert len(two) == len(set(ids(two))) == 31
        lined = [event for event in ids(one) if event in {f"e{n}" for n in range(20, 40, 2)}]
        assert lined == sorted(lined, key=lambda id_: int(id_[1:]))
        assert journal.stats().events == 0
        letters = await journal.letters(LetterQuery())
        assert [letter.reason for letter in letters] == ["refused", REASON]
        assert letters[1].trigger == NOBODY
        shown = await journal.letter(letters[1].id)
        assert shown is not None
        assert shown.event is not None
        assert shown.event.data == b'{"n": 11}'


async def test_a_letter_that_lost_its_data_goes_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await a_journal(path)
    lose(path, "DELETE FROM letter_data")
    async with journal_at(path) as journal:
        assert await journal.letters(LetterQuery()) == []
        assert journal.stats().letters == 0


async def test_a_journal_whose_header_is_lost_delivers_what_waits_and_nothing_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "j.db"
    await a_journal(path)
    with path.open("r+b") as file:
        file.write(bytes(PAGE_BYTES))
    assert not check(path, [SCHEMA])[0].sound
    findings = repair(path, [SCHEMA], mend)
    assert findings.pages == 1
    async with journal_at(path) as journal:
        assert journal.stats().events == 34
        assert len(await take_all(journal, "one")) == 34
        assert len(await take_all(journal, "two")) == 34
