"""An HTTP camera that sends MJPEG, with faults on demand. In the test's own event loop."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from aiohttp import web

from tests.places import need


class HttpCamera:
    """``GET /video`` gives MJPEG; attributes change what it does while it runs."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self.scheme = "https" if tls else "http"
        self.size = (320, 240)
        self.fps = 20.0
        #: ``user:password`` that it wants
        self.login = ""
        self.hanging = False
        self.watched = 0
        self.sent = 0
        #: TLS connections that clients began
        self.handshakes = 0
        self._tls = tls
        if tls:
            tls.sni_callback = self._greeted
        self._redirect = ""
        self._make_runner()
        self.port = 0

    def _make_runner(self) -> None:
        app = web.Application()
        app.router.add_get("/video", self._video)
        app.router.add_get("/page", self._page)
        app.router.add_get("/away", self._away)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)

    def _greeted(self, *_: object) -> None:
        self.handshakes += 1

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/video"

    def redirect(self, url: str) -> str:
        """Let ``/away`` lead to ``url``; return the address of ``/away``."""
        self._redirect = url
        return self.url.replace("/video", "/away")

    async def start(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def restart(self, pause: float) -> None:
        """Go away with all connections, and listen again on the same port."""
        await self.stop()
        await asyncio.sleep(pause)
        self._make_runner()
        await self.start()

    async def _away(self, _: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": self._redirect})

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text="<html>a page</html>", content_type="text/html")

    async def _video(self, request: web.Request) -> web.StreamResponse:
        wanted = "Basic " + base64.b64encode(self.login.encode()).decode()
        if self.login and request.headers.get("Authorization") != wanted:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="a camera"'})
        answer = web.StreamResponse(
            headers={"Content-Type": "multipart/x-mixed-replace; boundary=frame"}
        )
        await answer.prepare(request)
        self.watched += 1
        with contextlib.suppress(ConnectionError):
            while True:
                await asyncio.sleep(1 / self.fps)
                if not self.hanging:
                    await answer.write(self._part())
        return answer

    def _part(self) -> bytes:
        self.sent += 1
        width, height = self.size
        picture = np.full((height, width, 3), (self.sent * 5) % 256, np.uint8)
        body = cv2.imencode(".jpg", picture)[1].tobytes()
        return (
            b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: "
            + str(len(body)).encode() + b"\r\n\r\n" + body + b"\r\n"
        )  # fmt: skip


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate for 127.0.0.1; return its path and its key's."""
    openssl = need("openssl", "openssl")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate, key


@pytest.fixture
async def http_camera() -> AsyncIterator[HttpCamera]:
    camera = HttpCamera(None)
    await camera.start()
    yield camera
    await camera.stop()


@pytest.fixture
async def https_camera(tmp_path: Path) -> AsyncIterator[HttpCamera]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*make_certificate(tmp_path))
    camera = HttpCamera(tls)
    await camera.start()
    yield camera
    await camera.stop()
