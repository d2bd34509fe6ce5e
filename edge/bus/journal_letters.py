"""Dead letters: looked at, replayed, dropped. Runs in the database's thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from edge.bus import journal_sql as sql
from edge.bus.journal_end import remove_letters
from edge.bus.journal_ledger import Ledger
from edge.bus.journal_rows import read_attempts, read_attributes, read_event
from edge.event import WireEvent
from edge.traffic import Letter, LetterQuery

PREFIX = "event-"
WINDOW = 2000
"""Numbers of letters that one piece of work looks at."""
MOST_A_PIECE = 100
"""Letters that one piece of work replays or drops."""


class Row(NamedTuple):
    """A dead letter as it is written, but its data."""

    n: int
    seq: int
    name: int
    digest: bytes
    cause: int
    hops: int
    at: float
    key: str
    trigger: str
    place: str
    reason: str
    error: str
    code: int
    answer: str
    tries: int
    log: str
    died_at: float
    event_bytes: int
    bytes: int
    type: str
    source: str
    subject: str
    attributes: str


class Page(NamedTuple):
    """What one piece of work found, and where the next one begins."""

    rows: Sequence[Row]
    #: look at letters with greater numbers next; None: that was all
    after: int | None


def number_of(letter_id: str) -> int | None:
    """Return the number of one of these letters; None: the id is of another kind."""
    number = letter_id.removeprefix(PREFIX)
    if number == letter_id or not (number.isascii() and number.isdigit()) or len(number) > 18:
        return None
    return int(number)


def letter_of(row: Row, event: WireEvent | None = None) -> Letter:
    """Return a letter as people see it."""
    return Letter(
        id=f"{PREFIX}{row.n}",
        attributes=read_attributes(row.attributes),
        trigger=row.trigger,
        where=row.place,
        reason=row.reason,
        error=row.error,
        code=row.code,
        answer=row.answer,
        died_at=row.died_at,
        bytes=row.bytes,
        tries=row.tries,
        attempts=read_attempts(row.log),
        event=event,
    )


def find(ledger: Ledger, query: LetterQuery, between: tuple[int, int], limit: int) -> Page:
    """Return letters that match, the oldest first, out of the next few.

    Args:
        ledger: the piece of work.
        query: which ones.
        between: look at greater numbers than the first, up to the second.
        limit: as many at most.

    """
    after, newest = between
    if query.ids:
        return _named(ledger, query, after, limit)
    first = ledger.connection.execute(sql.FIRST_AFTER, (after,)).fetchone()
    if first is None or first[0] > newest:
        return Page((), None)
    last = min(first[0] + WINDOW - 1, newest)
    rows = _matching(ledger, query, (first[0], last), limit)
    return Page(rows, rows[-1].n if len(rows) == limit else last)


def _named(ledger: Ledger, query: LetterQuery, after: int, limit: int) -> Page:
    numbers = sorted({number_of(letter_id) or 0 for letter_id in query.ids})
    rows: list[Row] = []
    for number in [number for number in numbers if number > after][:WINDOW]:
        after = number
        rows += _matching(ledger, query, (number, number), 1)
        if len(rows) == limit:
            break
    return Page(rows, after if after < numbers[-1] else None)


def _matching(ledger: Ledger, query: LetterQuery, window: tuple[int, int], limit: int) -> list[Row]:
    values: dict[str, Any] = {
        "trigger": query.trigger,
        "reason": query.reason,
        "type": query.type,
        "source": query.source,
        "subject": query.subject,
        "since": query.since,
        "until": query.until,
        "first": window[0],
        "last": window[1],
        "limit": limit,
    }
    return [Row(*row) for row in ledger.connection.execute(sql.LETTERS, values)]


def letter(ledger: Ledger, number: int) -> Letter | None:
    """Return one letter with its event."""
    found = ledger.connection.execute(sql.LETTER, (number,)).fetchone()
    if found is None:
        return None
    row, data = Row(*found), ledger.connection.execute(sql.DATA, (number,)).fetchone()
    try:
        event = read_event(row.attributes, data[0] if data else None)
    except (ValueError, TypeError, AttributeError):  # damaged: what there is of it is shown
        event = None
    return letter_of(row, event)


def drop(ledger: Ledger, rows: Sequence[Row]) -> None:
    """Forget letters for good."""
    ledger.dropped["asked"] += len(rows)
    _remove(ledger, rows)


def replay(ledger: Ledger, rows: Sequence[Row]) -> None:
    """Make deliveries of letters again: events of the same id, source and digest, no try yet."""
    for row in rows:
        if ledger.connection.execute(sql.IS_WAITING, (row.seq,)).fetchone() is None:
            _revive(ledger, row)
        again = (row.seq, row.trigger, row.key, row.log)
        ledger.connection.execute(sql.REDELIVER, again)
        ledger.waits(row.trigger, 1)
    _remove(ledger, rows)


def _revive(ledger: Ledger, row: Row) -> None:
    """Make the event's row again, and see that it is remembered for as long as it waits."""
    connection, known = ledger.connection, (row.name, row.digest, row.seq)
    if not connection.execute(sql.HEAR_AGAIN, known).rowcount:
        connection.execute(sql.HEAR_ANEW, known)
    again = connection.execute(sql.AGAIN, known).fetchone()
    (data,) = connection.execute(sql.DATA, (row.n,)).fetchone()
    event = (
        *(row.seq, row.name, row.digest, row.cause, row.hops, again[0] if again else 1),
        *(row.at, ledger.now, row.event_bytes, row.attributes, data),
    )
    connection.execute(sql.REVIVE, event)
    ledger.events += 1
    ledger.bytes += row.event_bytes


def _remove(ledger: Ledger, rows: Sequence[Row]) -> None:
    ledger.letters -= len(rows)
    ledger.letter_bytes -= sum(row.bytes for row in rows)
    remove_letters(ledger, [row.n for row in rows])


def each(
    ledger: Ledger,
    query: LetterQuery,
    between: tuple[int, int],
    limit: int,
    what: Callable[[Ledger, Sequence[Row]], None] | None,
) -> Page:
    """Find some letters, and do something with them, in one piece of work."""
    page = find(ledger, query, between, limit)
    if what is not None:
        what(ledger, page.rows)
    return page
