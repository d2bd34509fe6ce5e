"""The SQLite file behind a ``Database``: locked, opened, checked, mended, brought up to date."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from edge.errors import EdgeError, Fatal, PartFailed
from edge.ops.repair import MARK, Mend, finish, repair, stamp

log = logging.getLogger(__name__)

PAGE_BYTES = 8192
"""Measured: pictures go in 1.3 times as fast as with 4096, small rows 0.8 times as fast."""
WAL_BYTES = 8 * 2**20
"""The write-ahead log is copied back into the file at about this size."""
CHECK_BYTES = 64 * 2**20
"""Files up to this size are checked whole at each start (0.3 s); larger ones when suspected."""
BUSY_WAIT_S = 1.0
"""Seconds to wait for another program that has locked the file (a person with ``sqlite3``)."""
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
"""SQLite's primary result codes for a damaged file."""
Look = Callable[[sqlite3.Connection], object]


class SpoolFile:
    """A file with its lock. Everything here blocks.

    Args:
        path: the file; missing directories are made with mode 0700, the file with 0600.
        schema: one script a version; ``user_version`` counts those that were run.
        name: what it is called in logs and errors.
        mend: run on what could be saved of a damaged file.

    """

    def __init__(
        self, path: Path, schema: Sequence[str], name: str, mend: Mend | None = None
    ) -> None:
        self.path, self._schema, self._name, self._mend = path, schema, name, mend
        self._lock = -1

    def connection(self, look: Look) -> sqlite3.Connection:
        """Open it, mended and up to date.

        Args:
            look: reads what others show; damage that it meets is damage, too.

        Raises:
            Fatal: a newer Edge wrote it. PartFailed: it cannot be opened now (full disk, no
                permission).

        """
        try:
            return self._connected(look)
        except OSError as error:
            raise self._unusable(error) from error
        except sqlite3.Error as error:
            raise PartFailed(
                f"the {self._name} ({self.path}) cannot be opened: {error}",
                hint="is its disk full or read-only?",
            ) from error

    def lock(self) -> None:
        """Keep other processes away from it.

        Raises:
            Fatal: another process has it. PartFailed: no permission.

        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
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

    def unlock(self) -> None:
        """Let others have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def suspect(self) -> None:
        """Remember that it is damaged, so that the next start checks all of it."""
        self._suspicion.touch(mode=0o600)

    def _unusable(self, error: OSError) -> PartFailed:
        return PartFailed(
            f"the {self._name} ({self.path}) cannot be opened: {error.strerror}",
            hint="the directory must exist and be writable for the user that runs Edge",
        )

    def _connected(self, look: Look) -> sqlite3.Connection:
        """Return a sound connection; of a damaged file, to what could be saved of it."""
        finish(self.path)
        try:
            return self._prepared(look)
        except sqlite3.DatabaseError as error:
            if kind_of(error) not in DAMAGED:
                raise
            self._save_what_can_be(error)
        return self._prepared(look)

    def _save_what_can_be(self, error: sqlite3.DatabaseError) -> None:
        # A repair that never came back (killed, a bug) must not keep the box down for ever.
        begun = Path(f"{self.path}.repairing")
        if begun.exists():
            self._set_aside(error)
            begun.unlink()
            return
        begun.touch(mode=0o600)
        try:
            findings = repair(self.path, self._schema, self._mend)
        except EdgeError:
            begun.unlink()
            raise
        begun.unlink()
        log.error(
            "the %s was damaged (%s); it is kept in %s, and what could be read of it goes on: "
            "%d rows, but for %d pages and %d rows",
            self._name,
            error,
            findings.directory,
            findings.saved.total(),
            findings.pages,
            findings.rows,
        )

    def _prepared(self, look: Look) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        sync_directory(self.path.parent)
        with contextlib.ExitStack() as unless_sound:
            connection = sqlite3.connect(
                self.path, timeout=BUSY_WAIT_S, isolation_level=None, cached_statements=256
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
            look(connection)
            unless_sound.pop_all()
            return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        # A check reads every page: seconds for gigabytes. Large files wait for a suspicion.
        suspicion = self._suspicion
        if self.path.stat().st_size > CHECK_BYTES and not suspicion.exists():
            return
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise damaged(verdict)
        suspicion.unlink(missing_ok=True)

    @property
    def _suspicion(self) -> Path:
        return Path(f"{self.path}.suspect")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        ((version,), (mark,)) = (
            connection.execute(f"PRAGMA {fact}").fetchone()
            for fact in ("user_version", "application_id")
        )
        # files of an earlier Edge have no mark
        if mark != MARK + version and (mark or version > len(self._schema)):
            raise damaged(f"format {version} and application_id {mark:#x} do not agree")
        if version > len(self._schema):
            raise Fatal(
                f"the {self._name} ({self.path}) was written by a newer Edge (format {version}, "
                f"this one knows {len(self._schema)})",
                hint="install the newer Edge again, or move the file away",
                reason="newer_format",
            )
        for number, script in enumerate(self._schema[version:], version + 1):
            connection.executescript(f"BEGIN IMMEDIATE; {script} {stamp(number)} COMMIT;")

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        mark = f".damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
        for tail in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.path}{tail}").rename(f"{self.path}{mark}{tail}")
        self._suspicion.unlink(missing_ok=True)
        sync_directory(self.path.parent)
        log.error(
            "the %s was damaged (%s) and could not be repaired; it is kept as %s, and a fresh one "
            "begins; try edge spool repair on it",
            self._name,
            error,
            f"{self.path.name}{mark}",
        )


def kind_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def damaged(what: str) -> sqlite3.DatabaseError:
    """Return the error that SQLite raises for a damaged file."""
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def sync_directory(directory: Path) -> None:
    """Make names in ``directory`` survive a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
