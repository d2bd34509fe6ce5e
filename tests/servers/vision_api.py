"""A stand-in for ``images:annotate``, after the public reference of Google's Cloud Vision API (v1).

It refuses what the real one refuses: a wrong key, a body of another shape, a picture that is none.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from tests.places import free_port

PATH = "/v1/images:annotate"
KEY = "AIza-stand/in+key"
#: what it sees in every picture, not in order
LABELS: list[dict[str, Any]] = [
    {"mid": "/m/01yrx", "description": "Cat", "score": 0.91234567, "topicality": 0.91234567},
    {"mid": "/m/0bt9lr", "description": "Dög", "score": 0.98, "topicality": 0.5},
    {"mid": "/m/068hy", "description": "Pet", "score": 0.7, "topicality": 0.7},
]


def error_body(code: int, message: str, status: str, reason: str = "") -> dict[str, Any]:
    """Return the body of a refusal as Google's services write it."""
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    if reason:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": kind, "reason": reason, "domain": "googleapis.com"}]
    return {"error": error}


@dataclass(slots=True)
class VisionApi:
    """The service at ``url``. The attributes say how it behaves; they may be changed any time."""

    port: int
    scheme: str = "http"
    #: answered in the place of what is right: status, headers, body
    instead: tuple[int, dict[str, str], bytes] | None = None
    #: per picture, in the place of annotations
    picture_error: dict[str, Any] | None = None
    #: cut the connection after the request was read
    cuts: bool = False
    #: query, headers and JSON of each request
    asked: list[tuple[dict[str, str], dict[str, str], Any]] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{PATH}"

    def answers(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        """Answer everything like this from now on; ``body`` is bytes or becomes JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.instead = (status, headers or {}, raw)

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        app = web.Application(client_max_size=20 * 2**20)
        app.router.add_post(PATH, self._annotate)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        self.scheme = "https" if tls else "http"
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=tls).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _annotate(self, request: web.Request) -> web.StreamResponse:
        said = await request.json()
        self.asked.append((dict(request.query), dict(request.headers), said))
        if self.cuts:
            assert request.transport is not None
            request.transport.close()
            await asyncio.sleep(0)
        if self.instead is not None:
            status, headers, body = self.instead
            return web.Response(status=status, headers=headers, body=body)
        if request.query.get("key") != KEY:
            words = "API key not valid. Please pass a valid API key."
            refused = error_body(400, words, "INVALID_ARGUMENT", "API_KEY_INVALID")
            return web.json_response(refused, status=400)
        return web.json_response({"responses": [self._one(entry) for entry in said["requests"]]})

    def _one(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self.picture_error is not None:
            return {"error": self.picture_error}
        try:
            picture = base64.b64decode(asked["image"]["content"], validate=True)
        except binascii.Error:
            picture = b""
        if not picture.startswith(b"\xff\xd8"):
            return {"error": {"code": 3, "message": "Bad image data."}}
        said: dict[str, Any] = {}
        for feature in asked["features"]:
            if feature["type"] == "LABEL_DETECTION":
                said["labelAnnotations"] = LABELS[: feature["maxResults"]]
            if feature["type"] == "SAFE_SEARCH_DETECTION":
                said["safeSearchAnnotation"] = {"adult": "VERY_UNLIKELY"}
        return said


@pytest.fixture
async def vision_api() -> AsyncIterator[VisionApi]:
    """A stand-in that runs; ``stop`` and ``start`` it as you like."""
    server = VisionApi(free_port())
    await server.start()
    yield server
    await server.stop()
