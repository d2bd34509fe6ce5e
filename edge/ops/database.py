"""One SQLite file in a thread of its own. What arrives together shares one commit.

Written for power cuts: WAL with ``synchronous=FULL``, so that a commit that returned is on disk.
The outbox and the bus's journal share one: what belongs together is kept in one transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from edge.errors import EdgeError, Fatal, PartFailed, TryLater

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]
"""A piece of a transaction. It may run twice (after a rollback), so it changes nothing but rows.
A refusal is returned as an EdgeError, not raised: raising would undo what shares the commit."""

PAGE_BYTES = 8192
"""Measured: pictures go in 1.3 times as fast as with 4096, small rows 0.8 times as fast."""
MOST_A_COMMIT = 512
"""Pieces of work that share one commit at most: bounds how long the first one waits."""
WAL_BYTES = 8 * 2**20
"""The write-ahead log is copied back into the file at about this size."""
CHECK_BYTES = 64 * 2**20
"""Files up to this size are checked whole at each start (0.3 s); larger ones when suspected."""
DISK_RETRY_S = 5.0
"""Seconds until a full disk is worth another try."""
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_LATER = {
    sqlite3.SQLITE_FULL: "disk_full",
    sqlite3.SQLITE_IOERR: "disk_full",
    sqlite3.SQLITE_READONLY: "disk_full",
    sqlite3.SQLITE_BUSY: "busy",
}
HURRY_S = 0.1
"""Seconds after which what waits for somebody else's commit gets one of its own."""
BUSY_WAIT_S = 1.0
"""Seconds to wait for another program that has locked the file (a person with ``sqlite3``)."""


class Database:
    """A SQLite file and its one thread.

    Args:
        path: the file; missing directories are made with mode 0700, the file with 0600.
        schema: one script a version; ``user_version`` counts those that were run.
        name: what it is called in logs, errors and as its thread's name.

    """

    def __init__(
        self,
        path: Path,
        schema: Sequence[str],
        *,
        name: str,
    ) -> None:
        self.path = path
        #: called in the thread once it is open and after each commit, to read what others show
        self.after: list[Callable[[sqlite3.Connection], None]] = []
        self._schema, self._name = schema, name
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
        self._lock = -1
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
            if _kind(error) == sqlite3.SQLITE_BUSY:
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
        kind = _kind(error)
        if kind in _LATER:
            return TryLater(
                f"the {self._name} cannot write to its disk ({self.path}): {error}",
                hint="free space on that disk; nothing that was accepted is lost",
                reason=_LATER[kind],
                after=DISK_RETRY_S,
            )
        if kind in _DAMAGED:
            self._suspicion.touch(mode=0o600)
            return PartFailed(
                f"the {self._name} ({self.path}) is damaged: {error}",
                hint="restart Edge: it sets the file aside and starts a fresh one",
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
        if self._connection is not None:
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            self._connection = self._connected()
        except OSError as error:
            raise PartFailed(
                f"the {self._name} ({self.path}) cannot be opened: {error.strerror}",
                hint="the directory must exist and be writable for the user that runs Edge",
            ) from error
        except sqlite3.Error as error:
            raise PartFailed(
                f"the {self._name} ({self.path}) cannot be opened: {error}",
                hint="is its disk full or read-only?",
            ) from error
        finally:
            if self._connection is None:
                self._close()

    def _take_lock(self) -> None:
        lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise Fatal(
                f"the {self._name} ({self.path}) is in use by another process",
                hint="is Edge running already? Stop it, or give this one its own box.state",
                reason="in_use",
            ) from error
        self._lock = lock

    def _connected(self) -> sqlite3.Connection:
        """Return a sound connection; a damaged file is set aside, and a fresh one made."""
        try:
            return self._prepared()
        except sqlite3.DatabaseError as error:
            if _kind(error) not in _DAMAGED:
                raise
            self._set_aside(error)
        return self._prepared()

    def _prepared(self) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        sync_directory(self.path.parent)
        with contextlib.ExitStack() as unless_sound:
            connection = sqlite3.connect(
                self.path, timeout=BUSY_WAIT_S, isolation_level=None, cached_statements=64
            )
            unless_sound.callback(connection.close)
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA secure_delete=OFF")  # Debian: ON, which writes all twice
            connection.execute(f"PRAGMA wal_autocheckpoint={WAL_BYTES // PAGE_BYTES}")
            connection.execute(f"PRAGMA journal_size_limit={2 * WAL_BYTES}")
            self._check(connection)
            self._migrate(connection)
            self._look(connection)
            unless_sound.pop_all()
            return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        # A check reads every page: seconds for gigabytes. Large files wait for a suspicion.
        suspicion = self._suspicion
        if self.path.stat().st_size > CHECK_BYTES and not suspicion.exists():
            return
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            error = sqlite3.DatabaseError(verdict)
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        suspicion.unlink(missing_ok=True)

    @property
    def _suspicion(self) -> Path:
        return Path(f"{self.path}.suspect")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(self._schema):
            raise Fatal(
                f"the {self._name} ({self.path}) was written by a newer Edge (format {version}, "
                f"this one knows {len(self._schema)})",
                hint="install the newer Edge again, or move the file away",
                reason="newer_format",
            )
        for number in range(version, len(self._schema)):
            connection.executescript(
                f"BEGIN IMMEDIATE; {self._schema[number]} PRAGMA user_version={number + 1}; COMMIT;"
            )

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        mark = f".damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
        for tail in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.path}{tail}").rename(f"{self.path}{mark}{tail}")
        self._suspicion.unlink(missing_ok=True)
        sync_directory(self.path.parent)
        log.error(
            "the %s was damaged (%s); it is kept as %s, and a fresh one begins",
            self._name,
            error,
            f"{self.path.name}{mark}",
        )

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _kind(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def sync_directory(directory: Path) -> None:
    """Make names in ``directory`` survive a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
