"""Reading a body: how large it may be, how slow, and in which wrapping it may come."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import BodyPartReader, web
from aiohttp.http import HttpVersion11

from edge.errors import TryLater
from edge.web.problems import Refused

IDLE = 20.0
"""Seconds that a sender may pause within a body."""
JSON_MOST = 64 * 1024
WRAPPING = 16 * 1024
"""Bytes that multipart headers and boundaries may take on top of the picture."""
UPLOADS = "max_upload in [web] sets the limit"

_UNSAFE = re.compile(r"[^\w.\- ]+")


class Intake:
    """Bounds the memory of bodies that are being read: ``most`` bytes, all together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Take ``size`` bytes of the room for as long as a body is read.

        Raises:
            TryLater: others have the room now.

        """
        if self._held and self._held + size > self._most:
            raise TryLater("too many bodies come at the same time", reason="busy", after=2.0)
        self._held += size
        try:
            yield
        finally:
            self._held -= size


async def wait_before_continue(request: web.Request) -> None:
    """Leave ``Expect: 100-continue`` unanswered until ``go_on``: a refusal then saves the body."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed


async def go_on(request: web.Request) -> None:
    """Tell a client that waits for it to send the body."""
    if "Expect" in request.headers and request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


async def read_body(request: web.Request, most: int, hint: str) -> bytes:
    """Read a body of at most ``most`` bytes; ``hint`` says what sets the limit.

    Raises:
        Refused: 413 larger, 408 too slow.

    """
    return await _read(request.content.readany, most, hint)


async def read_raw(request: web.Request, most: int) -> tuple[bytes, str]:
    """Read a body that is the picture itself; its name comes from ``?name=``.

    Raises:
        Refused: 413 larger than ``most``, 408 too slow.

    """
    body = await _read(request.content.readany, most)
    return body, safe_name(request.query.get("name", ""))


async def read_multipart(request: web.Request, most: int) -> tuple[bytes, str]:
    """Read the one file of a form; other fields are passed over.

    Raises:
        Refused: 400 not a form, 408, 413, 422 no file or more than one.

    """
    found: tuple[bytes, str] | None = None
    try:
        form = await request.multipart()
        while (part := await _in_time(form.next())) is not None:
            if not isinstance(part, BodyPartReader):
                raise Refused(422, "not_one_picture", "a form within a form is not read")
            if part.filename is None and part.name not in ("image", "file"):
                await _read(part.read_chunk, WRAPPING)
                continue
            if found:
                raise Refused(422, "not_one_picture", "one picture a request: the form has more")
            found = await _read(part.read_chunk, most), safe_name(part.filename or "")
    except (ValueError, AssertionError, RuntimeError) as error:
        raise Refused(400, "bad_request", "the form could not be read") from error
    if not found:
        hint = 'send it as a file: curl -F "image=@picture.jpg"'
        raise Refused(422, "not_one_picture", "the form has no file", hint=hint)
    return found


async def read_json(request: web.Request) -> dict[str, Any]:
    """Read a small JSON object.

    Raises:
        Refused: 400 not JSON or not an object, 413.

    """
    body = await _read(request.content.readany, JSON_MOST, "")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "bad_request", "the body is not JSON") from error
    if not isinstance(value, dict):
        raise Refused(400, "bad_request", "the body is a JSON object: {…}")
    return value


def safe_name(name: str) -> str:
    """Return what is harmless of a sender's file name: no path, no control character, no markup."""
    base = name.replace("\\", "/").rpartition("/")[2]
    return _UNSAFE.sub("_", base).strip(" .")[:100]


async def _read(more: Callable[[], Awaitable[bytes]], most: int, hint: str = UPLOADS) -> bytes:
    body = bytearray()
    while chunk := await _in_time(more()):
        body += chunk
        if len(body) > most:
            raise too_large(most, hint)
    return bytes(body)


async def _in_time(work: Awaitable[Any]) -> Any:
    try:
        async with asyncio.timeout(IDLE):
            return await work
    except TimeoutError as error:
        raise Refused(408, "timeout", f"nothing came for {IDLE:g} s") from error
    except web.RequestPayloadError as error:
        raise Refused(
            400,
            "bad_request",
            "the body could not be unpacked",
            hint="check Content-Encoding and the chunks",
            # where the next request would begin is unknown
            headers={"Connection": "close"},
        ) from error


def too_large(most: int, hint: str = UPLOADS) -> Refused:
    """Return the refusal of a body that is larger than ``most`` bytes."""
    return Refused(413, "too_large", f"larger than {most} bytes", hint=hint)
