"""(g) Events a second into the bus's journal, against a bare SQLite loop of the same durability.

64 callers bring one event each, 1 KiB of data, for one trigger; ``accept`` has it on disk when it
returns. The bare loop puts the same rows into the same tables of the same kind of file, with as
many events a commit as were seen in the journal's, and does nothing else: no digest, no JSON, no
check for duplicates or room, no answer to anybody.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

from edge.bus import journal_sql as sql
from edge.bus.journal import SCHEMA, Arrival, Journal, Target, digest_of
from edge.config.bus import BusConfig
from edge.event import Event
from edge.ops.database import Database
from edge.ops.metrics import Metrics
from edge.traffic import Attempt
from tests.bench.inputs import Inputs
from tests.bench.result import Row, at_least, middle

EVENTS = 20_000
CALLERS = 64
ROUNDS = 5
BODY = os.urandom(512).hex().encode()
GOAL = 0.5
ROWS = """
    SELECT seq, name, digest, cause, hops, at, since, expires, bytes, attributes, data FROM event
    ORDER BY seq
"""


def arrival(number: int) -> Arrival:
    event: Event[bytes | None] = Event(
        id=f"{number:032x}",
        source="/site/node/gate",
        type="com.example.seen",
        subject=f"things/{number}",
        time="2026-11-20T08:00:00Z",
        datacontenttype="application/json",
        data=BODY,
    )
    return Arrival(event, [Target("one")], 255, digest_of(event))


async def bring(journal: Journal) -> float:
    """Return events accepted a second."""
    numbers = iter(range(EVENTS))

    async def caller() -> None:
        for number in numbers:
            await journal.accept([arrival(number)])

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return EVENTS / (time.perf_counter() - began)


async def deliver(journal: Journal) -> float:
    """Return events delivered a second, each noted by itself."""
    attempt = Attempt(at=time.time(), seconds=0.01, subscriber="edge:log")
    began = time.perf_counter()
    while found := await journal.due("one", CALLERS):
        await asyncio.gather(*(journal.done(due, attempt) for due in found))
    return EVENTS / (time.perf_counter() - began)


async def run_journal(path: Path) -> tuple[float, float, list[int], list[Any]]:
    """Return events accepted and delivered a second, events a commit, and the rows."""
    database = Database(path, [SCHEMA], name="spool")
    journal = Journal(database, BusConfig(), Metrics())
    await database.open()
    seen = [0]
    database.after.append(lambda _: seen.append(journal.stats().events))
    accepted = await bring(journal)
    commits = [now - before for before, now in itertools.pairwise(seen) if now > before]
    rows = await database.do(lambda connection: connection.execute(ROWS).fetchall())
    delivered = await deliver(journal)
    await database.close()
    return accepted, delivered, commits, rows


def run_bare(path: Path, like: Path, commits: list[int], rows: list[Any]) -> float:
    """Return events inserted a second."""
    with sqlite3.connect(like) as other:
        (page,) = other.execute("PRAGMA page_size").fetchone()
    other.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size={page}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=OFF")
    connection.execute(f"PRAGMA wal_autocheckpoint={8 * 2**20 // page}")
    connection.executescript(SCHEMA)
    rest = iter(rows)
    began = time.perf_counter()
    for many in commits:
        connection.execute("BEGIN IMMEDIATE")
        for row in itertools.islice(rest, many):
            connection.execute(sql.HEAR, row[:3])
            connection.execute(sql.ADD_EVENT, row)
            connection.execute(sql.ADD_DELIVERY, (row[0], "one"))
        connection.execute("COMMIT")
    took = time.perf_counter() - began
    connection.close()
    return len(rows) / took


def measure(_: Inputs) -> list[Row]:
    """Run both in turn."""
    ours, bare, delivered, commits = [], [], [], []
    for _round in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
            path = Path(folder)
            accepted, done, each, rows = asyncio.run(run_journal(path / "journal.db"))
            ours.append(accepted)
            delivered.append(done)
            commits += each
            bare.append(run_bare(path / "bare.db", path / "journal.db", each, rows))
    ratio = middle([our / their for our, their in zip(ours, bare, strict=True)])
    goal, kept = at_least(ratio, GOAL)
    note = (
        f"{CALLERS} callers, 1 event of 1 KiB each, 1 trigger, {middle(commits):.0f} events a "
        f"commit, WAL, synchronous=FULL; {ROUNDS} rounds"
    )
    return [
        Row(
            part="g",
            what="events accepted by the bus",
            value=ratio,
            unit="of bare SQLite",
            against=f"{middle(ours):.0f} to {middle(bare):.0f} events/s",
            goal=goal,
            kept=kept,
            note=note,
        ),
        Row(
            part="g",
            what="events found due and noted as done",
            value=middle(delivered),
            unit="events/s",
            note=note,
        ),
    ]
