"""What is too old, given up a piece at a time. Runs in the database's thread."""

from __future__ import annotations

from edge.bus import journal_sql as sql
from edge.bus.journal_due import LONGEST_PARK_S, Lent, drop_expired
from edge.bus.journal_end import End, end, give_up_letters
from edge.bus.journal_ledger import Ledger
from edge.bus.journal_rows import Grave

MOST_A_PIECE = 100
"""Events that one piece of work ends: some 10 ms."""
MOST_ROWS = 500
"""Rows of memory that one piece of work deletes."""


def too_old(ledger: Ledger, lent: Lent, after: int) -> int | None:
    """Make dead letters of events that waited longer than ``max_age``; return where to go on.

    The walk ends at the first young event: events come in the order of their age. But one that was
    replayed has its old place, and is passed over.
    """
    config, since = ledger.config, ledger.now - ledger.config.max_age
    rows = ledger.connection.execute(sql.FRONT, (after, MOST_A_PIECE)).fetchall()
    grave = Grave("", "max_age", f"it waited longer than bus.max_age ({config.max_age:.0f} s)")
    for seq, waits_since, again in rows:
        if waits_since < since:
            for trigger in _waiting_for(ledger, seq, lent):
                end(ledger, seq, trigger, End("dead"), grave)
        elif not again:
            return None
    return rows[-1][0] if len(rows) == MOST_A_PIECE else None


def expired(ledger: Ledger, lent: Lent) -> bool:
    """Drop deliveries whose ``expirytime`` has passed; tell whether there is more."""
    rows = ledger.connection.execute(sql.EXPIRED, (ledger.now, MOST_A_PIECE)).fetchall()
    dropped = 0
    for (seq,) in rows:
        for trigger in _waiting_for(ledger, seq, lent):
            drop_expired(ledger, seq, trigger)
            dropped += 1
    return len(rows) == MOST_A_PIECE and dropped > 0


def _waiting_for(ledger: Ledger, seq: int, lent: Lent) -> list[str]:
    rows = ledger.connection.execute(sql.WAITING_OF, (seq,)).fetchall()
    return [trigger for (trigger,) in rows if (seq, trigger) not in lent]


def old_traces(ledger: Ledger) -> bool:
    """Forget the ways of events that ended long ago; tell whether there is more."""
    config, since = ledger.config, ledger.now - ledger.config.trace_for
    rows = ledger.connection.execute(sql.TRACED, (ledger.traced, MOST_ROWS)).fetchall()
    gone = []
    for number, seq, again, at in rows:
        if at >= since and ledger.ended - number < config.trace_events:
            break
        gone.append((seq, again))
        ledger.traced = number
    ledger.connection.executemany(sql.FORGET_TRACE, gone)
    return len(gone) == MOST_ROWS


def old_digests(ledger: Ledger) -> bool:
    """Forget what ended long ago, once its way is forgotten; tell whether there is more."""
    config, since = ledger.config, ledger.now - ledger.config.remember
    rows = ledger.connection.execute(sql.REMEMBERED, (ledger.traced, MOST_ROWS)).fetchall()
    gone, last = [], 0
    for number, name, digest, seq, again, at in rows:
        if at >= since and ledger.ended - number < config.remember_events:
            break
        gone.append((name, digest, seq, again))
        last = number
    ledger.connection.executemany(sql.UNHEAR, gone)
    ledger.connection.execute(sql.FORGET_PAST, (last,))
    return len(gone) == MOST_ROWS


def old_letters(ledger: Ledger) -> bool:
    """Drop letters beyond ``dead_for`` and ``dead_bytes``; tell whether there is more."""
    return give_up_letters(ledger, MOST_A_PIECE) == MOST_A_PIECE


def parked_too_far(ledger: Ledger) -> bool:
    """Bring back what a clock that was ahead has parked; tell whether there is more."""
    limit, brought = ledger.now + LONGEST_PARK_S, 0
    for trigger, _ in ledger.connection.execute(sql.WAITING).fetchall():
        many = ledger.connection.execute(sql.TOO_FAR, (trigger, limit)).rowcount
        if many:
            ledger.woken.add(trigger)
        brought += many
    return brought > 0


def forget(ledger: Ledger, trigger: str, lent: Lent) -> None:
    """Forget that a trigger was set, and that anybody works for it."""
    ledger.connection.execute(sql.REMOVE_TRIGGER, (trigger,))
    lent -= {delivery for delivery in lent if delivery[1] == trigger}


def all_of(ledger: Ledger, trigger: str, where: str) -> bool:
    """Make dead letters of what waits for a trigger that is gone; tell whether there is more."""
    rows = ledger.connection.execute(sql.OF_TRIGGER, (trigger, MOST_A_PIECE)).fetchall()
    grave = Grave(where, "trigger_removed", f"trigger {trigger} was removed")
    for (seq,) in rows:
        end(ledger, seq, trigger, End("dead"), grave)
    if not rows:
        ledger.connection.execute(sql.NOTHING_WAITS, (trigger,))
    return bool(rows)
