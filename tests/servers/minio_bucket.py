"""A stand-in for one bucket of a MinIO: it is listed, tells whom it notifies, and streams events.

After PROTOCOLS 2.1 and 2.2: ``Server: MinIO`` on every answer, targets as queues with an ARN of
MinIO's own, Listen with pings. Signatures are not checked here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from aiohttp import web

from tests.servers.minio_listen import PING, event

_XML = "http://s3.amazonaws.com/doc/2006-03-01/"


class MinioBucket:
    """The server; its attributes say how it behaves."""

    def __init__(self) -> None:
        self.port = 0
        #: None: there is no bucket
        self.bucket: str | None = "frames"
        self.keys: set[str] = set()
        #: ARN and inner XML of each notification
        self.queues: list[tuple[str, str]] = []
        self.server = "MinIO"
        #: of every answer; empty: the right one
        self.date = ""
        self.readable = True
        self.writes: list[tuple[str, str]] = []
        self._listeners: list[asyncio.Queue[bytes]] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        _, bucket, *rest = request.path.split("/", 2)
        if not bucket:
            return self._say(405, "<Error><Code>MethodNotAllowed</Code></Error>")
        if bucket != self.bucket:
            return self._say(404, "<Error><Code>NoSuchBucket</Code></Error>")
        if rest and rest[0]:
            return self._object(request, rest[0])
        if "events" in request.query:
            return await self._listen(request)
        if "notification" in request.query and request.method == "GET":
            inner = "".join(
                f"<QueueConfiguration><Id>1</Id>{more}<Queue>{arn}</Queue></QueueConfiguration>"
                for arn, more in self.queues
            )
            outer = "NotificationConfiguration"
            return self._say(200, f'<{outer} xmlns="{_XML}">{inner}</{outer}>')
        if request.method not in {"GET", "HEAD"}:
            self.writes.append((request.method, request.path_qs))
        inner = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in sorted(self.keys)[:1])
        return self._say(200, f'<ListBucketResult xmlns="{_XML}">{inner}</ListBucketResult>')

    def _object(self, request: web.Request, key: str) -> web.Response:
        if request.method == "PUT":
            self.keys.add(key)
            self.writes.append(("PUT", key))
            for listener in self._listeners:
                listener.put_nowait(event(key))
        elif request.method == "DELETE":
            self.keys.discard(key)
        elif not self.readable:
            return self._say(403)
        return self._say(200 if request.method != "HEAD" or key in self.keys else 404)

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        if self.server != "MinIO":
            return self._say(200, "<ListBucketResult/>")
        response = web.StreamResponse(headers=self._headers("text/event-stream"))
        waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners.append(waiting)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                line = PING
                with contextlib.suppress(TimeoutError):
                    line = await asyncio.wait_for(waiting.get(), 0.1)
                await response.write(line)
        return response

    def _say(self, status: int, body: str = "") -> web.Response:
        return web.Response(status=status, text=body, headers=self._headers("application/xml"))

    def _headers(self, kind: str) -> dict[str, str]:
        date = {"Date": self.date} if self.date else {}
        number = "18A1B2C3D4E5F607"
        return {"Server": self.server, "Content-Type": kind, "X-Amz-Request-Id": number, **date}


@contextmanager
def minio_bucket() -> Iterator[MinioBucket]:
    """Run one in a thread of its own."""
    fake, ready, stop = MinioBucket(), Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", fake.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        fake.port = runner.addresses[0][1]
        loops.append(asyncio.get_running_loop())
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = Thread(target=lambda: asyncio.run(serve()), name="minio bucket")
    thread.start()
    try:
        assert ready.wait(10)
        yield fake
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(10)
