"""A directory as the store: each picture as a file, its message as JSON beside it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from edge.config.store import FolderStoreConfig
from edge.errors import PartFailed, Rejected
from edge.ops.database_file import sync_directory
from edge.parcel import Parcel
from edge.sinks.keys import MOST_READ_BYTES, checked, gone, message_name, too_large

T = TypeVar("T")

_TEMPORARY = ".edge-tmp-"
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


class FolderStore:
    """Keeps ``contracts.Store``: ``<path>/<key>`` and, after it, ``<path>/<key's stem>.json``.

    Both are written to a temporary name beside their own, synced, and renamed: whoever looks sees
    whole files only, and who sees the JSON finds the picture. One writer a directory.

    Args:
        config: ``[store]`` with ``kind = "folder"``.
        parallel: files written at once.

    """

    def __init__(self, config: FolderStoreConfig, *, parallel: int = 4) -> None:
        self.name = "folder"
        self._root = Path(config.path)
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="edge-folder")
        self._mark = f"{_TEMPORARY}{secrets.token_hex(4)}-"
        self._swept = False
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

    def _put(self, parcel: Parcel) -> None:
        picture, message = self._places(parcel.key)
        text = json.dumps(parcel.message, ensure_ascii=False) + "\n"
        files = ((picture, parcel.body), (message, text.encode()))
        missing = [(place, body) for place, body in files if not _is_there(place, body)]
        mark = f"{self._mark}{secrets.token_hex(4)}"
        temporary = {place: place.with_name(f"{mark}{place.suffix}") for place, _ in missing}
        try:
            for place, body in missing:
                self._write(temporary[place], body)
            for place, _ in missing:  # the picture first: who sees the JSON finds the picture
                temporary[place].replace(place)
        except OSError:
            for leftover in temporary.values():
                leftover.unlink(missing_ok=True)
            raise
        if missing:
            sync_directory(picture.parent)

    def _get(self, key: str) -> bytes:
        picture, _ = self._places(key)
        # What another program put in its place (a link, a pipe) is not opened, nor waited for.
        handle = os.open(picture, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise gone(key, str(self._root))
            with os.fdopen(handle, "rb", closefd=False) as file:
                body = file.read(MOST_READ_BYTES + 1)
        finally:
            os.close(handle)
        if len(body) > MOST_READ_BYTES:
            raise too_large(key)
        return body

    def _places(self, key: str) -> tuple[Path, Path]:
        path = checked(key)
        if any(part.startswith(_TEMPORARY) for part in path.parts):
            raise Rejected(f"{key!r} is a name of Edge's own", reason="bad_key")
        picture = self._root / path
        if picture.parent not in self._inside:
            if not picture.parent.resolve().is_relative_to(self._root.resolve()):
                raise Rejected(f"{key!r} leads out of the folder", reason="bad_key")
            # A day's directory is looked at once: resolving one costs a dozen system calls.
            self._inside = {*self._inside, picture.parent} if len(self._inside) < _DAYS else set()
        return picture, self._root / message_name(path)

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


def _is_there(place: Path, body: bytes) -> bool:
    """Tell whether the file is there with this content.

    Raises:
        Rejected: it is there with another content.

    """
    try:
        if place.stat().st_size == len(body) and place.read_bytes() == body:
            return True
    except FileNotFoundError:
        return False
    raise Rejected(
        f"{place} is there already with another content",
        hint="two boxes or two sources write under one name, or the file was changed",
        reason="key_taken",
    )


def _leftovers(root: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(root):
        for name in names:
            if name.startswith(_TEMPORARY):
                yield Path(directory, name)
