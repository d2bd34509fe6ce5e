"""Fetch a model from its public address: resumed, bounded, and checked before it is used."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable
from io import BufferedRandom
from pathlib import Path

import aiohttp

from edge.catalog.manifest import Manifest
from edge.errors import PartFailed
from edge.ops.redact_url import without_credentials

Progress = Callable[[int, int], None]

NETWORK = frozenset({"offline", "timeout", "not_found", "refused", "cut_off"})
"""Reasons that lie with the network or the far end, not with this box."""

_CHUNK = 1 << 16
_CONNECT_SECONDS = 10.0


async def fetch(
    url: str,
    manifest: Manifest,
    part: Path,
    *,
    timeout: float,  # noqa: ASYNC109 - aiohttp keeps it
    progress: Progress | None = None,
) -> None:
    """Bring a file to ``part``, starting from what is there, until it is whole and checked.

    Raises:
        PartFailed: ``reason`` is ``offline``, ``timeout``, ``not_found``, ``refused``,
            ``cut_off`` (what came is kept, the next try goes on from there), ``wrong_size``,
            ``wrong_digest`` (what came is deleted), ``disk_full``, ``not_writable`` or ``busy``.

    """
    where = without_credentials(url)
    try:
        with _open(part) as file:
            await _fill(url, manifest, file, timeout, progress or (lambda _done, _all: None))
            _verify(manifest, file, where)
    except PartFailed as error:
        if error.reason in {"wrong_size", "wrong_digest"}:
            _forget(part)  # it can never become right by going on from here
        raise
    except TimeoutError as error:
        raise _failed(manifest, where, f"no end after {timeout:g} s", "timeout") from error
    except aiohttp.ClientPayloadError as error:
        raise _failed(manifest, where, "the connection broke off", "cut_off") from error
    except (aiohttp.ClientError, ValueError) as error:
        text = without_credentials(str(error)) or type(error).__name__
        raise _failed(manifest, where, text, "offline") from error
    except OSError as error:
        raise _unwritten(error, manifest, part) from error


def _unwritten(error: OSError, manifest: Manifest, part: Path) -> PartFailed:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    if full:
        _forget(part)  # a box that keeps pictures needs the room more than the next try does
    return PartFailed(
        f"{manifest.id} cannot be written to {part.parent}: {error.strerror}",
        hint=f"make room for {manifest.bytes} bytes" if full else "may Edge write there?",
        reason="disk_full" if full else "not_writable",
    )


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)


def _open(part: Path) -> BufferedRandom:
    """Open the part for this process alone."""
    part.parent.mkdir(parents=True, exist_ok=True)
    file = part.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise PartFailed(
            f"{part.stem} is being fetched by another process", reason="busy"
        ) from error
    return file


async def _fill(
    url: str, manifest: Manifest, file: BufferedRandom, seconds: float, progress: Progress
) -> None:
    have = file.seek(0, os.SEEK_END)
    if have > manifest.bytes:
        file.truncate(0)
        have = 0
    progress(have, manifest.bytes)
    if have == manifest.bytes:
        return
    limits = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, _CONNECT_SECONDS))
    headers = {"Range": f"bytes={have}-"} if have else {}
    async with (
        aiohttp.ClientSession(timeout=limits, trust_env=True, auto_decompress=False) as session,
        session.get(url, headers=headers | {"Accept-Encoding": "identity"}) as reply,
    ):
        where = without_credentials(url)
        _judge(reply, manifest, where)
        if reply.status != 206 or not _starts_at(reply, have):
            # The far end does not resume: it sends everything.
            file.truncate(0)
            have = 0
        if reply.content_length is not None and have + reply.content_length != manifest.bytes:
            raise _wrong_size(manifest, where, str(have + reply.content_length))
        async for chunk in reply.content.iter_chunked(_CHUNK):
            have += len(chunk)
            if have > manifest.bytes:
                raise _wrong_size(manifest, where, "more")
            file.write(chunk)
            progress(have, manifest.bytes)


def _starts_at(reply: aiohttp.ClientResponse, have: int) -> bool:
    return reply.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _judge(reply: aiohttp.ClientResponse, manifest: Manifest, where: str) -> None:
    if reply.status in {404, 410}:
        raise _failed(manifest, where, f"HTTP {reply.status}, the file is gone", "not_found")
    if reply.status not in {200, 206}:
        raise _failed(manifest, where, f"HTTP {reply.status} {reply.reason}", "refused")


def _verify(manifest: Manifest, file: BufferedRandom, where: str) -> None:
    file.flush()
    if file.seek(0, os.SEEK_END) < manifest.bytes:
        raise _failed(manifest, where, "the connection ended early", "cut_off")
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != manifest.sha256:
        what = f"wrong digest: expected {manifest.sha256}, got {digest}"
        raise _failed(manifest, where, what, "wrong_digest")
    os.fsync(file.fileno())


def _wrong_size(manifest: Manifest, where: str, got: str) -> PartFailed:
    what = f"wrong size: expected {manifest.bytes} bytes, got {got}"
    return _failed(manifest, where, what, "wrong_size")


def _failed(manifest: Manifest, where: str, what: str, reason: str) -> PartFailed:
    return PartFailed(
        f"{manifest.id} could not be fetched from {where}: {what}",
        hint="try again; --url names another address of the same file; without a network: "
        "edge model import FILE",
        reason=reason,
    )
