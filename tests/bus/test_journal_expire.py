from __future__ import annotations

import logging
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.bus.journal import Journal
from edge.ops.metrics import Metrics
from edge.traffic import LetterQuery
from tests.bus.parts_journal import (
    DAY,
    HOUR,
    Clock,
    arrival,
    attempt,
    ids,
    journal_at,
    reply,
    take_all,
)


async def rows(journal: Journal, table: str) -> int:
    def count(connection: sqlite3.Connection) -> int:
        found: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return found

    return await journal._pieces.database.do(count)


def at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


async def test_what_waited_too_long_becomes_a_dead_letter(tmp_path: Path) -> None:
    clock = Clock()
    async with journal_at(tmp_path / "j.db", clock=clock, max_age="2d") as journal:
        await journal.accept([arrival(n, "one", "two") for n in range(250)])
        await take_all(journal, "two")
        clock.now += DAY
        await journal.accept([arrival("young")])
        clock.now += 1.5 * DAY
        (under_way,) = await journal.due("one", 1)
        await journal.expire()
        letters = await journal.letters(LetterQuery())
        assert {(one.trigger, one.reason) for one in letters} == {("one", "max_age")}
        assert len(letters) == 249
        await journal.done(under_way, attempt())  # somebody worked on it: it was not too late
        assert ids(await take_all(journal)) == ["eyoung"]
        assert len(await journal.letters(LetterQuery())) == 249


async def test_a_replayed_event_is_young_again(tmp_path: Path) -> None:
    clock = Clock()
    async with journal_at(tmp_path / "j.db", clock=clock, max_age="2d") as journal:
        await journal.accept([arrival(1), arrival(2)])
        (first, _) = await journal.due("one", 2)
        await journal.dead(first, None, "", "rejected", "no")
        clock.now += 3 * DAY
        await journal.replay(LetterQuery())
        await journal.held((await journal.due("one", 2))[1], 0)
        await journal.expire()
        assert [one.attributes["id"] for one in await journal.letters(LetterQuery())] == ["e2"]
        assert journal.stats().oldest_seconds == 0
        assert ids(await take_all(journal)) == ["e1"]


async def test_an_event_that_its_sender_no_longer_wants_is_dropped(tmp_path: Path) -> None:
    clock, metrics = Clock(), Metrics()
    soon, late = {"expirytime": at(clock.now + 60)}, {"expirytime": at(clock.now + 600)}
    async with journal_at(tmp_path / "j.db", clock=clock, metrics=metrics) as journal:
        await journal.accept([arrival(n, extensions=soon) for n in range(300)])
        await journal.accept([arrival("late", extensions=late)])
        await journal.accept([arrival("odd", extensions={"expirytime": "tomorrow"})])
        await journal.accept([arrival("odd2", extensions={"expirytime": 7})])
        clock.now += 61
        assert await journal.due("one", 10) == []  # those ten were dropped on the way
        assert journal.stats().events == 293
        await journal.expire()
        assert ids(await take_all(journal)) == ["elate", "eodd", "eodd2"]
        (trace,) = await journal.traces("e200")
        assert (trace.outcome, trace.passages[0].state) == ("dropped", "dropped")
        assert await journal.letters(LetterQuery()) == []
        ended = {"trigger": "one", "outcome": "expired"}
        sample = metrics.registry.get_sample_value
        assert sample("edge_bus_deliveries_total", ended) == 300


async def test_a_worker_who_meets_dropped_events_is_told_to_look_again(tmp_path: Path) -> None:
    clock = Clock()
    soon = {"expirytime": at(clock.now + 60)}
    async with journal_at(tmp_path / "j.db", clock=clock) as journal:
        await journal.accept([arrival(n, extensions=soon) for n in range(30)])
        await journal.accept([arrival("late")])
        clock.now += 61
        found, looks = [], 0
        waiter = journal.waiter("one")
        while waiter.is_set():
            waiter.clear()
            found += await journal.due("one", 10)
            looks += 1
        assert (ids(found), looks) == (["elate"], 4)


async def test_ways_and_digests_are_forgotten_in_time(tmp_path: Path) -> None:
    clock = Clock()
    async with journal_at(tmp_path / "j.db", clock=clock) as journal:
        await journal.accept([arrival(n) for n in range(1200)])
        done = await take_all(journal)
        assert len(done) == 1200
        await journal.accept([arrival("waits")])
        clock.now += DAY - 1
        await journal.expire()
        assert len(await journal.traces("e7")) == 1
        clock.now += 2
        await journal.expire()
        assert await journal.traces("e7") == []
        assert await rows(journal, "trace") == 0
        clock.now += 6 * DAY - 60
        await journal.expire()
        assert not (await journal.accept([arrival(7)]))[0].new
        clock.now += 120
        await journal.expire()
        assert await rows(journal, "past") == 0
        assert await rows(journal, "heard") == 1
        assert (await journal.accept([arrival(7)]))[0].new
        assert not (await journal.accept([arrival("waits")]))[0].new  # it is not over


async def test_no_more_is_remembered_than_configured(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db", trace_events=10, remember_events=50) as journal:
        await journal.accept([arrival(n) for n in range(100)])
        await take_all(journal)
        await journal.expire()
        assert await rows(journal, "trace") == 10
        assert await rows(journal, "past") == await rows(journal, "heard") == 50
        assert (await journal.traces("e89"), len(await journal.traces("e90"))) == ([], 1)
        accepted = await journal.accept([arrival(n) for n in range(100)])
        assert [one.new for one in accepted] == [n < 50 for n in range(100)]


async def test_nothing_is_remembered_where_nobody_wants_it(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db", trace_events=0, remember_events=0) as journal:
        await journal.accept([arrival(1), arrival(2, "-")])
        await take_all(journal)
        await journal.expire()
        for table in ("trace", "past", "heard", "event", "delivery"):
            assert await rows(journal, table) == 0


async def test_old_letters_are_dropped_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, metrics = Clock(), Metrics()
    async with journal_at(
        tmp_path / "j.db", clock=clock, metrics=metrics, dead_for="1h"
    ) as journal:
        await journal.accept([arrival(n) for n in range(230)])
        await journal.forget_trigger("one")
        clock.now += HOUR / 2
        await journal.accept([arrival("young")])
        await journal.forget_trigger("one")
        clock.now += HOUR / 2 + 1
        with caplog.at_level(logging.WARNING):
            await journal.expire()
            await journal.expire()
        assert [one.attributes["id"] for one in await journal.letters(LetterQuery())] == ["eyoung"]
        sample = metrics.registry.get_sample_value
        assert sample("edge_bus_letters_dropped_total", {"reason": "dead_for"}) == 230
    assert [record.message for record in caplog.records] == [
        "230 dead letters were dropped (bus.dead_for)"
    ]


async def test_letters_never_fill_more_than_they_may(tmp_path: Path) -> None:
    metrics = Metrics()
    async with journal_at(tmp_path / "j.db", metrics=metrics, dead_bytes="20KiB") as journal:
        for first in range(0, 60, 10):
            await journal.accept([arrival(n, data=bytes(1000)) for n in range(first, first + 10)])
            await journal.forget_trigger("one")
            assert journal.stats().letter_bytes <= 20 * 1024
        letters = await journal.letters(LetterQuery())
        assert [one.attributes["id"] for one in letters] == [
            f"e{n}" for n in range(60 - len(letters), 60)
        ]
        assert 10 < len(letters) < 20
        await journal.accept([arrival("huge", data=bytes(100_000))])
        await journal.forget_trigger("one")  # larger than all the room: it pushes the others out
        await journal.expire()
        sample = metrics.registry.get_sample_value
        dropped = sample("edge_bus_letters_dropped_total", {"reason": "dead_bytes"})
        assert dropped == 61
        assert journal.stats().letters == await rows(journal, "letter_data") == 0


async def test_a_reply_outlives_the_way_of_what_it_answers(tmp_path: Path) -> None:
    clock = Clock()
    async with journal_at(tmp_path / "j.db", clock=clock) as journal:
        await journal.accept([arrival(1)])
        (due,) = await journal.due("one", 1)
        await journal.done(due, attempt(), [reply(due, "r", "two")])
        clock.now += 2 * DAY
        await journal.expire()
        assert await journal.traces("e1") == []
        (trace,) = await journal.traces("er")
        assert (trace.outcome, trace.cause) == ("waiting", "")


async def test_one_that_expires_behind_another_lets_nobody_pass(tmp_path: Path) -> None:
    clock = Clock()
    soon = {"expirytime": at(clock.now + 60)}
    async with journal_at(tmp_path / "j.db", clock=clock) as journal:
        await journal.accept([arrival(n, key="a") for n in (1, 2)])
        await journal.accept([arrival(3, key="a", extensions=soon)])
        (first,) = await journal.due("one", 1)
        await journal.dead(first, None, "", "rejected", "no")
        (second,) = await journal.due("one", 1)
        await journal.replay(LetterQuery())
        clock.now += 61
        await journal.expire()
        assert await journal.due("one", 10, {second.seq}) == []
        await journal.done(second, attempt())
        assert ids(await take_all(journal)) == ["e1"]
