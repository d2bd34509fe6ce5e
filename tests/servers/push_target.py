"""Somewhere that a gateway pushes to: it answers like the hook, and keeps what it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit


class PushTarget(ThreadingHTTPServer):
    """Takes what shows ``token``; ``keys`` are those of the objects it was told of."""

    daemon_threads = True

    def __init__(self, token: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self.records: list[dict[str, object]] = []
        self.keys: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: PushTarget
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self._allowed():  # kept first: whoever is answered may look at once
            for one in json.loads(body)["Records"]:
                self.server.records.append(one)
                self.server.keys.append(one["s3"]["object"]["key"])
        self._answer()

    def _allowed(self) -> bool:
        given = parse_qs(urlsplit(self.path).query).get("token", [""])[0]
        return given == self.server.token

    def _answer(self) -> None:
        self.send_response(204 if self._allowed() else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
        """Keep quiet."""


@contextmanager
def push_target(token: str = "") -> Iterator[PushTarget]:
    """Run one on a free port."""
    server = PushTarget(token)
    thread = Thread(target=server.serve_forever, args=(0.01,), name="push target")
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
