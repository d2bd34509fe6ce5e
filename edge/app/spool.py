"""The spool of a box: one SQLite file for the outbox and the bus's journal, and how to mend it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from edge.bus import journal_mend
from edge.bus.journal_sql import SCHEMA as JOURNAL
from edge.control.commands.ledger import SCHEMA as COMMANDS
from edge.ops.database import Database
from edge.sinks import outbox_mend
from edge.sinks.derived_sql import SCHEMA as DERIVED
from edge.sinks.outbox_sql import SCHEMA as OUTBOX
from edge.sinks.upstream import mend as upstream_mend
from edge.sinks.upstream.sql import SCHEMA as UPSTREAM
from edge.sources.buckets.swept import SCHEMA as SWEPT
from edge.sources.upload_rows import SCHEMA as JOBS

NAME = "spool.db"
SCHEMA = (*OUTBOX, JOURNAL, JOBS, DERIVED, COMMANDS, SWEPT, *UPSTREAM)
"""One script a version, for ``Database``."""


def spool_in(state: Path) -> Database:
    """Return the spool of a box, not yet open."""
    _adopt(state / NAME)
    return Database(state / NAME, SCHEMA, name="spool", mend=mend)


def _adopt(spool: Path) -> None:
    """Take over the outbox of an earlier Edge, which had a file of its own, with all that waits."""
    old = spool.with_name("outbox.db")
    if spool.exists() or not old.exists():
        return
    for tail in ("-wal", ""):  # the file last: a log without it would be lost
        with contextlib.suppress(FileNotFoundError):
            Path(f"{old}{tail}").rename(f"{spool}{tail}")


def mend(connection: sqlite3.Connection) -> None:
    """Put right what depends on the rows that are there: outbox, bus, upstream queue."""
    outbox_mend.mend(connection)
    journal_mend.mend(connection)
    upstream_mend.mend(connection)
