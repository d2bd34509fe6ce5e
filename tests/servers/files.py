"""A real HTTP server for one file, which resumes, breaks off, stalls or refuses on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from tests.places import free_port


@dataclass(slots=True)
class FileServer:
    """One file at ``url``. The attributes say how it behaves; they may be changed at any time."""

    port: int
    body: bytes = b""
    #: answer Range requests; False: always send everything
    resumes: bool = True
    #: break the connection off after so many bytes of one reply
    breaks_after: int | None = None
    #: send nothing and wait, until the client gives up
    stalls: bool = False
    #: send Content-Length; False: chunks without an end known beforehand
    says_length: bool = True
    status: int = 200
    #: the ``Range`` header of every request, empty where there was none
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/model.onnx"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        wanted = request.headers.get("Range", "")
        self.asked.append(wanted)
        if self.stalls:
            await asyncio.sleep(60)
        if self.status != 200:
            return web.Response(status=self.status)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.resumes else 0
        reply = web.StreamResponse(status=206 if start else 200)
        rest = self.body[start:]
        if self.says_length:
            reply.content_length = len(rest)
        if start:
            reply.headers["Content-Range"] = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        await reply.prepare(request)
        if self.breaks_after is not None and self.breaks_after < len(rest):
            await reply.write(rest[: self.breaks_after])
            assert request.transport is not None
            request.transport.close()
            return reply
        await reply.write(rest)
        return reply


@pytest.fixture
async def file_server() -> AsyncIterator[FileServer]:
    server = FileServer(free_port())
    app = web.Application()
    app.router.add_get("/model.onnx", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", server.port).start()
    yield server
    await runner.cleanup()
