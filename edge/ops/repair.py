"""Repair of a SQLite file that Edge keeps: check it, and replace it by what can be saved of it.

Nobody else may have the file open: ``locked`` takes the same lock as ``Database`` does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from edge.errors import Fatal, PartFailed
from edge.ops.salvage import Findings, look, salvage
from edge.ops.sqlite_pages import Pages

MOST_MESSAGES = 100
"""Lines of SQLite's own integrity check."""
Mend = Callable[[sqlite3.Connection], object]
"""Puts right what depends on which rows are there (sums, heads of queues). Runs in a transaction
of the fresh file, after all rows are in and its tables are those of the newest version."""
MARK = 0x45444700
"""``application_id`` of a file is this and its format (``user_version``): two places of the header
that agree are believed, one alone may be damaged."""
_TAILS = ("-wal", "-shm")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep everybody else away from a file.

    Raises:
        PartFailed: a box runs on it, or there is no such file.

    """
    if not path.is_file():
        raise PartFailed(
            f"there is no file {path}",
            hint="name the file, or the configuration of the box with --config",
            reason="no_file",
        )
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise PartFailed(
            f"{path} is in use by another process",
            hint="stop Edge first: systemctl stop edge",
            reason="in_use",
        ) from error
    finally:
        os.close(lock)


def check(path: Path, schema: Sequence[str]) -> tuple[Findings, list[str]]:
    """Read every row, and let SQLite check the file; nothing is changed.

    Returns:
        What was found, and SQLite's own words: empty where it finds nothing.

    Raises:
        PartFailed: the file cannot be read. Fatal: a newer Edge wrote it.

    """
    _finish_or_fail(path)
    try:
        findings = look(path, _like(path, schema))
    except OSError as error:
        raise _unreadable(path, error) from error
    return findings, _integrity(path)


def repair(path: Path, schema: Sequence[str], mend: Mend | None = None) -> Findings:
    """Put what can be read into a fresh file, which takes the place of the damaged one.

    The damaged file is kept as it is in ``FILE.damaged-TIME/``, with the bytes of each damaged page
    and row, and ``findings.jsonl``. A power cut at any moment leaves the damaged file or the fresh
    one, never less.

    Args:
        path: the file; its caller has locked it.
        schema: one script a version, as ``Database`` has them.
        mend: see ``Mend``.

    Raises:
        PartFailed: it cannot be read, or there is no room for a second one; nothing was changed.
        Fatal: a newer Edge wrote it.

    """
    _finish_or_fail(path)
    like = _like(path, schema)
    fresh = Path(f"{path}.salvaged")
    aside = Path(f"{path}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
    try:
        fresh.unlink(missing_ok=True)
        aside.mkdir(mode=0o700)
        findings = _salvaged(path, fresh, like, aside)
        _brought_up_to_date(fresh, schema, mend)
        _swap(path, fresh, aside)
    except (OSError, sqlite3.Error) as error:
        fresh.unlink(missing_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        raise PartFailed(
            f"{path} cannot be repaired now: {error}",
            hint="a second file of that size must fit on the disk; nothing was changed",
            reason="disk_full",
        ) from error
    findings.directory = aside
    return findings


def finish(path: Path) -> bool:
    """Complete a repair that a power cut ended; call it before the file is opened.

    Raises:
        OSError: the disk does not take it.

    """
    mended = Path(f"{path}.mended")
    if not mended.exists():
        return False
    ready = mended.stat().st_mtime_ns
    files = [Path(f"{path}{tail}") for tail in ("", *_TAILS[:1])]
    if any(file.exists() and file.stat().st_mtime_ns > ready for file in files):
        mended.unlink()  # the box went on with the old file
        return False
    _replace(path, mended)
    return True


def _salvaged(path: Path, fresh: Path, like: sqlite3.Connection, aside: Path) -> Findings:
    os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as into:
        into.execute("PRAGMA journal_mode=MEMORY")
        into.execute("PRAGMA synchronous=OFF")  # it counts from the moment when it is swapped in
        like.backup(into)
        findings = salvage(path, into, aside)
    for file in aside.iterdir():
        _sync(file)
    return findings


def _brought_up_to_date(fresh: Path, schema: Sequence[str], mend: Mend | None) -> None:
    with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for script in schema[version:]:
            connection.executescript(script)
        connection.executescript(stamp(len(schema)))
        if mend is not None:
            connection.execute("BEGIN IMMEDIATE")
            mend(connection)
            connection.execute("COMMIT")
    _sync(fresh)


def _swap(path: Path, fresh: Path, aside: Path) -> None:
    for tail in ("", *_TAILS):
        with contextlib.suppress(FileNotFoundError):
            _keep(Path(f"{path}{tail}"), aside / f"{path.name}{tail}")
    _sync(aside)
    mended = Path(f"{path}.mended")
    os.utime(fresh)
    fresh.rename(mended)  # from here on the repair is done, come what may
    _sync(path.parent)
    _replace(path, mended)


def _replace(path: Path, mended: Path) -> None:
    # an old log beside a new file would be taken for its own
    for tail in _TAILS:
        Path(f"{path}{tail}").unlink(missing_ok=True)
    _sync(path.parent)
    mended.replace(path)
    Path(f"{path}.suspect").unlink(missing_ok=True)
    _sync(path.parent)


def _keep(file: Path, kept: Path) -> None:
    try:
        os.link(file, kept)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        shutil.copyfile(file, kept)
        _sync(kept)


def _like(path: Path, schema: Sequence[str]) -> sqlite3.Connection:
    """Return an empty file in memory with the tables that ``path`` should have."""
    try:
        with Pages(path) as pages:
            version, mark, size = pages.user_version, pages.application_id, pages.size
    except OSError as error:
        raise _unreadable(path, error) from error
    sound = mark == MARK + version
    if sound and version > len(schema):
        raise Fatal(
            f"{path} was written by a newer Edge (format {version}, this one knows {len(schema)})",
            hint="install the newer Edge again",
            reason="newer_format",
        )
    if not sound or version < 1:
        version = len(schema)
    like = sqlite3.connect(":memory:", isolation_level=None)
    like.execute(f"PRAGMA page_size={size}")
    for script in schema[:version]:
        like.executescript(script)
    like.executescript(stamp(version))
    return like


def stamp(version: int) -> str:
    """Return what writes the format of a file into its header."""
    return f"PRAGMA user_version={version}; PRAGMA application_id={MARK + version};"


def _integrity(path: Path) -> list[str]:
    """Return what SQLite says; read-only where that works, so that nothing is written."""
    said: list[str] = []
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as db:
            for (line,) in db.execute(f"PRAGMA integrity_check({MOST_MESSAGES})"):
                said += str(line).splitlines()
    except sqlite3.Error as error:
        return [*said, str(error)]
    return [] if said == ["ok"] else said


def _finish_or_fail(path: Path) -> None:
    try:
        finish(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> PartFailed:
    return PartFailed(
        f"{path} cannot be opened: {error.strerror}",
        hint="call it as the user that runs Edge, or as root",
    )


def _sync(path: Path) -> None:
    """Make a file, or the names in a directory, survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
