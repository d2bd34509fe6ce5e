"""Pieces of work on the journal: run in the database's thread, and told to the loop."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from edge.bus.journal_due import Lent
from edge.bus.journal_ledger import Ledger
from edge.config.bus import BusConfig
from edge.errors import EdgeError
from edge.ops.metrics import Metrics

log = logging.getLogger(__name__)

T = TypeVar("T")


class Spool(Protocol):
    """The SQLite file and its thread, as the journal uses it: ``ops.database.Database``."""

    path: Path
    after: list[Callable[[sqlite3.Connection], None]]

    async def do(
        self, work: Callable[[sqlite3.Connection], T | EdgeError], *, durable: bool = True
    ) -> T:
        """Run a piece of a transaction, and return what it returned once that is committed."""
        ...


class Pieces:
    """What every method of the journal runs through."""

    def __init__(
        self, database: Spool, config: BusConfig, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self.database, self._config, self._metrics, self._clock = database, config, metrics, clock
        self._waiters: dict[str, asyncio.Event] = {}
        #: the thread's own
        self.lent: Lent = set()
        #: what the thread did and the loop has to be told
        self._news: deque[Ledger] = deque()
        self._telling = False
        #: dead letters that were dropped and not logged yet, by reason
        self._dropped: Counter[str] = Counter()

    def waiter(self, trigger: str) -> asyncio.Event:
        """Return what is set when a delivery for a trigger may be there."""
        waiter = self._waiters.get(trigger)
        if waiter is None:
            waiter = self._waiters[trigger] = asyncio.Event()
            waiter.set()
        return waiter

    def say_what_was_dropped(self) -> None:
        """Log how many dead letters gave way since this was said last."""
        for reason, many in self._dropped.items():
            log.warning("%d dead letters were dropped (bus.%s)", many, reason)
        self._dropped.clear()

    async def do(self, work: Callable[[Ledger], T | EdgeError], *, durable: bool = True) -> T:
        return await self.database.do(self.piece(work), durable=durable)

    def piece(
        self, work: Callable[[Ledger], T | EdgeError]
    ) -> Callable[[sqlite3.Connection], T | EdgeError]:
        """Return a piece of work for the database, which runs it once or twice."""
        loop, told = asyncio.get_running_loop(), False

        def run(connection: sqlite3.Connection) -> T | EdgeError:
            nonlocal told
            ledger = Ledger(connection, self._config, self._clock())
            result = work(ledger)
            if isinstance(result, EdgeError):
                return result
            ledger.write()
            if not told and ledger.speaks():
                # Told before the commit: whoever wakes has to ask the thread, and comes after it.
                # And told from here: a caller that was cancelled would tell nobody.
                told = True
                self._news.append(ledger)
                if not self._telling:
                    self._telling = True
                    loop.call_soon_threadsafe(self._tell)
            return result

        return run

    def _tell(self) -> None:
        """Wake those whose deliveries may be there, and count what happened."""
        self._telling = False
        metrics = self._metrics
        while self._news:
            ledger = self._news.popleft()
            for trigger in ledger.woken:
                self.waiter(trigger).set()
            metrics.bus_accepted.inc(ledger.accepted)
            metrics.bus_duplicates.inc(ledger.duplicates)
            for (trigger, reason), many in ledger.died.items():
                metrics.bus_died.labels(trigger, reason).inc(many)
            for trigger, many in ledger.expired.items():
                metrics.bus_deliveries.labels(trigger, "expired").inc(many)
            for reason, many in ledger.dropped.items():
                metrics.bus_letters_dropped.labels(reason).inc(many)
                if reason != "asked":
                    self._dropped[reason] += many
