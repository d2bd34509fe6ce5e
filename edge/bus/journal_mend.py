"""What must be put right in the journal after rows were lost: its sums, its queues, what is alone.

An event that lost its deliveries becomes a dead letter, since nobody knows any more who was to have
it; a delivery that lost its event goes, since there is nothing to deliver.
"""

from __future__ import annotations

import sqlite3
import time

from edge.bus import journal_sql as sql
from edge.bus.journal_end import add_letter
from edge.bus.journal_ledger import Ledger
from edge.bus.journal_rows import Entry, Grave
from edge.config.bus import BusConfig

REASON = "damaged"
"""Why an event became a dead letter here."""
NOBODY = "unknown"
"""Stands for the trigger of such a dead letter."""
# Rows that had been deleted come back where the list of free pages was damaged, too.
_ALONE = """
    DELETE FROM event WHERE EXISTS (
        SELECT 1 FROM past WHERE past.seq = event.seq AND past.again = event.again
    );
    DELETE FROM delivery WHERE seq NOT IN (SELECT seq FROM event);
    DELETE FROM letter WHERE n NOT IN (SELECT n FROM letter_data);
    DELETE FROM letter_data WHERE n NOT IN (SELECT n FROM letter);
    INSERT OR IGNORE INTO heard (name, digest, seq, again)
        SELECT name, digest, seq, again FROM event;
    INSERT OR IGNORE INTO heard (name, digest, seq, again)
        SELECT name, digest, seq, again FROM past ORDER BY n DESC
"""
_HEADS = """
    UPDATE delivery SET head = state = '' AND (key = '' OR NOT EXISTS (
        SELECT 1 FROM delivery AS older WHERE older.trigger = delivery.trigger
        AND older.key = delivery.key AND older.state = '' AND older.seq < delivery.seq
    ))
"""
_RECOUNT = """
    UPDATE bus_total SET
        seq = max(seq, (SELECT coalesce(max(seq), 0) FROM event),
            (SELECT coalesce(max(seq), 0) FROM heard), (SELECT coalesce(max(seq), 0) FROM past)),
        ended = max(ended, (SELECT coalesce(max(n), 0) FROM past)),
        events = (SELECT count(*) FROM event),
        bytes = (SELECT coalesce(sum(bytes), 0) FROM event),
        letter = max(letter, (SELECT coalesce(max(n), 0) FROM letter)),
        letters = (SELECT count(*) FROM letter),
        letter_bytes = (SELECT coalesce(sum(bytes), 0) FROM letter)
"""
_WAITING = """
    DELETE FROM bus_waiting;
    INSERT INTO bus_waiting
        SELECT trigger, count(*) FROM delivery WHERE state = '' GROUP BY trigger
"""
_UNADDRESSED = """
    SELECT seq FROM event WHERE seq > ?
    AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.seq = event.seq AND state = '')
    ORDER BY seq LIMIT 1
"""


def mend(connection: sqlite3.Connection) -> None:
    """Put the journal right. A ``repair.Mend``."""
    _run(connection, _ALONE)
    connection.execute(_RECOUNT)
    _bury_the_unaddressed(connection)
    connection.execute(_HEADS)
    _run(connection, _WAITING)


def _run(connection: sqlite3.Connection, script: str) -> None:
    # ``executescript`` would end the transaction
    for statement in script.split(";"):
        connection.execute(statement)


def _bury_the_unaddressed(connection: sqlite3.Connection) -> None:
    ledger = Ledger(connection, BusConfig(), time.time())
    found = connection.execute(_UNADDRESSED, (0,)).fetchone()
    while found:
        (seq,) = found
        row = connection.execute(sql.DYING, (seq,)).fetchone()
        name, digest, cause, hops, at, size, attributes, data = row
        entry = Entry("", name, digest, cause, hops, at, None, size, attributes, data, ())
        grave = Grave(
            where=NOBODY,
            reason=REASON,
            error="the spool was damaged: who was to have this event is not known any more",
        )
        add_letter(ledger, (seq, NOBODY, ""), entry, grave, (0, ""))
        connection.execute(sql.REMOVE_DELIVERIES, (seq,))
        connection.execute(sql.REMOVE_EVENT, (seq,)).fetchall()
        ledger.events -= 1
        ledger.bytes -= size
        found = connection.execute(_UNADDRESSED, (seq,)).fetchone()
    ledger.write()
