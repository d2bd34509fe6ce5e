"""Why a camera brings no picture: OpenCV does not say, so it is asked a small question.

One RTSP ``DESCRIBE`` (RFC 2326) or HTTP ``GET`` at most, and once more with the credentials if the
camera asks for them. A device or file is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from edge.config.sources import CameraConfig
from edge.errors import PartFailed
from edge.sources.camera_address import Address
from edge.sources.camera_login import answer

_PROBE_EVERY = 0.2
_CONNECT_TIMEOUT = 1.0
_ANSWER_TIMEOUT = 3.0
_LIMIT = 64 * 1024
"""Bytes of one line, and of one description, that are read at most."""

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class _Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    challenges: list[str] = field(default_factory=list)
    body: str = ""


async def until_it_answers(host: str, port: int) -> None:
    """Return as soon as a TCP connection to the camera succeeds.

    A new attempt begins every 0.2 s while older ones still hang, so that a cable plugged in again
    is noticed at once.
    """
    answered = asyncio.Event()
    async with asyncio.TaskGroup() as attempts:
        while not answered.is_set():
            attempts.create_task(_connect(host, port, answered), name="camera probe")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(answered.wait(), _PROBE_EVERY)


async def _connect(host: str, port: int, answered: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            _, writer = await asyncio.open_connection(host, port)
        answered.set()
        writer.transport.abort()


async def find_fault(address: Address, config: CameraConfig) -> PartFailed | None:
    """Ask the camera what is wrong; None where all is as it should be as far as one can see."""
    if not address.network:
        return await asyncio.to_thread(_look_at, address)
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT), _connected(address, config) as streams:
            ask = _ask_rtsp if address.kind == "rtsp" else _ask_http
            reply = await ask(address, streams, "")
            if reply.status == 401 and address.user and address.password:
                reply = await _log_in(address, streams, reply)
    except PartFailed as fault:
        return fault
    except (OSError, EOFError, ValueError):  # TimeoutError is an OSError
        return PartFailed(
            "it accepts connections but gives no answer that can be understood",
            hint="it hangs, or something else listens there: restart it, check the port",
            reason="timeout",
        )
    return _judge_rtsp(address, reply) if address.kind == "rtsp" else _judge_http(address, reply)


@contextlib.asynccontextmanager
async def _connected(address: Address, config: CameraConfig) -> AsyncIterator[_Streams]:
    """Hold a connection to the camera.

    Raises:
        PartFailed: ``refused``, ``unreachable`` or ``tls``, each in its own words.

    """
    secure = await asyncio.to_thread(_tls, config.tls_verify) if address.tls else None
    where = f"{address.host}:{address.port}"
    try:
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=secure, limit=_LIMIT
        )
    except ssl.SSLCertVerificationError as error:
        raise PartFailed(
            f"its certificate is not trusted: {error.verify_message}",
            hint="install the certificate's authority on this box, or set tls_verify = false "
            "(then anyone on the network may pretend to be the camera)",
            reason="tls",
        ) from error
    except ssl.SSLError as error:
        raise PartFailed(
            f"{where} does not speak TLS",
            hint="check the port, or write rtsp:// or http:// without the s",
            reason="tls",
        ) from error
    except ConnectionRefusedError as error:
        raise PartFailed(
            f"nobody listens at {where}",
            hint="the camera is starting, its service is off, or the port is another one",
            reason="refused",
        ) from error
    except socket.gaierror as error:
        raise PartFailed(
            f"the name {address.host} is not known",
            hint="check the name, or write the camera's IP address",
            reason="unreachable",
        ) from error
    except OSError as error:
        raise PartFailed(
            f"{address.host} cannot be reached",
            hint="check its power, its cable and the address",
            reason="unreachable",
        ) from error
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def _tls(verify: bool) -> ssl.SSLContext:  # noqa: FBT001 (a key of the configuration)
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _log_in(address: Address, streams: _Streams, refusal: _Answer) -> _Answer:
    """Ask again with the credentials. A second refusal means that they are wrong."""
    if not address.user or not address.password:
        return refusal
    rtsp = address.kind == "rtsp"
    uri = _request_uri(address)
    credentials = answer(
        refusal.challenges, "DESCRIBE" if rtsp else "GET", uri, address.user, address.password
    )
    if credentials is None:
        return refusal
    line = f"Authorization: {credentials.reveal()}\r\n"
    return await (_ask_rtsp if rtsp else _ask_http)(address, streams, line)


def _request_uri(address: Address) -> str:
    """Return what stands in the request's first line: never user and password before the ``@``."""
    parts = urlsplit(address.url.reveal())
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if address.kind == "http":
        return path
    host = f"[{address.host}]" if ":" in address.host else address.host
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{path if parts.path else ''}"


async def _ask_rtsp(address: Address, streams: _Streams, more: str) -> _Answer:
    number = 2 if more else 1
    return await _exchange(
        streams,
        f"DESCRIBE {_request_uri(address)} RTSP/1.0\r\nCSeq: {number}\r\n"
        f"Accept: application/sdp\r\nUser-Agent: edge\r\n{more}\r\n",
        body=True,
    )


async def _ask_http(address: Address, streams: _Streams, more: str) -> _Answer:
    return await _exchange(
        streams,
        f"GET {_request_uri(address)} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n"
        f"User-Agent: edge\r\nAccept: */*\r\n{more}\r\n",
        body=bool(not more),
    )


async def _exchange(streams: _Streams, request: str, *, body: bool) -> _Answer:
    """Send a request, read the head of the answer, and its body where one is announced.

    Raises:
        ValueError: not the answer of an RTSP or HTTP server. OSError, EOFError: it broke off.

    """
    reader, writer = streams
    writer.write(request.encode())
    await writer.drain()
    version, _, rest = (await reader.readline()).decode("latin-1").partition(" ")
    if not version.startswith(("RTSP/", "HTTP/")):
        raise ValueError("neither RTSP nor HTTP")
    reply = _Answer(int(rest.split(" ")[0]))
    for _ in range(100):
        line = (await reader.readline()).decode("latin-1").strip()
        if not line:
            break
        name, _, value = line.partition(":")
        reply.headers[name.strip().lower()] = value.strip()
        if name.strip().lower() == "www-authenticate":
            reply.challenges.append(value.strip())
    size = min(int(reply.headers.get("content-length", "0")), _LIMIT)
    if body and size and reply.headers.get("content-type", "").startswith(("text/", "application")):
        reply.body = (await reader.readexactly(size)).decode("latin-1")
    return reply


def _judge_rtsp(address: Address, reply: _Answer) -> PartFailed | None:
    if reply.status == 200:
        if "m=video" in reply.body:
            return None
        return PartFailed(
            "its stream has no video",
            hint="check the path: this one is sound or data only",
            reason="no_video",
        )
    return _judge_status(address, reply.status)


def _judge_http(address: Address, reply: _Answer) -> PartFailed | None:
    kind = reply.headers.get("content-type", "").lower()
    if reply.status in (301, 302, 303, 307, 308):
        if not reply.headers.get("location", "").lower().startswith("https:"):
            return None
        return PartFailed(
            "it leads on to an encrypted address",
            hint="write https:// instead of http://",
            reason="not_found",
        )
    if reply.status != 200:
        return _judge_status(address, reply.status)
    if kind.startswith(("text/", "application/json", "application/xml")):
        return PartFailed(
            f"it sends {kind.partition(';')[0]}, no video",
            hint="check the path: this one is a page; the camera's manual names the MJPEG stream",
            reason="no_video",
        )
    return None


def _judge_status(address: Address, status: int) -> PartFailed:
    if status in (401, 403) and address.user:
        return PartFailed(
            f"it refuses the user or the password ({status})",
            hint="check both; after several wrong tries some cameras lock the account for a while",
            reason="auth",
        )
    if status in (401, 403):
        return PartFailed(
            f"it asks for a user and a password ({status})",
            hint="put them into the url: rtsp://user:password@…, best as ${secret:name}",
            reason="auth",
        )
    if status == 404:
        return PartFailed(
            "it has no such stream (404)",
            hint="check the path; the camera's page or manual names it",
            reason="not_found",
        )
    return PartFailed(
        f"it answers {status} instead of video",
        hint="it may be starting, or serve too many viewers already",
        reason="not_found",
    )


def _look_at(address: Address) -> PartFailed | None:
    """Look at a device or file, which may block on a network drive."""
    path = address.url.reveal()
    try:
        facts = os.stat(path)  # noqa: PTH116 (a device is no Path matter)
    except OSError as error:
        what = "device" if address.kind == "v4l2" else "file"
        hint = (
            "is the camera plugged in? `ls /dev/video*` lists what is there"
            if address.kind == "v4l2"
            else "check the path, and that the service may read the folder"
        )
        text = f"no such {what}" if isinstance(error, FileNotFoundError) else f"{error.strerror}"
        return PartFailed(f"{text}: {path}", hint=hint, reason=f"no_{what}")
    if not os.access(path, os.R_OK):
        return PartFailed(
            f"no permission to read {path}",
            hint="put the service's user into the group that may (for devices: video)",
            reason="no_device" if address.kind == "v4l2" else "no_file",
        )
    if address.kind == "v4l2":
        return None if stat.S_ISCHR(facts.st_mode) else _not_what_it_should_be(path)
    if stat.S_ISREG(facts.st_mode) and facts.st_size:
        return PartFailed(
            f"no video in {path} that can be played",
            hint="it is damaged, was cut off while it was written, or is no video",
            reason="no_video",
        )
    return _not_what_it_should_be(path)


def _not_what_it_should_be(path: str) -> PartFailed:
    return PartFailed(
        f"{path} is empty, or is no video file or camera",
        hint="check the path",
        reason="no_file",
    )
