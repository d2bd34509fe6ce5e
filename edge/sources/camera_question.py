"""A short conversation with a network camera: one question, or a play of one packet.

RTSP (RFC 2326) ``DESCRIBE``, ``SETUP``, ``PLAY``, ``TEARDOWN`` over TCP; HTTP ``GET``. Credentials
are sent when the camera asks for them, and not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from edge.errors import PartFailed
from edge.sources.camera_address import Address
from edge.sources.camera_login import answer

_LIMIT = 64 * 1024
"""Bytes of one line, and of one description, that are read at most."""
_CONNECT_TIMEOUT = 3.0
_VIDEO_CONTROL = re.compile(r"^m=video.*?^a=control:(\S+)", re.MULTILINE | re.DOTALL)


@dataclass(slots=True)
class Answer:
    """What a camera answered."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    #: the values of all ``WWW-Authenticate`` headers
    challenges: list[str] = field(default_factory=list)
    body: str = ""


class Conversation:
    """An open connection to a camera."""

    def __init__(
        self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._address = address
        self._reader = reader
        self._writer = writer
        self._number = 0
        self._challenges: list[str] = []

    async def ask(self) -> Answer:
        """Ask for the stream's description (RTSP) or for the stream itself (HTTP).

        Raises:
            OSError, EOFError: it broke off. ValueError: it is no RTSP or HTTP server.

        """
        method = "DESCRIBE" if self._address.kind == "rtsp" else "GET"
        reply = await self._send(method, _uri(self._address), "Accept: application/sdp, */*")
        if reply.status == 401 and self._address.user:
            self._challenges = reply.challenges
            reply = await self._send(method, _uri(self._address), "Accept: application/sdp, */*")
        return reply

    async def first_bytes(self, described: Answer) -> None:
        """Wait until the stream that was asked for really sends something.

        Raises:
            OSError, EOFError, ValueError: as in ``ask``.

        """
        if self._address.kind == "http":
            await self._reader.readexactly(1)
            return
        base = described.headers.get("content-base") or _uri(self._address)
        found = _VIDEO_CONTROL.search(described.body)
        control = found[1] if found else "*"
        if "://" not in control:
            control = base if control == "*" else f"{base.rstrip('/')}/{control}"
        setup = await self._send("SETUP", control, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        session = "Session: " + setup.headers.get("session", "").partition(";")[0]
        await self._send("PLAY", base, session)
        await self._packet()
        self._write("TEARDOWN", base, session)
        await self._writer.drain()

    async def _packet(self) -> None:
        """Read interleaved packets up to the first of the picture (channel 0)."""
        while True:
            head = await self._reader.readexactly(4)
            if head[:1] != b"$":
                raise ValueError("no interleaved packet")
            await self._reader.readexactly(int.from_bytes(head[2:], "big"))
            if head[1] == 0:
                return

    def _write(self, method: str, uri: str, header: str) -> None:
        address = self._address
        self._number += 1
        lines = [f"{method} {uri} {'RTSP/1.0' if address.kind == 'rtsp' else 'HTTP/1.1'}"]
        lines += [f"CSeq: {self._number}"] if address.kind == "rtsp" else []
        lines += [f"Host: {address.host}:{address.port}"] if address.kind == "http" else []
        lines += ["User-Agent: edge", header]
        if self._challenges and address.user and address.password:
            login = answer(self._challenges, method, uri, address.user, address.password)
            lines += [f"Authorization: {login.reveal()}"] if login else []
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def _send(self, method: str, uri: str, header: str) -> Answer:
        self._write(method, uri, header)
        await self._writer.drain()
        version, _, rest = (await self._status_line()).decode("latin-1").partition(" ")
        if not version.startswith(("RTSP/", "HTTP/")):
            raise ValueError("neither RTSP nor HTTP")
        reply = Answer(int(rest.split(" ")[0]))
        for _ in range(100):
            line = (await self._reader.readline()).decode("latin-1").strip()
            if not line:
                break
            name, _, value = line.partition(":")
            reply.headers[name.strip().lower()] = value.strip()
            if name.strip().lower() == "www-authenticate":
                reply.challenges.append(value.strip())
        reply.body = await self._body(reply)
        return reply

    async def _status_line(self) -> bytes:
        """Read the first line of a reply; packets of the picture may come before it."""
        while (first := await self._reader.readexactly(1)) == b"$":
            head = await self._reader.readexactly(3)
            await self._reader.readexactly(int.from_bytes(head[1:], "big"))
        return first + await self._reader.readline()

    async def _body(self, reply: Answer) -> str:
        """Read the body where a short text is announced; a stream has no end."""
        size = int(reply.headers.get("content-length", "0"))
        kind = reply.headers.get("content-type", "")
        if reply.status == 401 and reply.headers.get("transfer-encoding", "").lower() == "chunked":
            await self._reader.readuntil(b"0\r\n\r\n")
        elif reply.status == 401 or kind.startswith(("text/", "application/")):
            return (await self._reader.readexactly(min(size, _LIMIT))).decode("latin-1")
        return ""


@contextlib.asynccontextmanager
async def connected(address: Address, *, verify: bool) -> AsyncIterator[Conversation]:
    """Hold a connection to the camera.

    Raises:
        PartFailed: ``refused``, ``unreachable``, ``unknown_name`` or ``tls``, in words.

    """
    secure = await asyncio.to_thread(_tls, verify=verify) if address.tls else None
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            reader, writer = await asyncio.open_connection(
                address.host, address.port, ssl=secure, limit=_LIMIT
            )
    except OSError as error:
        raise _unconnected(address, error) from error
    try:
        yield Conversation(address, reader, writer)
    finally:
        writer.transport.abort()


def _unconnected(address: Address, error: OSError) -> PartFailed:
    """Say in words why there is no connection."""
    where = f"{address.host}:{address.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return PartFailed(
            f"its certificate is not trusted: {error.verify_message}",
            hint="install the certificate's authority on this box, or set tls_verify = false "
            "(then anyone on the network may pretend to be the camera)",
            reason="tls",
        )
    if isinstance(error, ssl.SSLError):
        return PartFailed(
            f"{where} does not speak TLS",
            hint="check the port, or write rtsp:// or http:// without the s",
            reason="tls",
        )
    if isinstance(error, ConnectionRefusedError):
        return PartFailed(
            f"nobody listens at {where}",
            hint="the camera is starting, its service is off, or the port is another one",
            reason="refused",
        )
    if isinstance(error, socket.gaierror):
        return PartFailed(
            f"the name {address.host} is not known",
            hint="check the name, or write the camera's IP address",
            reason="unknown_name",
        )
    return PartFailed(
        f"{address.host} cannot be reached",
        hint="check its power, its cable and the address",
        reason="unreachable",
    )


def _tls(*, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _uri(address: Address) -> str:
    """Return what stands in the request's first line: never user and password before the ``@``."""
    parts = urlsplit(address.url.reveal())
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if address.kind == "http":
        return path
    host = f"[{address.host}]" if ":" in address.host else address.host
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{path if parts.path else ''}"
