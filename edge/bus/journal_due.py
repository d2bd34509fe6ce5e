"""What may be begun now, and what has to wait. Runs in the database's thread."""

from __future__ import annotations

import logging
from collections.abc import Collection

from edge.bus import journal_sql as sql
from edge.bus.journal_end import End, end
from edge.bus.journal_ledger import Ledger
from edge.bus.journal_rows import Due, Grave, add_attempt, read_event
from edge.traffic import Attempt

log = logging.getLogger(__name__)

Lent = set[tuple[int, str]]
"""Deliveries that somebody works on, by seq and trigger: they do not grow too old meanwhile."""
LONGEST_PARK_S = 86_400.0
"""Nothing is parked longer than this many seconds: a clock that was wrong holds nothing up."""
LOOK_AT = 256
"""Deliveries that one look for work looks at, at most, besides those that are under way."""


def due(ledger: Ledger, trigger: str, limit: int, skip: Collection[int], lent: Lent) -> list[Due]:
    """Return deliveries that may be begun now, the one accepted first first."""
    connection = ledger.connection
    connection.execute(sql.COME_DUE, (trigger, ledger.now))
    found: list[Due] = []
    look = min(limit, LOOK_AT) + len(skip)
    seqs = [seq for (seq,) in connection.execute(sql.READY, (trigger, look)).fetchall()]
    for seq in seqs:
        if len(found) == limit:
            break
        if seq not in skip:
            one = _begin(ledger, seq, trigger)
            if one is not None:
                found.append(one)
                lent.add((seq, trigger))
    if len(found) < limit and len(seqs) == look:  # some were not worth it: there may be more
        ledger.woken.add(trigger)
    return found


def _begin(ledger: Ledger, seq: int, trigger: str) -> Due | None:
    row = ledger.connection.execute(sql.BEGIN, (seq, trigger)).fetchone()
    key, tries, hops, digest, at, expires, attributes, data = row
    if expires is not None and expires <= ledger.now:
        drop_expired(ledger, seq, trigger)
        return None
    try:
        event = read_event(attributes, data)
    except (ValueError, TypeError, AttributeError) as error:
        _set_aside(ledger, seq, trigger, str(error))
        return None
    return Due(
        seq=seq,
        trigger=trigger,
        event=event,
        key=key,
        tries=tries,
        hops=hops,
        digest=digest,
        accepted_at=at,
    )


def _set_aside(ledger: Ledger, seq: int, trigger: str, why: str) -> None:
    """End a delivery whose event cannot be read, with whatever there is of it."""
    log.error("event %d in the journal cannot be read (%s): it is a dead letter now", seq, why)
    end(ledger, seq, trigger, End("dead"), Grave("", "damaged", f"its row cannot be read: {why}"))


def drop_expired(ledger: Ledger, seq: int, trigger: str) -> None:
    """End a delivery that its sender wants no more (``expirytime``)."""
    if end(ledger, seq, trigger, End("dropped")):
        ledger.expired[trigger] += 1


def next_due(ledger: Ledger, trigger: str) -> float | None:
    """Return when the earliest parked delivery of a trigger is due."""
    row = ledger.connection.execute(sql.NEXT_DUE, (trigger,)).fetchone()
    return None if row is None else row[0]


def retry(ledger: Ledger, seq: int, trigger: str, attempt: Attempt, at: float) -> None:
    """Write down that a delivery failed, and when it is tried again."""
    row = ledger.connection.execute(sql.LOG, (seq, trigger)).fetchone()
    if row is not None:
        parked = (_parked(ledger, at), add_attempt(row[0], attempt), seq, trigger)
        ledger.connection.execute(sql.RETRY, parked)
        ledger.woken.add(trigger)


def hold(ledger: Ledger, seq: int, trigger: str, at: float) -> None:
    """Put a delivery off without a charge."""
    if ledger.connection.execute(sql.HOLD, (_parked(ledger, at), seq, trigger)).rowcount:
        ledger.woken.add(trigger)


def _parked(ledger: Ledger, at: float) -> float:
    return 0.0 if at <= ledger.now else min(at, ledger.now + LONGEST_PARK_S)
