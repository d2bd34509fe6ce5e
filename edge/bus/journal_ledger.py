"""The journal's sums within one piece of work, and what others are told of it afterwards."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence

from edge.bus import journal_sql as sql
from edge.bus.journal_rows import shown
from edge.config.bus import BusConfig


class Ledger:
    """One piece of work on the journal: its connection, its moment, and the sums.

    The sums are read once, changed here, and written once by ``write``. A piece may run twice, each
    time with a new ledger.
    """

    __slots__ = (
        "_read",
        "_waiting",
        "accepted",
        "bytes",
        "config",
        "connection",
        "died",
        "dropped",
        "duplicates",
        "ended",
        "events",
        "expired",
        "letter",
        "letter_bytes",
        "letters",
        "now",
        "seq",
        "traced",
        "woken",
    )

    def __init__(self, connection: sqlite3.Connection, config: BusConfig, now: float) -> None:
        self.connection, self.config, self.now = connection, config, now
        self._read: Sequence[int] = connection.execute(sql.TOTAL).fetchone()
        #: the newest event; the newest that ended, and the newest of those whose trace is gone
        self.seq, self.ended, self.traced = self._read[:3]
        #: events that wait, and their bytes
        self.events, self.bytes = self._read[3:5]
        #: the newest dead letter, how many there are, and their bytes
        self.letter, self.letters, self.letter_bytes = self._read[5:]
        self._waiting: Counter[str] = Counter()
        # what is told afterwards
        self.accepted = self.duplicates = 0
        self.woken: set[str] = set()
        #: dead letters by trigger and reason; those that were dropped, by reason
        self.died: Counter[tuple[str, str]] = Counter()
        self.dropped: Counter[str] = Counter()
        #: deliveries that were not worth making any more, by trigger
        self.expired: Counter[str] = Counter()

    def waits(self, trigger: str, more: int) -> None:
        """So many more deliveries wait for a trigger (negative: fewer)."""
        self._waiting[trigger] += more
        if more > 0:
            self.woken.add(trigger)

    def ends(self, entry: tuple[int, bytes, int, int, int, float], text: str, way: str) -> None:
        """Remember an event that ended.

        Args:
            entry: its name, digest, seq, number of replays, cause, and when it was accepted.
            text: its attributes.
            way: its passages, a JSON array.

        """
        name, digest, seq, again, cause, at = entry
        self.ended += 1
        past = (self.ended, name, digest, seq, again, self.now)
        self.connection.execute(sql.ADD_PAST, past)
        if self.config.trace_events:
            trace = (seq, again, cause, at, self.now, shown(text), way)
            self.connection.execute(sql.ADD_TRACE, trace)

    def write(self) -> None:
        """Write the sums that changed."""
        sums = (
            self.seq,
            self.ended,
            self.traced,
            self.events,
            self.bytes,
            self.letter,
            self.letters,
            self.letter_bytes,
        )
        if sums != self._read:
            self.connection.execute(sql.SET_TOTAL, sums)
        for trigger, more in self._waiting.items():
            if more:
                self.connection.execute(sql.ADD_WAITING, (trigger, more))

    def speaks(self) -> bool:
        """Tell whether anybody has to be told of it."""
        return bool(
            self.accepted
            or self.duplicates
            or self.woken
            or self.died
            or self.dropped
            or self.expired
        )
