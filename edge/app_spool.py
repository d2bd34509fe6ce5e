"""The spool of a box: one SQLite file for the outbox and the bus's journal, and how to mend it."""

from __future__ import annotations

import sqlite3

from edge.bus import journal_mend
from edge.bus.journal_sql import SCHEMA as JOURNAL
from edge.sinks import outbox_mend
from edge.sinks.outbox_sql import SCHEMA as OUTBOX

NAME = "spool.db"
SCHEMA = (*OUTBOX, JOURNAL)
"""One script a version, for ``Database``."""


def mend(connection: sqlite3.Connection) -> None:
    """Put right what depends on the rows that are there: the outbox's part, and the bus's."""
    outbox_mend.mend(connection)
    journal_mend.mend(connection)
