"""The files of a watched directory: which are there, which are complete, how one is read.

All of it blocks; ``folder`` calls it from a thread.
"""

from __future__ import annotations

import errno
import hashlib
import heapq
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge.errors import PartFailed, Rejected

_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart", "~")
"""How programs that copy or edit name what is not ready."""
_LATEST = 4_102_444_800  # the year 2100: no file is from later than that


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it was when it was looked at."""

    #: relative to the directory, with forward slashes, as the system spells it
    path: str
    size: int
    mtime_ns: int
    #: changes with everything that could mean another content, renaming over it included
    state: bytes

    @property
    def taken_at(self) -> datetime:
        """Time of its last change; what EXIF says is the sender's word, and not trusted."""
        return datetime.fromtimestamp(min(max(self.mtime_ns / 1e9, 0), _LATEST), UTC)

    @property
    def shown(self) -> str:
        """Its path as it may be shown: valid text without control characters."""
        text = os.fsencode(self.path).decode("utf-8", "replace")
        return "".join(part if part.isprintable() else "\ufffd" for part in text)


class WatchedFolder:
    """A directory and everything below it, hidden and unfinished files and symlinks left out.

    Symlinks are not followed at all: what they lead to inside of the directory has a name of its
    own there, and what is outside was not given to us.
    """

    def __init__(self, path: str) -> None:
        self.root = Path(path).expanduser().absolute()
        #: entries that the newest look could not look into
        self.unreadable = 0

    def look(self) -> Iterator[Found]:
        """Yield the files that are there now, in no order.

        Raises:
            PartFailed: the directory is missing or cannot be read.

        """
        self.unreadable = 0
        try:
            yield from self._walk(os.fspath(self.root), "")
        except OSError as error:
            raise PartFailed(
                f"cannot read the directory {self.root}: {error.strerror}",
                hint="create it, mount it, or let the service's user read it",
                reason="folder_missing" if error.errno == errno.ENOENT else "folder_unreadable",
            ) from error

    def _walk(self, folder: str, prefix: str) -> Iterator[Found]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower().endswith(_UNFINISHED):
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        yield from self._walk(entry.path, f"{prefix}{entry.name}/")
                    elif entry.is_file(follow_symlinks=False):
                        yield _found(prefix + entry.name, entry.stat(follow_symlinks=False))
                except (FileNotFoundError, NotADirectoryError):
                    continue  # it went away
                except PermissionError:
                    self.unreadable += 1

    def read(self, file: Found, max_bytes: int) -> bytes | None:
        """Return a file's content, or None if it is no longer the file that was looked at.

        Raises:
            Rejected: ``too_large`` (it is not read then) or ``unreadable``.

        """
        if file.size > max_bytes:
            raise Rejected(
                f"{file.size} bytes; at most {max_bytes} are taken",
                hint="raise max_bytes of this source",
                reason="too_large",
            )
        try:
            handle = os.open(self.root / file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                return None
            raise Rejected(f"cannot read it: {error.strerror}", reason="unreadable") from error
        with os.fdopen(handle, "rb") as opened:
            return self._content(file, opened.fileno())

    def _content(self, file: Found, handle: int) -> bytes | None:
        """Read all of an open file; None if it is not the one, or changed meanwhile."""
        if not self._is_inside(handle) or _state(file.path, os.fstat(handle)) != file.state:
            return None
        parts, left = [], file.size + 1
        try:
            while left and (part := os.read(handle, left)):
                parts.append(part)
                left -= len(part)
        except OSError as error:
            raise Rejected(f"cannot read it: {error.strerror}", reason="unreadable") from error
        whole = left == 1 and _state(file.path, os.fstat(handle)) == file.state
        return b"".join(parts) if whole else None

    def _is_inside(self, handle: int) -> bool:
        """Tell whether an open file lies in the directory, however its path was bent meanwhile."""
        real = os.path.realpath(f"/proc/self/fd/{handle}")
        return os.path.commonpath([real, os.path.realpath(self.root)]) == os.path.realpath(
            self.root
        )

    def remove(self, file: Found) -> bool:
        """Delete a file if it is still the same; tell whether it is gone."""
        path = self.root / file.path
        try:
            now = os.lstat(path)
            if not stat.S_ISREG(now.st_mode) or _state(file.path, now) != file.state:
                return False
            path.unlink()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


class Ledger:
    """Which files were dealt with, and since when the others have not changed.

    Holds 16 bytes a file. Only one thread at a time may ``sort``; the rest is quick.
    """

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._handled: set[bytes] = set()
        self._since: dict[bytes, float] = {}

    def sort(self, files: Iterable[Found], now: float, most: int) -> list[Found]:
        """Take in a look at the directory; return the oldest complete files to be dealt with.

        A file is complete when it was seen unchanged for ``settle`` seconds. What is no longer
        there is forgotten.
        """
        there: set[bytes] = set()
        since: dict[bytes, float] = {}

        def ready() -> Iterator[Found]:
            for file in files:
                if file.state in self._handled:
                    there.add(file.state)
                    continue
                first = since.setdefault(file.state, self._since.get(file.state, now))
                if now - first >= self._settle:
                    yield file

        chosen = heapq.nsmallest(most, ready(), key=lambda file: (file.mtime_ns, file.path))
        self._since = since
        self._handled.intersection_update(there)
        return chosen

    def handled(self, file: Found) -> None:
        """Need not look at this file again until it changes."""
        self._handled.add(file.state)
        self._since.pop(file.state, None)

    def again(self, file: Found) -> None:
        """Look at this file again."""
        self._handled.discard(file.state)

    def __contains__(self, state: bytes) -> bool:
        return state in self._handled

    def __len__(self) -> int:
        return len(self._handled) + len(self._since)


def event_id(name: str, file: Found, body: bytes) -> str:
    """Return the id of a picture: the same for the same file with the same content, for ever."""
    digest = hashlib.blake2b(digest_size=16, person=b"edge folder")
    for part in (os.fsencode(file.path), str(file.size).encode(), str(file.mtime_ns).encode()):
        digest.update(part + b"\0")
    digest.update(hashlib.sha256(body).digest())
    return f"{name}-{digest.hexdigest()}"


def _found(path: str, facts: os.stat_result) -> Found:
    return Found(path, facts.st_size, facts.st_mtime_ns, _state(path, facts))


def _state(path: str, facts: os.stat_result) -> bytes:
    """Sixteen bytes that stand for a file as it is, small enough to keep 100,000 of them."""
    parts = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino, facts.st_dev)
    text = "/".join(str(part) for part in parts).encode() + b"/" + os.fsencode(path)
    return hashlib.blake2b(text, digest_size=16).digest()
