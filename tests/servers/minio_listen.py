"""A stand-in for MinIO's ListenBucketNotification, after its source, with its failures.

The head leaves with the first byte: an event, or a ping after ``ping`` seconds (a blank each half
second where no ping was asked for). Nothing is kept for those who do not listen.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from edge.sources.buckets.sigv import Keys, Request, sign_v4

ACCESS_KEY, SECRET_KEY = "minioadmin", "minio-secret-0123"
_HEAD = (
    b"HTTP/1.1 200 OK\r\nCache-Control: no-cache\r\nContent-Type: text/event-stream\r\n"
    b"Server: MinIO\r\nX-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n"
)
PING = b'{"Records":null}\n'


def event(key: str, *, sequencer: str = "18A1B2C3D4E5F607", etag: str = "") -> bytes:
    """Return an event as MinIO writes it, one line."""
    etag = etag or hashlib.md5(key.encode()).hexdigest()
    record = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "awsRegion": "",
        "eventTime": "2026-01-02T03:04:05.678Z",
        "eventName": "s3:ObjectCreated:Put",
        "userIdentity": {"principalId": ACCESS_KEY},
        "requestParameters": {
            "principalId": ACCESS_KEY,
            "region": "",
            "sourceIPAddress": "10.0.0.9",
        },
        "responseElements": {
            "x-amz-id-2": "dd9025bab4ad464b049177c95eb6ebf374d3b3fd1af9251148b658df7ac2e3e8",
            "x-amz-request-id": hashlib.md5((key + sequencer).encode()).hexdigest()[:16].upper(),
            "x-minio-deployment-id": "2a3b",
            "x-minio-origin-endpoint": "http://10.0.0.2:9000",
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "Config",
            "bucket": {
                "name": "frames",
                "ownerIdentity": {"principalId": ACCESS_KEY},
                "arn": "arn:aws:s3:::frames",
            },
            "object": {
                "key": key,
                "size": 1,
                "eTag": etag,
                "contentType": "image/jpeg",
                "userMetadata": {"content-type": "image/jpeg"},
                "sequencer": sequencer,
            },
        },
        "source": {"host": "10.0.0.9", "port": "", "userAgent": "MinIO (linux; amd64)"},
    }
    return json.dumps({"Records": [record]}, ensure_ascii=False).encode() + b"\n"


async def until(true: Callable[[], bool], patience: float = 20.0) -> None:
    """Wait until something is true; fail when it has not happened in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    while True:
        if true():
            return
        assert loop.time() < end, "it did not happen"
        await asyncio.sleep(0.005)


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


@dataclass(slots=True)
class Listener:
    """One who listens: what is written to it."""

    writer: asyncio.StreamWriter
    headed: bool = False

    def send(self, body: bytes) -> None:
        self.raw(chunk(body))

    def raw(self, wire: bytes) -> None:
        head = b"" if self.headed else _HEAD + b"\r\n"
        self.headed = True
        self.writer.write(head + wire)

    def reset(self) -> None:
        option = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
        self.writer.transport.abort()


@dataclass(slots=True)
class FakeMinio:
    """The server. Its attributes say how it behaves, and may be changed at any time."""

    port: int = 0
    bucket: str = "frames"
    #: answered in the place of the stream: everything that goes over the wire
    instead: bytes = b""
    #: False: pings stop, the connection stays
    pings: bool = True
    listeners: list[Listener] = field(default_factory=list)
    #: queries of the requests that were let in
    asked: list[list[tuple[str, str]]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    _server: asyncio.Server | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        for listener in self.listeners:
            listener.writer.close()
        self.listeners.clear()
        if self._server is not None:
            self._server.close()

    def refuse(self, status: int, code: str) -> None:
        """Answer every request like this from now on."""
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
            f"<Message>no</Message><Resource>/frames</Resource></Error>"
        ).encode()
        self.instead = (
            f"HTTP/1.1 {status} X\r\nContent-Type: application/xml\r\nServer: MinIO\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def put(self, *keys: str) -> None:
        """Tell all who listen; who does not, never learns of it."""
        for listener in self._there():
            for key in keys:
                listener.send(event(key))

    async def listened(self, count: int = 1) -> Listener:
        """Wait until so many listen."""
        await until(lambda: len(self._there()) >= count)
        return self._there()[-1]

    def _there(self) -> list[Listener]:
        return [one for one in self.listeners if not one.writer.is_closing()]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.requests += 1
                refusal = self.instead or self._judge(head)
                if not refusal:
                    break
                writer.write(refusal)
                await writer.drain()
            await self._stream(writer)
        writer.close()

    def _judge(self, head: str) -> bytes:
        """Check what MinIO checks; nothing: all is well."""
        line, *rest = head.split("\r\n")
        method, target, _ = line.split(" ")
        url = urlsplit(target)
        query = parse_qsl(url.query, keep_blank_values=True)
        self.headers = {
            name.lower(): value for name, _, value in (one.partition(": ") for one in rest if one)
        }
        when = datetime.strptime(self.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        asked = Request(
            method=method, host=self.headers["host"], path=unquote(url.path), query=query
        )
        right = sign_v4(asked, Keys(access_key=ACCESS_KEY, secret_key=SECRET_KEY), when)
        before, status, code = self.instead, 0, ""
        if right["Authorization"] != self.headers["authorization"]:
            status, code = 403, "SignatureDoesNotMatch"
        elif url.path != f"/{self.bucket}":
            status, code = 404, "NoSuchBucket"
        elif len([name for name, _ in query if name == "prefix"]) > 1:
            status, code = 400, "InvalidArgument"
        if status:
            self.refuse(status, code)
            refusal, self.instead = self.instead, before
            return refusal
        self.asked.append(query)
        return b""

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        ping = dict(self.asked[-1]).get("ping")
        listener = Listener(writer)
        self.listeners.append(listener)
        try:
            while not writer.is_closing():
                await asyncio.sleep(float(ping) if ping else 0.5)
                if self.pings:
                    listener.send(PING if ping else b" ")
                    await writer.drain()
        finally:
            with contextlib.suppress(ValueError):
                self.listeners.remove(listener)


@pytest.fixture
async def minio() -> AsyncIterator[FakeMinio]:
    """Return a running stand-in."""
    server = FakeMinio()
    await server.start()
    yield server
    await server.stop()
