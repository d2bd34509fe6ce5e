"""A CloudEvents sink that can be shut and opened, and notes the ids that it got."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.places import free_port


class EventSink:
    """Answers 202; the port stays the same while it is shut."""

    def __init__(self) -> None:
        self.port = free_port()
        self.got: list[tuple[str, str]] = []
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def ids(self) -> set[str]:
        return {name for name, _ in self.got}

    def open(self) -> None:
        got = self.got

        class Take(BaseHTTPRequestHandler):
            # HTTP/1.0, the default: a connection each, so that none outlives the sink

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                got.append((self.headers["ce-id"], self.headers["ce-type"]))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Take)
        threading.Thread(target=self._server.serve_forever, name="sink", daemon=True).start()

    def shut(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
