"""How deliveries end, and events with their last one. Runs in the database's thread."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edge.bus import journal_sql as sql
from edge.bus.journal_ledger import Ledger
from edge.bus.journal_rows import (
    EVENT_ROOM,
    Entry,
    Grave,
    add_attempt,
    read_attributes,
    write_passage,
)
from edge.traffic import Attempt, Passage

LETTER_ERROR = 2000
"""Characters that are kept of a dead letter's error."""
LETTER_ANSWER = 1024
"""Characters that are kept of the base64 of an answer."""
MAKE_ROOM = 8
"""The oldest dead letters that give way at once to a new one, at most."""


@dataclass(frozen=True, slots=True)
class End:
    """How a delivery ended."""

    #: ``done``, ``dead`` or ``dropped``
    state: str
    attempt: Attempt | None = None
    replies: Sequence[str] = ()
    parcel: str = ""


def end(ledger: Ledger, seq: int, trigger: str, how: End, grave: Grave | None = None) -> bool:
    """End a delivery; with the last one the event ends. False: it had ended before.

    Args:
        ledger: the piece of work.
        seq: the event.
        trigger: whose delivery.
        how: what is kept of it for the trace.
        grave: makes a dead letter of it.

    """
    connection = ledger.connection
    rows = connection.execute(sql.DELIVERIES, (seq,)).fetchall()
    mine = next((row for row in rows if row[0] == trigger and not row[1]), None)
    if mine is None:
        return False
    _, _, key, head, tries, log = mine
    log = add_attempt(log, how.attempt)
    if how.attempt is not None and how.attempt.reason:
        tries += 1
    passage = Passage(
        trigger=trigger,
        state=how.state,
        tries=tries,
        ended_at=ledger.now,
        replies=how.replies,
        parcel=how.parcel,
    )
    if grave is not None:
        _bury(ledger, (seq, trigger, key), grave, (tries, log))
    written = write_passage(passage, log)
    if any(not row[1] for row in rows if row is not mine):
        connection.execute(sql.END_DELIVERY, (how.state, written, seq, trigger))
    else:
        _end_event(ledger, seq, [row[5] for row in rows if row is not mine] + [written])
    ledger.waits(trigger, -1)
    # an older one may have been replayed meanwhile: only the head hands on
    if key and head and connection.execute(sql.NEXT_OF_KEY, (trigger, key)).rowcount:
        ledger.woken.add(trigger)
    return True


def _end_event(ledger: Ledger, seq: int, passages: list[str]) -> None:
    connection = ledger.connection
    connection.execute(sql.REMOVE_DELIVERIES, (seq,))
    gone = connection.execute(sql.REMOVE_EVENT, (seq,)).fetchall()
    if not gone:  # its row was damaged and set aside
        return
    name, digest, cause, again, at, size, attributes = gone[0]
    ledger.events -= 1
    ledger.bytes -= size
    if again:
        passages = _with_earlier(ledger, seq, passages)
    ledger.ends((name, digest, seq, again, cause, at), attributes, f"[{','.join(passages)}]")


def _with_earlier(ledger: Ledger, seq: int, passages: list[str]) -> list[str]:
    """Return the passages of an event that was replayed, those of its first life included."""
    row = ledger.connection.execute(sql.PASSAGES, (seq,)).fetchone()
    if row is None:
        return passages
    now = {json.loads(passage)[0][0] for passage in passages}
    earlier = [passage for passage in json.loads(row[0]) if passage[0][0] not in now]
    return [json.dumps(passage) for passage in earlier] + passages


def _bury(
    ledger: Ledger, delivery: tuple[int, str, str], grave: Grave, tried: tuple[int, str]
) -> None:
    row = ledger.connection.execute(sql.DYING, (delivery[0],)).fetchone()
    if row is None:
        return
    name, digest, cause, hops, at, size, attributes, data = row
    entry = Entry("", name, digest, cause, hops, at, None, size, attributes, data, ())
    add_letter(ledger, delivery, entry, grave, tried)


def add_letter(
    ledger: Ledger,
    delivery: tuple[int, str, str],
    entry: Entry,
    grave: Grave,
    tried: tuple[int, str],
) -> None:
    """Make a dead letter; the oldest ones give way where there is no room for it.

    Args:
        ledger: the piece of work.
        delivery: the event's seq, trigger and key.
        entry: the event as it came.
        grave: why.
        tried: how often, and the log of it.

    """
    ledger.letter += 1
    (seq, trigger, key), (tries, log) = delivery, tried
    error, answer = _text(grave.error)[:LETTER_ERROR], grave.answer[:LETTER_ANSWER]
    where = _text(grave.where)[:LETTER_ERROR]
    size = len(entry.attributes) + len(entry.data or b"") + EVENT_ROOM
    size += len(error) + len(answer) + len(where) + len(log)
    facts = read_attributes(entry.attributes)
    values = (
        *(ledger.letter, seq, entry.name, entry.digest, entry.cause, entry.hops, entry.at),
        *(key, trigger, where, grave.reason, error, grave.code, answer, tries, log, ledger.now),
        *(entry.size, size),
        *(str(facts.get(name, "")) for name in ("type", "source", "subject")),
        entry.attributes,
    )
    ledger.connection.execute(sql.ADD_LETTER, values)
    ledger.connection.execute(sql.ADD_DATA, (ledger.letter, entry.data))
    ledger.letters += 1
    ledger.letter_bytes += size
    ledger.died[trigger, grave.reason] += 1
    if ledger.letter_bytes > ledger.config.dead_bytes:
        give_up_letters(ledger, MAKE_ROOM, keep=ledger.letter)


def give_up_letters(ledger: Ledger, many: int, keep: int = 0) -> int:
    """Drop the oldest letters that are too old or for which there is no room; return how many.

    Args:
        ledger: the piece of work.
        many: as many at most.
        keep: the number of one that stays.

    """
    gone, since = [], ledger.now - ledger.config.dead_for
    for number, died_at, size in ledger.connection.execute(sql.OLDEST_LETTERS, (keep, many)):
        if died_at < since:
            ledger.dropped["dead_for"] += 1
        elif ledger.letter_bytes > ledger.config.dead_bytes:
            ledger.dropped["dead_bytes"] += 1
        else:
            break
        ledger.letters -= 1
        ledger.letter_bytes -= size
        gone.append(number)
    remove_letters(ledger, gone)
    return len(gone)


def remove_letters(ledger: Ledger, numbers: Collection[int]) -> None:
    """Delete the rows of letters."""
    gone = [(number,) for number in numbers]
    ledger.connection.executemany(sql.REMOVE_LETTER, gone)
    ledger.connection.executemany(sql.REMOVE_DATA, gone)


def _text(words: str) -> str:
    """Return words as SQLite can keep them: what an error says may hold any bytes of a file."""
    return words.encode("utf-8", "replace").decode()
