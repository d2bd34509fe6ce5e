"""A directory as the store: each picture as a file, its message as JSON beside it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from edge.config.key_template import OWN
from edge.config.store import FolderStoreConfig
from edge.errors import PartFailed, Rejected
from edge.ops.database_file import sync_directory
from edge.parcel import Parcel
from edge.sinks.keys import (
    MOST_READ_BYTES,
    Turns,
    checked,
    gives_way,
    gone,
    message_name,
    taken,
    too_large,
)

T = TypeVar("T")

_HINTS = {
    errno.ENOSPC: "the disk is full: free space, or point store.path at a larger one",
    errno.EDQUOT: "the quota of the user that runs Edge is used up on that disk",
    errno.EROFS: "the disk is mounted read-only: remount it writable, or look for disk errors",
    errno.EACCES: "the user that runs Edge may not write there: change its owner or mode",
    errno.EPERM: "the user that runs Edge may not write there: change its owner or mode",
    errno.ENOENT: "the directory is gone: is its disk or share still mounted?",
    errno.ENOTCONN: "the share lost its server: check the network and mount it again",
    errno.ESTALE: "the share lost its server: check the network and mount it again",
    errno.EIO: "the disk or the share fails: look at the system's log",
}
_ABOUT_THE_KEY = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EILSEQ}
_NOT_THERE = {errno.ENOENT, errno.ELOOP}
_DAYS = 256
"""Directories that are remembered as lying inside the folder."""
_MOST_MESSAGE = 2**20
"""Bytes of a message that are read: ours have a few KiB."""


class FolderStore:
    """Keeps ``contracts.Store``: ``<path>/<key>``, then ``<path>/<results><key's stem>.json``.

    Both are written to a temporary name beside their own, synced, and renamed: whoever looks sees
    whole files only, and who sees the JSON finds the picture. One writer a directory.

    With ``overwrite`` the message says when the picture was taken that has a name (in
    milliseconds; of two in one, the one that comes later has it); a picture without a message that
    can be read gives way.

    Args:
        config: ``[store]`` with ``kind = "folder"``.
        parallel: files written at once.

    """

    def __init__(self, config: FolderStoreConfig, *, parallel: int = 4) -> None:
        self.name = "folder"
        self._root = Path(config.path)
        self._results, self._overwrite = config.results, config.overwrite
        self._turns = Turns()
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="edge-folder")
        self._mark = f"{OWN}{secrets.token_hex(4)}-"
        self._swept = False
        #: temporary files that a folder which was gone could not be freed of
        self._unfinished: list[Path] = []
        self._inside: set[Path] = set()

    async def open(self) -> None:
        await self._run(self._open)

    async def put(self, parcel: Parcel) -> None:
        try:
            await self._run(lambda: self._put(parcel))
        except PartFailed as error:
            cause = error.__cause__
            about_the_key = isinstance(cause, OSError) and cause.errno in _ABOUT_THE_KEY
            # The same number means a shut door where the folder itself is not what it was.
            if about_the_key and self._root.is_dir():
                raise Rejected(str(error), reason="bad_key") from cause
            raise

    async def get(self, key: str) -> bytes:
        try:
            return await self._run(lambda: self._get(key))
        except PartFailed as error:
            cause = error.__cause__
            missing = isinstance(cause, OSError) and cause.errno in {*_ABOUT_THE_KEY, *_NOT_THERE}
            if missing and self._root.is_dir():
                raise gone(key, str(self._root)) from cause
            raise

    async def remove(self, key: str) -> None:
        await self._run(lambda: self._remove(key))

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def describe(self) -> Mapping[str, Any]:
        return {"kind": "folder", "where": str(self._root)}

    async def _run(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, work)
        except OSError as error:
            raise PartFailed(
                f"cannot use {self._root}: {error.strerror}",
                hint=_HINTS.get(error.errno or 0, "look at the directory and its disk"),
                reason="store_shut",
            ) from error

    # -- in the threads

    def _open(self) -> None:
        _make_directories(self._root)
        probe = self._root / f"{self._mark}probe"
        probe.write_bytes(b"")
        probe.unlink()
        if not self._swept:
            for leftover in _leftovers(self._root):
                leftover.unlink(missing_ok=True)
            self._swept = True
        while self._unfinished:
            self._unfinished.pop().unlink(missing_ok=True)

    def _put(self, parcel: Parcel) -> None:
        picture, message = self._places(parcel.key)
        text = json.dumps(parcel.message, ensure_ascii=False) + "\n"
        files = ((picture, parcel.body), (message, text.encode()))
        with self._turns.of(message):
            missing = [(place, body) for place, body in files if not _has(place, body)]
            others = [place for place, _ in missing if os.path.lexists(place)]
            if others and not self._overwrite:
                raise taken(
                    str(others[0]),
                    "two boxes or two sources write under one name, or the file was changed",
                )
            if not others or _is_later(parcel, message):
                self._write_all(missing)

    def _write_all(self, files: list[tuple[Path, bytes]]) -> None:
        """Write files so that each is there whole or not at all, in their order."""
        mark = f"{self._mark}{secrets.token_hex(4)}"
        temporary = [place.with_name(f"{mark}-{n}") for n, (place, _) in enumerate(files)]
        try:
            for name, (_, body) in zip(temporary, files, strict=True):
                self._write(name, body)
            for name, (place, _) in zip(temporary, files, strict=True):
                name.replace(place)
        except OSError:
            for leftover in temporary:
                with contextlib.suppress(OSError):
                    leftover.unlink()
                    continue
                self._unfinished.append(leftover)
            raise
        for directory in {place.parent for place, _ in files}:
            sync_directory(directory)

    def _remove(self, key: str) -> None:
        picture, message = self._places(key)
        with self._turns.of(message):
            for place in (message, picture):  # who sees the JSON finds the picture
                try:
                    place.unlink()
                except OSError as error:
                    if error.errno in {*_ABOUT_THE_KEY, *_NOT_THERE} and self._root.is_dir():
                        continue  # there is no such file
                    raise
                sync_directory(place.parent)

    def _get(self, key: str) -> bytes:
        picture, _ = self._places(key)
        body = _read(picture, MOST_READ_BYTES + 1)
        if body is None:
            raise gone(key, str(self._root))
        if len(body) > MOST_READ_BYTES:
            raise too_large(key)
        return body

    def _places(self, key: str) -> tuple[Path, Path]:
        path = checked(key)
        if any(part.startswith(OWN) for part in path.parts):
            raise Rejected(f"{key!r} is a name of Edge's own", reason="bad_key")
        picture, message = self._root / path, self._root / message_name(path, self._results)
        for directory in (picture.parent, message.parent):
            if directory not in self._inside:
                if not directory.resolve().is_relative_to(self._root.resolve()):
                    raise Rejected(f"{key!r} leads out of the folder", reason="bad_key")
                # A day's directory is looked at once: resolving one costs a dozen system calls.
                self._inside = {*self._inside, directory} if len(self._inside) < _DAYS else set()
        return picture, message

    def _write(self, place: Path, body: bytes) -> None:
        handle = self._create(place)
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(handle)

    def _create(self, place: Path) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return os.open(place, flags, 0o666)  # the service's umask decides who reads it
        except FileNotFoundError:
            # a new day or camera; the folder itself is made by open only: it may be a lost mount
            _make_directories(place.parent, below=self._root)
            return os.open(place, flags, 0o666)


def _make_directories(directory: Path, below: Path | None = None) -> None:
    """Make a directory and those above it, so that they survive a power cut.

    Raises:
        FileNotFoundError: ``below`` is not there; it is never made.

    """
    if directory.is_dir():
        return
    if directory == below:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    _make_directories(directory.parent, below)
    directory.mkdir(exist_ok=True)
    sync_directory(directory.parent)


def _read(place: Path, most: int) -> bytes | None:
    """Return the beginning of a file; None where it is none.

    What another program put in its place (a link, a pipe) is not opened, nor waited for.
    """
    handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(handle)


def _has(place: Path, body: bytes) -> bool:
    """Tell whether the file is there with this content."""
    try:
        return place.stat().st_size == len(body) and place.read_bytes() == body
    except FileNotFoundError:
        return False


def _is_later(parcel: Parcel, message: Path) -> bool:
    """Tell whether a picture has the name before the one that the message there is about."""
    try:
        there = json.loads(_read(message, _MOST_MESSAGE) or b"")["time"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return True
    except OSError as error:
        if error.errno in _NOT_THERE:
            return True
        raise
    return gives_way(there, parcel.taken_at)


def _leftovers(root: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(root):
        for name in names:
            if name.startswith(OWN):
                yield Path(directory, name)
