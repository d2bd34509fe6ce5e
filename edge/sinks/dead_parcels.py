"""Parcels that the store will never take, as people see them: look, put back, forget.

Keeps ``traffic.DeadLetters`` over the outbox's table ``dead``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any

from edge.event import NAMED, Event, WireEvent
from edge.ops.database import Database
from edge.sinks import outbox_sql as sql
from edge.traffic import Letter, LetterQuery

STORE = "store"
"""What stands for a trigger's name in the letter of a parcel."""
_PREFIX = "parcel-"
AT_ONCE = 200
"""Parcels that are put back or forgotten in one transaction."""
_LETTER = "seq, died_at, key, error, bytes, tries, message"


class DeadParcels:
    """The letters of one outbox.

    Args:
        database: the outbox's.
        where: where the store is, without credentials.
        put_back: called after parcels went back to the outbox, so that somebody carries them.

    """

    def __init__(self, database: Database, *, where: str, put_back: Callable[[], None]) -> None:
        self._database, self._where, self._put_back = database, where, put_back

    async def letters(self, query: LetterQuery) -> list[Letter]:
        condition, values = _condition(query)
        limit = -1 if query.limit is None else query.limit
        rows = await self._database.do(
            lambda connection: connection.execute(
                f"SELECT {_LETTER} FROM dead WHERE {condition} ORDER BY seq LIMIT ?",  # noqa: S608 (constants)
                (*values, limit),
            ).fetchall(),
            durable=False,
        )
        return [self._letter(row) for row in rows]

    async def letter(self, letter_id: str) -> Letter | None:
        found = await self.letters(LetterQuery(ids=(letter_id,)))
        return found[0] if found else None

    async def replay(self, query: LetterQuery) -> int:
        count = await self._each(query, _back)
        if count:
            self._put_back()
        return count

    async def drop(self, query: LetterQuery) -> int:
        return await self._each(query, _forget)

    async def _each(
        self, query: LetterQuery, work: Callable[[sqlite3.Connection, int], None]
    ) -> int:
        condition, values = _condition(query)
        left = query.limit
        count = 0
        while left is None or count < left:
            limit = AT_ONCE if left is None else min(AT_ONCE, left - count)

            def some(connection: sqlite3.Connection, limit: int = limit) -> int:
                found = connection.execute(
                    f"SELECT seq FROM dead WHERE {condition} ORDER BY seq LIMIT ?",  # noqa: S608
                    (*values, limit),
                ).fetchall()
                for (seq,) in found:
                    work(connection, seq)
                return len(found)

            done = await self._database.do(some)
            count += done
            if done < limit:
                break
        return count

    def _letter(self, row: tuple[Any, ...]) -> Letter:
        seq, died_at, key, error, size, tries, text = row
        message = json.loads(text)
        attributes = {name: value for name, value in message.items() if name != "data"}
        reason, _, words = error.partition(": ")
        return Letter(
            id=f"{_PREFIX}{seq}",
            attributes=attributes,
            trigger=STORE,
            where=f"{self._where} {key}",
            reason=reason,
            error=words or error,
            died_at=died_at,
            bytes=size,
            tries=tries,
            event=_event(message, attributes),
        )


def _event(message: dict[str, Any], attributes: dict[str, Any]) -> WireEvent:
    named = {name: attributes[name] for name in NAMED if name in attributes}
    extensions = {name: value for name, value in attributes.items() if name not in NAMED}
    data = json.dumps(message.get("data"), ensure_ascii=False).encode()
    return Event(**named, extensions=extensions, data=data)


_TERMS = {
    "trigger": f"? = '{STORE}'",
    "reason": "substr(error || ':', 1, length(?) + 1) = ? || ':'",
    "type": "json_extract(message, '$.type') = ?",
    "source": "json_extract(message, '$.source') = ?",
    "subject": "instr(json_extract(message, '$.subject'), ?) > 0",
    "since": "died_at >= ?",
    "until": "died_at < ?",
}
"""What selects parcels by one field of a query, whose value takes the place of the mark."""


def _condition(query: LetterQuery) -> tuple[str, list[Any]]:
    """Return what selects the parcels of a query. No value is ever part of the text."""
    terms, values = ["1"], []
    for name, term in _TERMS.items():
        value = getattr(query, name)
        if value not in ("", None):
            terms.append(term)
            values += [value] * terms[-1].count("?")
    if query.ids:
        numbers = [number for number in map(_number, query.ids) if number is not None]
        terms.append(f"seq IN ({', '.join('?' * len(numbers))})")
        values += numbers
    if query.after:
        terms.append("seq > ?")
        values.append(_number(query.after) or 0)
    return " AND ".join(terms), values


def _number(letter_id: str) -> int | None:
    digits = letter_id.removeprefix(_PREFIX)
    return int(digits) if letter_id.startswith(_PREFIX) and digits.isdecimal() else None


def _back(connection: sqlite3.Connection, seq: int) -> None:
    columns = sql.COLUMNS
    fresh = columns.replace("tries, error", "0, ''")
    connection.execute(
        f"INSERT INTO parcel ({columns}) SELECT {fresh} FROM dead WHERE seq = ?",  # noqa: S608 (constants)
        (seq,),
    )
    size = _remove(connection, seq)
    connection.execute(
        "UPDATE total SET waiting = waiting + 1, waiting_bytes = waiting_bytes + ?", (size,)
    )


def _forget(connection: sqlite3.Connection, seq: int) -> None:
    _remove(connection, seq)


def _remove(connection: sqlite3.Connection, seq: int) -> int:
    ((size,),) = connection.execute("DELETE FROM dead WHERE seq = ? RETURNING bytes", (seq,))
    connection.execute("UPDATE total SET dead = dead - 1, dead_bytes = dead_bytes - ?", (size,))
    return int(size)
