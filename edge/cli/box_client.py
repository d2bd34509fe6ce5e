"""How commands talk to the running box: HTTP/1.1 over one connection, answers in JSON.

Redirects are not followed and proxies not used: the token goes to the box or nowhere.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import ssl
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlencode, urlsplit

import click

from edge import __version__
from edge.cli.show import config_option
from edge.errors import EdgeError, PartFailed, Rejected, TryLater

USUAL = "http://127.0.0.1:8080"
QUIET = 60.0
"""Seconds without a byte after which the box counts as gone; streams have a sign of life sooner."""
_MOST = 64 * 2**20

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Where:
    """Where the box is, and what it wants to be shown."""

    url: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """One of several things that the box found wrong with what it was sent."""

    path: str
    given: str
    message: str


class RefusedByBox(Rejected):
    """The box said no; ``reason`` is its code."""

    default_reason = "refused"
    faults: tuple[Fault, ...] = ()


def box_options(command: Command) -> Command:
    """Give a command ``--url``, ``--token`` and ``--config``, which ``box`` takes."""
    for option in (
        config_option,
        click.option(
            "--token", help="What the box wants to be shown. Else $EDGE_TOKEN, or the file's."
        ),
        click.option(
            "--url",
            metavar="URL",
            help=f"Address of the box. Else $EDGE_URL, the configuration's [web], {USUAL}.",
        ),
    ):
        command = option(command)
    return command


def where_is_box(
    url: str | None,
    token: str | None,
    config: Path | None,
    environ: Mapping[str, str] = os.environ,
) -> Where:
    """Find address and token: options first, then the environment, then the configuration.

    The configuration's token is shown only where its address is used, or where it was named.

    Raises:
        ConfigError: the configuration was named, or found, and has faults.
        Rejected: its token cannot be read.

    """
    token = token or environ.get("EDGE_TOKEN")
    if config is None:
        url = url or environ.get("EDGE_URL")
    if url and (token or config is None):
        return Where(url, token or "")
    file = _configuration(config, environ)
    if file is None:
        return Where(url or USUAL, token or "")
    found = _of_file(file, environ, token)
    return Where(url or found.url, found.token)


def _configuration(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    from edge.config.load import config_file

    file = config_file(config, environ)
    # whoever may not read the service's file still finds a box at the usual address
    return file if config is not None or os.access(file, os.R_OK) else None


def _of_file(file: Path, environ: Mapping[str, str], token: str | None) -> Where:
    from edge.config.load import examine
    from edge.config.secrets import Secrets

    loaded = examine(file, environ=environ, secrets=False)
    web = loaded.config.web
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(web.host, web.host)  # noqa: S104 (a key, not a place to listen)
    url = f"http://{f'[{host}]' if ':' in host else host}:{web.port}"
    written = loaded.written.get("web", {}).get("token", "")
    if token is None and written:
        try:
            # this one alone: the others are the service's
            token = Secrets(file.resolve().parent, environ).resolve(str(written))
        except ValueError as error:
            raise Rejected(
                f"{file}: web.token: {error}", hint="--token TOKEN or $EDGE_TOKEN", reason="token"
            ) from error
    return Where(url, token or "")


class BoxClient:
    """One connection to the box.

    Raises:
        click.BadParameter: the address is none, or the token cannot be sent.

    """

    def __init__(self, where: Where, timeout: float = QUIET) -> None:
        if not where.token.isprintable():
            raise click.BadParameter("expected visible characters", param_hint="--token")
        self._where = where
        self._timeout = timeout
        self._address = _address(where.url)
        self._open: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """Let go of the connection."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        query: Mapping[str, Any] | None = None,
        payload: object = None,
    ) -> Any:
        """Send ``payload`` as JSON, if any, and return what the box answers; None for no body.

        Raises:
            PartFailed: nobody answers there. RefusedByBox, TryLater, EdgeError: it said no.

        """
        body = b"" if payload is None else json.dumps(payload).encode()
        headers = {} if payload is None else {"Content-Type": "application/json"}
        answer = self.send(method, path, body=body, headers=headers, query=query)
        if not answer:
            return None
        try:
            return json.loads(answer)
        except ValueError as error:
            raise self._no_box("its answer is not JSON") from error

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str],
        query: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Send a body as it is, and return the answer's.

        Raises:
            As ``ask``.

        """
        with self._answer(method, path, body, headers, query) as answer:
            return _read(answer)

    def events(self, path: str, query: Mapping[str, Any]) -> Generator[str, None, None]:
        """Yield the data of server-sent events until the box ends the stream.

        Raises:
            As ``ask``.

        """
        accept = {"Accept": "text/event-stream"}
        with self._answer("GET", path, b"", accept, query) as answer:
            while line := answer.readline(_MOST):
                name, _, value = line.rstrip(b"\r\n").partition(b":")
                if name == b"data":
                    yield value.removeprefix(b" ").decode("utf-8", "replace")

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        body: bytes,
        given: Mapping[str, str],
        query: Mapping[str, Any] | None,
    ) -> Iterator[http.client.HTTPResponse]:
        target = self._address.path.rstrip("/") + path
        asked = {name: value for name, value in (query or {}).items() if value not in (None, "")}
        if asked:
            target += "?" + urlencode(asked, doseq=True)
        headers: dict[str, str | bytes] = {"User-Agent": f"edge/{__version__}", **given}
        if self._where.token:
            headers["Authorization"] = f"Bearer {self._where.token}".encode()
        if body:
            headers["Content-Length"] = str(len(body))
        answer: http.client.HTTPResponse | None = None
        try:
            answer = self._exchange(method, target, body, headers)
            if answer.status >= 300:
                raise _refusal(answer, _read(answer))
            yield answer
        except (http.client.HTTPException, OSError) as error:
            self.close()
            raise self._no_box(_words(error)) from error
        finally:
            if answer is not None and not answer.isclosed():
                # what was not read would be taken for the next answer
                answer.close()
                self.close()

    def _exchange(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str | bytes]
    ) -> http.client.HTTPResponse:
        used, connection = self._open is not None, self._connection()
        try:
            connection.request(method, target, body or None, dict(headers))
            return connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            self.close()
            if not used:
                raise
        # the box ended an idle connection: that says nothing about the box
        connection = self._connection()
        connection.request(method, target, body or None, dict(headers))
        return connection.getresponse()

    def _connection(self) -> http.client.HTTPConnection:
        if self._open is None:
            host, port = self._address.hostname or "", self._address.port
            if self._address.scheme == "https":
                context = ssl.create_default_context()
                self._open = http.client.HTTPSConnection(
                    host, port, timeout=self._timeout, context=context
                )
            else:
                self._open = http.client.HTTPConnection(host, port, timeout=self._timeout)
        return self._open

    def _no_box(self, why: str) -> PartFailed:
        return PartFailed(
            f"no box answers at {self._where.url}: {why}",
            hint="does it run (edge run, systemctl status edge)? Elsewhere: --url URL",
            reason="unreachable",
        )


def _address(url: str) -> SplitResult:
    try:
        address = urlsplit(url)
        usable = address.scheme in ("http", "https") and address.hostname and address.port != 0
        usable = usable and url.isascii() and not (address.query or address.fragment)
    except ValueError:
        usable = None
    if not usable or address.username is not None:
        raise click.BadParameter(
            "expected the address of a box, like http://127.0.0.1:8080", param_hint="--url"
        )
    return address


def _read(answer: http.client.HTTPResponse) -> bytes:
    body = answer.read(_MOST)
    if answer.length:
        raise http.client.IncompleteRead(body[:0], answer.length)
    return body


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing came for {QUIET:g} s"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _refusal(answer: http.client.HTTPResponse, body: bytes) -> EdgeError:
    """Return what the box said as an error of the house."""
    status = answer.status
    try:
        said = json.loads(body)["error"]
        code, message, hint = str(said["code"]), str(said["message"]), str(said["hint"])
    except (ValueError, LookupError, TypeError, RecursionError):
        hint = "is this the address of a box?"
        return RefusedByBox(f"an answer that is no box's: {status} {answer.reason}", hint=hint)
    if status == 401:
        hint = "--token TOKEN or $EDGE_TOKEN"
    text = f"the box says {status} {code}: {message}"
    if status in (429, 503):
        return TryLater(text, hint=hint, reason=code, after=_seconds(answer))
    if status >= 500:
        return EdgeError(text, hint=hint, reason=code)
    refused = RefusedByBox(text, hint=hint, reason=code)
    refused.faults = tuple(_faults(said.get("faults")))
    return refused


def _faults(given: object) -> Iterator[Fault]:
    for one in given if isinstance(given, list) else ():
        if isinstance(one, dict):
            yield Fault(*(str(one.get(key, "")) for key in ("path", "given", "message")))


def _seconds(answer: http.client.HTTPResponse) -> float:
    try:
        seconds = float(answer.headers.get("Retry-After", "1"))
    except ValueError:
        return 1.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 1.0
