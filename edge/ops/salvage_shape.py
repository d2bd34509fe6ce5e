"""What rows of a table look like on a page, so that a page tells which table it belongs to."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from edge.ops.sqlite_pages import Damaged, Value

JSON_COLUMNS = {"message", "receipt", "attributes"}
_TYPES: dict[str, tuple[type, ...]] = {
    "INTEGER": (int,),
    "REAL": (float, int),  # whole numbers are stored as such, to save room
    "TEXT": (str,),
    "BLOB": (bytes,),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it is stored."""

    name: str
    types: tuple[type, ...]
    may_be_null: bool
    #: holds the row's number, which is stored beside the record
    is_rowid: bool = False

    def fault(self, value: Value) -> str:
        """Say why ``value`` cannot stand here; empty: it can."""
        if self.is_rowid:
            return "" if value is None else f"{self.name} stands in the record, too"
        if value is None:
            return "" if self.may_be_null else f"{self.name} is missing"
        if not isinstance(value, self.types):
            return f"{self.name} is of a wrong type"
        if self.name in JSON_COLUMNS:
            return _json_fault(self.name, value)
        return ""


@dataclass(frozen=True, slots=True)
class Shape:
    """A table, or an index, whose entries are recognised so that nobody takes them for rows."""

    name: str
    columns: tuple[Column, ...]
    #: kept in a b-tree of its own key: WITHOUT ROWID
    by_key: bool = False
    is_index: bool = False

    def row(self, rowid: int | None, values: Sequence[Value]) -> tuple[Value, ...]:
        """Return the values that belong to ``columns``; those added later may be missing.

        Raises:
            Damaged: it is no row of this table.

        """
        if len(values) > len(self.columns):
            raise Damaged(f"has {len(values)} values instead of {len(self.columns)}")
        for column, value in zip(self.columns, values, strict=False):
            if fault := column.fault(value):
                raise Damaged(fault)
        return tuple(
            rowid if column.is_rowid else value
            for column, value in zip(self.columns, values, strict=False)
        )

    def fits(self, rowid: int | None, values: Sequence[Value]) -> bool:
        """Tell whether it could be an entry of this one; every value must be there."""
        if len(values) != len(self.columns):
            return False
        try:
            self.row(rowid, values)
        except Damaged:
            return False
        return True

    def insert(self, many: int) -> str:
        """Return the statement for rows of ``many`` values."""
        names = ", ".join(quoted(column.name) for column in self.columns[:many])
        marks = ", ".join("?" * many)
        if self.has_hidden_rowid:
            return f"INSERT OR IGNORE INTO {quoted(self.name)} (rowid, {names}) VALUES (?, {marks})"  # noqa: S608
        return f"INSERT OR IGNORE INTO {quoted(self.name)} ({names}) VALUES ({marks})"  # noqa: S608

    @property
    def has_hidden_rowid(self) -> bool:
        """Whether the row's number stands in no column."""
        return not self.by_key and not any(column.is_rowid for column in self.columns)


def shapes(connection: sqlite3.Connection) -> list[Shape]:
    """Return the shapes of all tables and indexes of a sound file."""
    rows = connection.execute(
        "SELECT name, type, tbl_name, coalesce(sql, '') FROM sqlite_master WHERE rootpage > 0"
    ).fetchall()
    tables = {name: _table(connection, name, sql) for name, kind, _, sql in rows if kind == "table"}
    indexes = [
        _index(connection, name, tables[table])
        for name, kind, table, _ in rows
        if kind == "index" and not (tables[table].by_key and _is_key(connection, name))
    ]
    return [*tables.values(), *indexes]


def quoted(name: str) -> str:
    """Write a name so that SQL takes it for nothing else."""
    return '"' + name.replace('"', '""') + '"'


def _table(connection: sqlite3.Connection, name: str, sql: str) -> Shape:
    if name == "sqlite_sequence":  # SQLite's own; it declares no types
        return Shape(name, (Column("name", (str,), False), Column("seq", (int,), False)))
    facts = connection.execute(f"PRAGMA table_info({quoted(name)})").fetchall()
    by_key = sql.upper().rstrip().endswith("WITHOUT ROWID")
    keys = sorted((key, at) for at, (*_, key) in enumerate(facts) if key)
    columns = []
    for _, column, kind, not_null, _, key in facts:
        is_rowid = bool(key) and len(keys) == 1 and kind.upper() == "INTEGER" and not by_key
        null = not (not_null or (by_key and key))
        columns.append(Column(column, _TYPES.get(kind.upper(), (object,)), null, is_rowid))
    if by_key:
        first = [at for _, at in keys]
        rest = [at for at in range(len(columns)) if at not in first]
        columns = [columns[at] for at in first + rest]
    return Shape(name, tuple(columns), by_key)


def _index(connection: sqlite3.Connection, name: str, table: Shape) -> Shape:
    known = {column.name: column for column in table.columns}
    rowid = Column("rowid", (int,), may_be_null=False)
    columns = []
    for _, at, column, *_ in connection.execute(f"PRAGMA index_xinfo({quoted(name)})"):
        found = known.get(column) if at >= 0 else None
        plain = found and Column(found.name, found.types, found.may_be_null)
        columns.append(rowid if plain is None or (found and found.is_rowid) else plain)
    return Shape(name, tuple(columns), is_index=True)


def _is_key(connection: sqlite3.Connection, index: str) -> bool:
    table = connection.execute(
        "SELECT tbl_name FROM sqlite_master WHERE name = ?", (index,)
    ).fetchone()[0]
    origins = {
        name: origin
        for _, name, _, origin, _ in connection.execute(f"PRAGMA index_list({quoted(table)})")
    }
    return origins.get(index) == "pk"


def _json_fault(name: str, value: Value) -> str:
    try:
        json.loads(value if isinstance(value, str | bytes) else "")
    except (ValueError, RecursionError):
        return f"{name} is no JSON"
    return ""
