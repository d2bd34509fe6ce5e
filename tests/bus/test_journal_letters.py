from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.bus.journal import Journal
from edge.bus.journal_letters import WINDOW
from edge.ops.metrics import Metrics
from edge.traffic import LetterQuery
from tests.bus.parts_journal import (
    DAY,
    MORNING,
    Clock,
    arrival,
    attempt,
    ids,
    journal_at,
    take_all,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def journal(tmp_path: Path, clock: Clock) -> AsyncIterator[Journal]:
    async with journal_at(tmp_path / "j.db", clock=clock) as one:
        yield one


async def kill_all(journal: Journal, trigger: str = "one", reason: str = "rejected") -> None:
    while found := await journal.due(trigger, 50):
        for due in found:
            answer = base64.b64encode(b"no").decode()
            await journal.dead(due, attempt(reason), "edge:x", reason, "no", 422, answer)


async def test_a_dead_letter_says_everything(journal: Journal, clock: Clock) -> None:
    await journal.accept([arrival(1, body=[1, 2], extensions={"x": 5})])
    (due,) = await journal.due("one", 1)
    await journal.failed(due, attempt("busy"), 0)
    clock.now += 5
    await kill_all(journal)
    (letter,) = await journal.letters(LetterQuery())
    assert letter.id == "event-1"
    assert (letter.trigger, letter.where, letter.reason) == ("one", "edge:x", "rejected")
    assert (letter.error, letter.code, letter.answer) == ("no", 422, "bm8=")
    assert (letter.died_at, letter.tries, letter.event) == (MORNING + 5, 2, None)
    assert [one.reason for one in letter.attempts] == ["busy", "rejected"]
    assert letter.bytes > 200
    shown = await journal.letter("event-1")
    assert shown is not None
    assert shown.event == due.event
    assert (await journal.traces("e1"))[0].outcome == "dead"
    for other in (
        "event-2",
        "parcel-1",
        "event-",
        "event-x",
        "event--1",
        "event-²",
        "event-9" * 30,
    ):
        assert await journal.letter(other) is None


async def test_letters_are_found_by_what_they_are(journal: Journal, clock: Clock) -> None:
    await journal.accept([arrival(1, type="a"), arrival(2, source="/b"), arrival(3, "two")])
    await kill_all(journal)
    clock.now += 100
    await kill_all(journal, "two", "timeout")

    async def found(**query: object) -> list[str]:
        letters = await journal.letters(LetterQuery(**query))  # type: ignore[arg-type]
        return [str(letter.attributes["id"]) for letter in letters]

    assert await found() == ["e1", "e2", "e3"]
    assert await found(trigger="two") == ["e3"]
    assert await found(reason="rejected") == ["e1", "e2"]
    assert await found(type="a") == ["e1"]
    assert await found(source="/b") == ["e2"]
    assert await found(subject="ngs/3") == ["e3"]
    assert await found(subject="%") == []
    assert await found(since=clock.now) == ["e3"]
    assert await found(until=clock.now) == ["e1", "e2"]
    assert await found(ids=["event-3", "parcel-1", "event-1", "event-77"]) == ["e1", "e3"]
    assert await found(ids=["event-3", "event-1"], trigger="two") == ["e3"]
    assert await found(ids=["parcel-1"]) == []
    assert await found(limit=2) == ["e1", "e2"]
    assert await found(limit=0) == []
    assert await found(limit=2, after="event-1") == ["e2", "e3"]
    assert await found(after="event-3") == []
    assert await found(trigger="two", limit=1) == ["e3"]


async def test_pages_together_are_all_letters(journal: Journal) -> None:
    await journal.accept([arrival(n, type="odd" if n % 2 else "even") for n in range(250)])
    await kill_all(journal)
    await journal.drop(LetterQuery(ids=[f"event-{n}" for n in range(20, 60)]))
    seen, after = [], ""
    while page := await journal.letters(LetterQuery(type="odd", limit=30, after=after)):
        assert len(page) <= 30
        seen += [int(str(one.attributes["id"])[1:]) for one in page]
        after = page[-1].id
    assert seen == [n for n in range(1, 250, 2) if not 20 <= n + 1 < 60]


async def test_letters_far_apart_are_found(journal: Journal) -> None:
    await journal.accept([arrival(n) for n in range(WINDOW + 10)])
    await journal.forget_trigger("one")
    await journal.drop(LetterQuery(ids=[f"event-{n}" for n in range(2, WINDOW + 5)]))
    assert [one.id for one in await journal.letters(LetterQuery())] == [
        "event-1",
        *(f"event-{WINDOW + n}" for n in range(5, 11)),
    ]


async def test_a_replay_delivers_under_the_same_name_to_that_trigger_only(
    journal: Journal,
) -> None:
    (first,) = await journal.accept([arrival(1, "one", "two", body="b")])
    await take_all(journal, "two")
    await kill_all(journal)
    assert await journal.replay(LetterQuery()) == 1
    assert await journal.letters(LetterQuery()) == []
    assert await journal.due("two", 10) == []
    (due,) = await journal.due("one", 10)
    assert (due.seq, due.tries, due.event.id, due.event.data) == (first.seq, 0, "e1", b'"b"')
    assert not (await journal.accept([arrival(1)]))[0].new
    (trace,) = await journal.traces("e1")
    assert {one.trigger: one.state for one in trace.passages} == {"one": "waiting", "two": "done"}
    await journal.done(due, attempt())
    (trace,) = await journal.traces("e1")
    assert {one.trigger: one.state for one in trace.passages} == {"one": "done", "two": "done"}
    assert trace.outcome == "done"
    (stats, _) = (journal.stats(), None)
    assert (stats.events, stats.bytes, stats.letters, stats.letter_bytes) == (0, 0, 0, 0)


async def test_a_replay_of_an_event_that_still_waits_for_others(journal: Journal) -> None:
    await journal.accept([arrival(1, "one", "two")])
    await kill_all(journal)
    assert await journal.replay(LetterQuery(ids=["event-1"])) == 1
    assert journal.stats().waiting == {"one": 1, "two": 1}
    assert ids(await take_all(journal)) == ["e1"]
    assert ids(await take_all(journal, "two")) == ["e1"]
    assert journal.stats().events == 0


async def test_a_replay_does_not_take_what_died_of_it_again(journal: Journal) -> None:
    await journal.accept([arrival(n) for n in range(150)])
    await kill_all(journal)
    assert await journal.replay(LetterQuery(limit=120)) == 120
    await kill_all(journal)
    assert await journal.replay(LetterQuery()) == 150
    assert len(await take_all(journal)) == 150


async def test_a_replayed_event_is_remembered_from_its_second_end(
    journal: Journal, clock: Clock
) -> None:
    await journal.accept([arrival(1)])
    await kill_all(journal)
    clock.now += 6 * DAY
    await journal.replay(LetterQuery())
    clock.now += 2 * DAY
    await journal.expire()
    assert not (await journal.accept([arrival(1)]))[0].new  # it waits
    await take_all(journal)
    clock.now += 6 * DAY
    await journal.expire()
    assert not (await journal.accept([arrival(1)]))[0].new
    clock.now += 2 * DAY
    await journal.expire()
    assert (await journal.accept([arrival(1)]))[0].new


async def test_a_replay_after_the_memory_is_gone_makes_no_second_event(
    journal: Journal, clock: Clock
) -> None:
    await journal.accept([arrival(1)])
    await kill_all(journal)
    clock.now += 8 * DAY
    await journal.expire()
    await journal.replay(LetterQuery())
    assert not (await journal.accept([arrival(1)]))[0].new
    assert len(await take_all(journal)) == 1


async def test_dropped_letters_are_gone_and_counted(tmp_path: Path) -> None:
    metrics = Metrics()
    async with journal_at(tmp_path / "j.db", metrics=metrics) as journal:
        await journal.accept([arrival(n) for n in range(130)])
        await kill_all(journal)
        assert await journal.drop(LetterQuery(limit=120)) == 120
        assert await journal.drop(LetterQuery(reason="other")) == 0
        assert await journal.replay(LetterQuery(ids=["event-1"])) == 0
        assert journal.stats().letters == 10
        assert await journal.drop(LetterQuery()) == 10
        assert (journal.stats().letters, journal.stats().letter_bytes) == (0, 0)
        sample = metrics.registry.get_sample_value
        assert sample("edge_bus_letters_dropped_total", {"reason": "asked"}) == 130
        died = {"trigger": "one", "reason": "rejected"}
        assert sample("edge_bus_dead_total", died) == 130
    async with journal_at(tmp_path / "j.db") as journal:  # numbers are not given twice
        await journal.accept([arrival(500)])
        await kill_all(journal)
        assert [one.id for one in await journal.letters(LetterQuery())] == ["event-131"]


async def test_what_an_error_says_is_bounded_and_may_be_no_text(journal: Journal) -> None:
    await journal.accept([arrival(1)])
    (due,) = await journal.due("one", 1)
    long = attempt("r\udcff")
    words = "\udcff" * 10_000
    await journal.dead(due, long, words, "bug", words, 500, "A" * 5000)
    (letter,) = await journal.letters(LetterQuery())
    assert len(letter.error) == 2000
    assert len(letter.answer) == 1024
    assert letter.bytes < 10_000
