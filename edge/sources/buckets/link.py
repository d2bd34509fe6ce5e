"""The connection to an object store's HTTP interface: signed requests, answers read in bounds.

What goes wrong on the way is ``PartFailed`` with a reason and a hint; a status is the caller's to
judge. Nothing is followed, stored or taken from the environment: no redirect, cookie, proxy.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit

import aiohttp
from yarl import URL

from edge.errors import PartFailed
from edge.sources.buckets.sigv import Keys, Request, encode_path, encode_query, sign_v2, sign_v4

CONNECT_SECONDS: Final = 10.0
MOST_REFUSAL: Final = 4096
"""Bytes of a refusal that are read, to find its code."""

_PORTS = {"http": 80, "https": 443}
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,60})</Code>|\"Code\" ?: ?\"([A-Za-z0-9.]{1,60})\"")


class Answer:
    """What the store answered; its body is not read yet."""

    def __init__(self, response: aiohttp.ClientResponse, where: str) -> None:
        self._response, self._where = response, where
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers
        #: lower case, without parameters
        self.content_type = response.headers.get("Content-Type", "").partition(";")[0].lower()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes.

        Raises:
            PartFailed: ``silent`` (nothing came for too long) or ``cut``.

        """
        pieces = self._response.content.iter_any().__aiter__()
        while True:
            with _told_apart(self._where):
                try:
                    piece = await pieces.__anext__()
                except StopAsyncIteration:
                    return
            yield piece

    async def read(self, most: int) -> bytes:
        """Return the whole body.

        Raises:
            PartFailed: as ``chunks``, or ``too_large``: it is longer than ``most`` bytes.

        """
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > most:
                raise PartFailed(
                    f"{self._where}: an answer of more than {most} bytes",
                    hint="is this the object store's address?",
                    reason="too_large",
                )
        return bytes(body)

    async def code(self) -> str:
        """Return the code of a refusal, as S3 names it (``NoSuchBucket``); empty: it has none."""
        body = bytearray()
        with contextlib.suppress(PartFailed):
            async for chunk in self.chunks():
                body += chunk
                if len(body) >= MOST_REFUSAL:
                    break
        found = _CODE.search(body[:MOST_REFUSAL])
        return (found[1] or found[2]).decode() if found else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request: of the endpoint, or of a bucket where ``bucket`` is set."""

    method: str = "GET"
    path: str = "/"
    query: Sequence[tuple[str, str]] = ()
    bucket: str = ""
    version: Literal[2, 4] = 4
    #: seconds without a byte until the other side counts as lost
    silence: float = 30.0
    #: signed with the rest, as the headers are
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class BucketLink:
    """Asks one endpoint. Connections are kept between requests; ``close`` when done.

    Args:
        endpoint: ``http://host[:port]`` or ``https://…``.
        keys: who asks; without an access key requests are not signed.
        path_style: False: a bucket is part of the host's name.
        ca_file: certificates that are trusted in the place of the system's.

    Raises:
        PartFailed: ``bad_endpoint``, ``bad_ca_file``.

    """

    def __init__(
        self, endpoint: str, keys: Keys, *, path_style: bool = True, ca_file: str = ""
    ) -> None:
        parts = _address(endpoint)
        self._scheme, self._host = parts.scheme, _host(parts)
        self._keys, self._path_style = keys, path_style
        self.where = f"{parts.scheme}://{self._host}"
        self._tls = _tls(ca_file, self.where) if parts.scheme == "https" else None
        self._session: aiohttp.ClientSession | None = None

    @contextlib.asynccontextmanager
    async def ask(self, ask: Ask) -> AsyncIterator[Answer]:
        """Send a request; the answer is good within the ``async with``.

        Raises:
            PartFailed: ``unreachable``, ``tls``, ``silent`` or ``cut``.

        """
        request = self._request(ask)
        signed = self._signed(ask, request) if self._keys.access_key else {}
        query = encode_query(request.query)
        url = f"{self._scheme}://{request.host}{encode_path(request.path)}?{query}".rstrip("?")
        with _told_apart(self.where):
            response = await self._opened().request(
                request.method,
                # encoded already, and signed like this
                URL(url, encoded=True),
                headers={**ask.headers, **signed},
                data=ask.body or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_SECONDS, sock_read=ask.silence
                ),
            )
        try:
            yield Answer(response, self.where)
        finally:
            # a connection is kept where the body was read to its end, and else closed
            if not response.content.at_eof():
                response.close()
            response.release()

    async def close(self) -> None:
        """Let go of the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _request(self, ask: Ask) -> Request:
        host, path = self._host, ask.path
        if ask.bucket and self._path_style:
            path = f"/{ask.bucket}" + ("" if path == "/" else path)
        elif ask.bucket:
            host = f"{ask.bucket}.{host}"
        return Request(
            method=ask.method, host=host, path=path, query=ask.query, headers=ask.headers
        )

    def _signed(self, ask: Ask, request: Request) -> dict[str, str]:
        if ask.version == 2:
            return sign_v2(request, self._keys, datetime.now(UTC))
        payload = hashlib.sha256(ask.body).hexdigest()
        return sign_v4(request, self._keys, datetime.now(UTC), payload=payload)

    def _opened(self) -> aiohttp.ClientSession:
        # not before the first call: a session belongs to the loop that runs then
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=16, keepalive_timeout=4.0, ssl=True if self._tls is None else self._tls
                ),
                headers={"User-Agent": "edge", "Accept-Encoding": "identity"},
                skip_auto_headers=("Content-Type",),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session


def _address(endpoint: str) -> SplitResult:
    try:
        parts = urlsplit(endpoint)
        sound = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, sound = SplitResult("", "", "", "", ""), False
    if sound and parts.username is None and parts.path in {"", "/"} and not parts.query:
        return parts
    raise PartFailed(
        "the endpoint of a bucket: expected http://host:port or https://host:port, nothing more",
        hint="bucket and keys have settings of their own",
        reason="bad_endpoint",
    )


def _host(parts: SplitResult) -> str:
    """Return what goes into ``Host``: a name or address, and the port where it is unusual."""
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    return name if parts.port in {None, _PORTS[parts.scheme]} else f"{name}:{parts.port}"


def _tls(ca_file: str, where: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise PartFailed(
            f"{where}: ca_file {ca_file}: it cannot be read as certificates",
            hint="expected a file in PEM format",
            reason="bad_ca_file",
        ) from error


@contextlib.contextmanager
def _told_apart(where: str) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, OSError, ValueError) as error:
        reason, hint = _why(error)
        raise PartFailed(f"{where}: {_words(error)}", hint=hint, reason=reason) from error


def _why(error: Exception) -> tuple[str, str]:
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "tls", "is its certificate valid, and signed by ca_file?"
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return "unreachable", "is the endpoint right, and does the store run?"
    if isinstance(error, TimeoutError):
        return "silent", "does the store hang, or something between it and this box?"
    return "cut", "it is tried again; look at the store's log if it goes on"


def _words(error: Exception) -> str:
    """Say what went wrong without the address of the request, which is signed."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, TimeoutError):
        return "nothing came in time"
    if isinstance(error, aiohttp.ClientResponseError):
        return "it answered with what is no HTTP"
    return f"the connection was lost ({type(error).__name__})"
