"""An S3 server that misbehaves as told: answers that a sound server gives on bad days only."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass
class Answer:
    """One answer; ``code`` is put into S3's XML. Status 0 cuts the connection instead."""

    status: int
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def content(self) -> bytes:
        if self.body is not None:
            return self.body
        return f"<?xml version='1.0'?><Error><Code>{self.code}</Code></Error>".encode()


PLAIN = Answer(200, headers={"Content-Type": "application/xml"}, body=b"<VersioningConfiguration/>")
"""What a bucket without versions says of itself."""
STORED = Answer(200, headers={"ETag": '"0"'}, body=b"")


class OddS3:
    """Give ``answer`` a function of method, path and headers."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answer: Callable[[str, str, dict[str, str]], Answer] = lambda *_: STORED
        #: method, path, headers of each request
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                owner.seen.append((self.command, self.path, headers))
                answer = owner.answer(self.command, self.path, headers)
                if not answer.status:
                    self.close_connection = True
                    return
                body = b"" if self.command == "HEAD" else answer.content()
                self.send_response_only(answer.status)
                for name, value in {"Content-Type": "application/xml", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_HEAD = do_DELETE = handle_any  # noqa: N815 (names of the base class)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="odd s3"
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def odd_s3() -> Iterator[OddS3]:
    """An odd server over http."""
    server = OddS3()
    yield server
    server.close()


@pytest.fixture
def odd_https(tmp_path: Path) -> Iterator[tuple[OddS3, Path]]:
    """An odd server over https, and the file with its CA."""
    import subprocess

    from tests.places import need

    certificate, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *(need("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=odd"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key)),
            *("-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server = OddS3(tls)
    yield server, certificate
    server.close()
