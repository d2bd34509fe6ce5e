"""A journal whose process is killed, whose statements fail, whose disk is full: real ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.bus.journal import SCHEMA, Journal
from edge.config.bus import BusConfig
from edge.errors import TryLater
from edge.ops.database import Database
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
    reply,
    take_all,
)
from tests.places import ROOT
from tests.sinks import conftest as disks

LIVES = 30
small_disk = disks.small_disk
TABLES = ("event", "delivery", "heard", "past", "trace", "letter", "letter_data", "bus_total")


def sums_are_true(connection: sqlite3.Connection) -> None:
    """Check that the sums are what counting would give."""
    count = {
        name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in TABLES
    }
    total = connection.execute("SELECT seq, events, bytes, letters, letter_bytes FROM bus_total")
    seq, events, size, letters, letter_bytes = total.fetchone()
    assert (events, letters) == (count["event"], count["letter"])
    assert count["letter"] == count["letter_data"]
    found = connection.execute("SELECT coalesce(sum(bytes), 0), coalesce(max(seq), 0) FROM event")
    bytes_found, newest = found.fetchone()
    assert size == bytes_found
    assert seq >= newest
    found = connection.execute("SELECT coalesce(sum(bytes), 0) FROM letter")
    assert letter_bytes == found.fetchone()[0]
    waiting = dict(
        connection.execute(
            "SELECT trigger, count(*) FROM delivery WHERE state = '' GROUP BY trigger"
        ).fetchall()
    )
    kept = connection.execute("SELECT trigger, waiting FROM bus_waiting WHERE waiting").fetchall()
    assert dict(kept) == waiting


def rows_fit_together(connection: sqlite3.Connection) -> None:
    """Check what must hold between the tables."""
    nothing = {
        "an event without an open delivery": "SELECT seq FROM event WHERE seq NOT IN "
        "(SELECT seq FROM delivery WHERE state = '')",
        "a delivery without its event": "SELECT seq FROM delivery WHERE seq NOT IN "
        "(SELECT seq FROM event)",
        "an event that would be accepted again": "SELECT seq FROM event WHERE (name, digest) "
        "NOT IN (SELECT name, digest FROM heard)",
        "two events of one digest": "SELECT digest FROM event GROUP BY digest HAVING count(*) > 1",
        "a key without exactly one head": "SELECT key FROM delivery WHERE key != '' "
        "GROUP BY trigger, key HAVING sum(head) != 1",
        "dead and waiting": "SELECT seq FROM letter JOIN delivery USING (seq, trigger) "
        "WHERE state = ''",
        "dead twice": "SELECT seq FROM letter GROUP BY seq, trigger HAVING count(*) > 1",
    }
    for fault, query in nothing.items():
        assert connection.execute(query).fetchall() == [], fault


def check(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        sums_are_true(connection)
        rows_fit_together(connection)
    connection.close()


@pytest.mark.slow
async def test_kill_9_at_random_moments_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bus.journal_lives", str(path), str(LIVES),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await child.communicate()
    assert child.returncode == 0
    answers = [answer.split() for life in json.loads(output) for answer in life]
    accepted = {words[1] for words in answers if words[0] == "accepted"}
    done = Counter(tuple(words[1:]) for words in answers if words[0] == "done")
    assert len(accepted) > 300
    assert sum(done.values()) > 300
    assert max(done.values()) == 1  # an answered end is an end for ever
    check(path)
    async with journal_at(path) as journal:
        states: dict[tuple[str, str], str] = {}
        # some ended before those who brought them could be answered
        ended = {event_id for trigger, event_id in done if trigger != "replies"}
        for event_id in sorted(accepted | ended):
            (trace,) = await journal.traces(event_id)  # one event of each name, and it is known
            for passage in trace.passages:
                states[passage.trigger, event_id] = passage.state
                # and its replies, in the same step
                assert set(passage.replies) <= {one.attributes["id"] for one in trace.replies}
            assert "work" in {passage.trigger for passage in trace.passages}
        assert {pair for pair in done if pair[0] != "replies"} <= {
            pair for pair, state in states.items() if state == "done"
        }
        dead = {(one.trigger, one.attributes["id"]) for one in await journal.letters(LetterQuery())}
        assert {pair for pair, state in states.items() if state == "dead"} <= dead
        for trigger in ("work", "other", "replies"):
            await take_all(journal, trigger)
        assert journal.stats().events == 0
    check(path)


class Failing:
    """A connection whose ``n``-th statement fails, as a full disk or a bad sector would."""

    def __init__(self, connection: sqlite3.Connection, after: int) -> None:
        self._connection, self.left = connection, after

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    def execute(self, *args: Any) -> sqlite3.Cursor:
        self._step()
        return self._connection.execute(*args)

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        self._step()
        return self._connection.executemany(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class FailingDatabase(Database):
    """A database whose pieces of work fail at a statement."""

    #: None: nothing fails
    fail_after: int | None = None
    failed = False

    async def do(self, work: Any, **how: Any) -> Any:
        after = self.fail_after

        def run(connection: sqlite3.Connection) -> Any:
            if after is None:
                return work(connection)
            failing = Failing(connection, after)
            try:
                return work(failing)
            finally:
                self.failed = failing.left < 0

        return await super().do(run, **how)


async def prepared(journal: Journal) -> None:
    """Make a bit of everything."""
    await journal.accept([arrival(n, "one", "two", key="k", body=n) for n in range(4)])
    await journal.accept([arrival(n, body=n) for n in (10, 11)])
    (due, *_) = await journal.due("one", 1)
    await journal.dead(due, attempt("bad"), "", "rejected", "no")
    await take_all(journal, "two")


async def accept(journal: Journal) -> None:
    await journal.accept([arrival(20), arrival(21, "one", key="k"), arrival(0), arrival(22, "-")])


async def finish(journal: Journal) -> None:
    (due, *_) = await journal.due("one", 1)
    await journal.done(due, attempt(), [reply(due, "r", "two"), reply(due, "s", "two", hops=0)])


async def bury(journal: Journal) -> None:
    (due, *_) = await journal.due("one", 1)
    await journal.dead(due, attempt("bad"), "", "rejected", "no")


async def fail(journal: Journal) -> None:
    (due, *_) = await journal.due("one", 1)
    await journal.failed(due, attempt("busy"), MORNING + 5)


async def replay(journal: Journal) -> None:
    await journal.replay(LetterQuery())


async def drop(journal: Journal) -> None:
    await journal.drop(LetterQuery())


async def forget(journal: Journal) -> None:
    await journal.forget_trigger("one")


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


@pytest.mark.parametrize("act", [accept, finish, bury, fail, replay, drop, forget])
async def test_a_failure_at_any_statement_leaves_all_or_nothing(
    tmp_path: Path, act: Callable[[Journal], Any]
) -> None:
    points = 0
    while True:
        path = tmp_path / f"{points}.db"
        database = FailingDatabase(path, [SCHEMA], name="spool")
        clock = Clock()
        journal = Journal(database, BusConfig(), Metrics(), clock=clock)
        await database.open()
        await prepared(journal)
        before = dump(path)
        database.fail_after, database.failed = points, False
        with contextlib.suppress(TryLater):
            await act(journal)
        failed, database.fail_after = database.failed, None
        check(path)
        if failed:
            if act is not forget:  # which takes several transactions
                assert dump(path) == before
            await act(journal)  # and it can be done later
            check(path)
        clock.now += 10
        await take_all(journal)
        await take_all(journal, "two")
        assert journal.stats().events == 0
        await database.close()
        if not failed:
            break
        points += 1
    assert points >= 3


async def test_a_full_disk_refuses_and_loses_nothing(
    small_disk: Callable[[int], Path],
) -> None:
    async with journal_at(small_disk(64) / "j.db") as journal:
        taken = 0

        async def accept_until_full() -> None:
            nonlocal taken
            for number in range(10_000):
                await journal.accept([arrival(number, data=bytes(50_000))])
                taken += 1

        with pytest.raises(TryLater) as full:
            await accept_until_full()
        assert full.value.reason == "disk_full"
        assert full.value.after
        assert taken > 100
        first, second, *_ = await journal.due("one", 10)
        await journal.done(first, attempt(), [reply(first, "r", "one")])
        await journal.dead(second, None, "", "rejected", "no")
        assert ids(await take_all(journal))[-1] == "er"
        await journal.accept([arrival(20_000, data=bytes(50_000))])


async def test_twenty_thousand_that_wait_are_there_at_once(tmp_path: Path) -> None:
    path, clock = tmp_path / "j.db", Clock()
    async with journal_at(path, clock=clock) as journal:
        for first in range(0, 20_000, 1000):
            await journal.accept([arrival(n, body="x" * 500) for n in range(first, first + 1000)])
    began = asyncio.get_running_loop().time()
    async with journal_at(path, clock=clock) as journal:
        assert journal.stats().events == 20_000
        steps = await statements_of(journal)
        assert len(await journal.due("one", 8)) == 8
        assert steps() < 2000  # virtual machine steps, not rows
        clock.now += 40 * DAY
        pieces = await pieces_of_expire(journal)
        assert len(pieces) > 150
        assert journal.stats().events == 8  # somebody works on these
    assert asyncio.get_running_loop().time() - began < 15
    check(path)


async def statements_of(journal: Journal) -> Callable[[], int]:
    """Return a function that says how many hundred steps SQLite made since, times a hundred."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 100

    def watch(connection: sqlite3.Connection) -> None:
        connection.set_progress_handler(step, 100)

    await journal._pieces.database.do(watch)
    return lambda: steps


async def pieces_of_expire(journal: Journal) -> list[int]:
    """Expire, and return how many rows each transaction changed: none of them is long."""
    changed: list[int] = []
    last = 0

    def look(connection: sqlite3.Connection) -> None:
        nonlocal last
        changed.append(connection.total_changes - last)
        last = connection.total_changes

    journal._pieces.database.after.append(look)
    await journal.expire()
    assert max(changed[1:]) < 2000
    return changed
