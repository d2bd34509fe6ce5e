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
