"""The file that salvaged rows go into."""

from __future__ import annotations

import sqlite3

from edge.ops.salvage_shape import Shape, quoted
from edge.ops.sqlite_pages import Value

_COMMIT_BYTES = 8 * 2**20
_GAP = 1_000_000
"""Numbers that are left out where it is not known which were given away."""


class Nowhere:
    """Takes rows and keeps none: for whoever only wants to know what can be read."""

    def put(self, *_: object) -> bool:
        """Do nothing."""
        return True

    def finish(self, *, numbers_known: bool) -> None:
        """Do nothing."""


class Fresh:
    """A fresh file that rows go into, in transactions of a bounded size."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._bytes = 0
        connection.execute("BEGIN IMMEDIATE")
        tables = [
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'sqlite_sequence'"
            )
        ]
        #: rows that a fresh file begins with; they stand only where none was saved
        self._seeds = {
            name: rows
            for name in tables
            if (rows := connection.execute(f"SELECT * FROM {quoted(name)}").fetchall())  # noqa: S608
        }
        for name in self._seeds:
            connection.execute(f"DELETE FROM {quoted(name)}")  # noqa: S608

    def put(self, shape: Shape, rowid: int | None, row: tuple[Value, ...], size: int) -> bool:
        """Insert a row; False where there is one of its key."""
        if shape.name == "sqlite_sequence":
            return self._number(row)
        values = (rowid, *row) if shape.has_hidden_rowid else row
        done = self._connection.execute(shape.insert(len(row)), values).rowcount > 0
        self._bytes += size
        if self._bytes > _COMMIT_BYTES:
            self._connection.execute("COMMIT")
            self._connection.execute("BEGIN IMMEDIATE")
            self._bytes = 0
        return done

    def finish(self, *, numbers_known: bool) -> None:
        """Put back the seeds of empty tables; give no number away a second time."""
        run = self._connection.execute
        for name, rows in self._seeds.items():
            if not run(f"SELECT EXISTS (SELECT 1 FROM {quoted(name)})").fetchone()[0]:  # noqa: S608
                marks = ", ".join("?" * len(rows[0]))
                self._connection.executemany(f"INSERT INTO {quoted(name)} VALUES ({marks})", rows)  # noqa: S608
        if not numbers_known:
            self._leave_a_gap()
        run("COMMIT")

    def _number(self, row: tuple[Value, ...]) -> bool:
        name, seq = row[:2]
        changed = self._connection.execute(
            "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (seq, name)
        )
        if not changed.rowcount:
            self._connection.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, seq)
            )
        return True

    def _leave_a_gap(self) -> None:
        """Number new rows well above all that are there, since nobody knows which were deleted."""
        run = self._connection.execute
        rows = run("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        numbered = [name for name, sql in rows if "WITHOUT ROWID" not in sql.upper()]
        highest = [run(f"SELECT max(rowid) FROM {quoted(name)}").fetchone()[0] for name in numbered]  # noqa: S608
        gap = max(number or 0 for number in highest) + _GAP
        for name, sql in rows:
            if "AUTOINCREMENT" in sql.upper():
                self._number((name, gap))
