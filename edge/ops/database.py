"""One SQLite file in a thread of its own. What arrives together shares one commit.

Written for power cuts: WAL with ``synchronous=FULL``, so that a commit that returned is on disk.
The outbox and the bus's journal share one: what belongs together is kept in one transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from edge.errors import EdgeError, PartFailed, TryLater
from edge.ops.database_file import DAMAGED, SpoolFile, kind_of
from edge.ops.repair import Mend

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]
"""A piece of a transaction. It may run twice (after a rollback), so it changes nothing but rows.
A refusal is returned as an EdgeError, not raised: raising would undo what shares the commit."""

MOST_A_COMMIT = 512
"""Pieces of work that share one commit at most: bounds how long the first one waits."""
DISK_RETRY_S = 5.0
"""Seconds until a full disk is worth another try."""
_LATER = {
    sqlite3.SQLITE_FULL: "disk_full",
    sqlite3.SQLITE_IOERR: "disk_full",
    sqlite3.SQLITE_READONLY: "disk_full",
    sqlite3.SQLITE_BUSY: "busy",
}
HURRY_S = 0.1
"""Seconds after which what waits for somebody else's commit gets one of its own."""


class Database:
    """A SQLite file and its one thread.

    Args:
        path: the file; missing directories are made with mode 0700, the file with 0600.
        schema: one script a version; ``user_version`` counts those that were run.
        name: what it is called in logs, errors and as its thread's name.
        mend: run on what could be saved of a damaged file, to put right what depends on the rows.

    """

    def __init__(
        self,
        path: Path,
        schema: Sequence[str],
        *,
        name: str,
        mend: Mend | None = None,
    ) -> None:
        self.path = path
        #: called in the thread once it is open and after each commit, to read what others show
        self.after: list[Callable[[sqlite3.Connection], None]] = []
        self._name, self._file = name, SpoolFile(path, schema, name, mend)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"edge-{name}")
        self._waiting: deque[tuple[Work, asyncio.Future[Any]]] = deque()
        #: what waits for somebody else's commit, and until when
        self._patient: list[tuple[Work, asyncio.Future[Any]]] = []
        self._hurry: asyncio.TimerHandle | None = None
        #: whether anything that waits must be on disk when it is answered
        self._must_last = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._durable = True  # as the file is opened
        self._closed = False
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Lock, open, mend and bring up to date.

        Raises:
            Fatal: another process has it, or a newer Edge wrote it.
            PartFailed: it cannot be opened now (full disk, no permission).

        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    async def do(
        self,
        work: Callable[[sqlite3.Connection], T | EdgeError],
        *,
        durable: bool = True,
        patient: bool = False,
    ) -> T:
        """Run ``work`` in the thread and return its result once it is committed.

        Args:
            work: what to do in the transaction.
            durable: whether the commit must survive a power cut. What may be done a second time
                without harm need not: it is on disk with the next commit that must.
            patient: whether it may wait for somebody else's commit, ``HURRY_S`` at most. It comes
                last there, and sees what the others did.

        Raises:
            TryLater: no room on the disk; nothing was changed.
            PartFailed: the file is damaged.
            EdgeError: the one that ``work`` returned.

        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._must_last = self._must_last or durable
        if patient:
            self._patient.append((work, future))
            self._hurry = self._hurry or loop.call_later(HURRY_S, self._hurry_up, loop)
        else:
            self._waiting.append((work, future))
            self._wake(loop)
        result: T | EdgeError = await future
        if isinstance(result, EdgeError):
            raise result
        return result

    async def close(self) -> None:
        """Commit what was handed in, then let go of the file. Closing twice is closing once."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        self._hurry_up(loop)
        await self._idle.wait()
        await loop.run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    # -- the loop's side

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._idle.is_set():
            self._idle.clear()
            loop.call_soon(self._next, loop)  # later in this tick's callers come along

    def _hurry_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait no longer for somebody else's commit."""
        if self._patient:
            self._waiting.extend(self._the_patient())
            self._wake(loop)

    def _the_patient(self) -> list[tuple[Work, asyncio.Future[Any]]]:
        if self._hurry is not None:
            self._hurry.cancel()
            self._hurry = None
        patient, self._patient = self._patient, []
        return patient

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._waiting:
            self._idle.set()
            return
        many = min(len(self._waiting), MOST_A_COMMIT)
        batch = [self._waiting.popleft() for _ in range(many)]
        if not self._waiting:
            batch += self._the_patient()
        durable, self._must_last = self._must_last, self._must_last and bool(self._waiting)
        works = [work for work, _ in batch]
        done = loop.run_in_executor(self._thread, self._run, works, durable)
        done.add_done_callback(lambda done: self._settle(loop, batch, done))

    def _settle(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[tuple[Work, asyncio.Future[Any]]],
        done: asyncio.Future[list[Any]],
    ) -> None:
        bug = done.exception()
        results = [None] * len(batch) if bug else done.result()
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():  # its caller was cancelled; the work is done all the same
                continue
            if bug:
                future.set_exception(bug)
            else:
                future.set_result(result)
        loop.call_soon(self._next, loop)  # after those who were answered have had their turn

    # -- the thread's side

    def _run(self, batch: list[Work], durable: bool) -> list[Any]:  # noqa: FBT001 (executor)
        if durable != self._durable:
            # Without the sync of FULL, a commit stays in order and whole, but may come undone.
            self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        try:
            results = self._together(batch)
        except sqlite3.Error as error:
            if kind_of(error) == sqlite3.SQLITE_BUSY:
                return [self._translated(error)] * len(batch)
            # one of them spoiled the commit: each alone, so that the others are not refused
            results = [self._alone(work) for work in batch]
        self._look(self._db)
        return results

    def _look(self, connection: sqlite3.Connection) -> None:
        for look in self.after:
            look(connection)

    def _together(self, batch: list[Work]) -> list[Any]:
        with self._transaction() as connection:
            return [work(connection) for work in batch]

    def _alone(self, work: Work) -> Any:
        try:
            return self._together([work])[0]
        except sqlite3.Error as error:
            return self._translated(error)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._db
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _translated(self, error: sqlite3.Error) -> EdgeError:
        kind = kind_of(error)
        if kind in _LATER:
            return TryLater(
                f"the {self._name} cannot write to its disk ({self.path}): {error}",
                hint="free space on that disk; nothing that was accepted is lost",
                reason=_LATER[kind],
                after=DISK_RETRY_S,
            )
        if kind in DAMAGED:
            self._file.suspect()
            return PartFailed(
                f"the {self._name} ({self.path}) is damaged: {error}",
                hint="restart Edge: it sets the file aside, and goes on with what can be read",
                reason="damaged",
            )
        raise error

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError(f"the {self._name} is not open")
        return self._connection

    # -- opening and closing

    def _open(self) -> None:
        if self._connection is None:
            self._file.lock()
            try:
                self._connection = self._file.connection(self._look)
            finally:
                if self._connection is None:
                    self._file.unlock()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._file.unlock()
