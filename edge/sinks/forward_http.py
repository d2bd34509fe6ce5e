"""Forward: events to any CloudEvents sink over HTTP, for example a broker in a cluster.

What the sink answers decides (``forward_answer.py``). Nothing that was not asked for is sent or
followed: no redirect, no cookie, no proxy of the environment, no password of a ``.netrc``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import aiohttp

from edge import __version__
from edge.cloudevents.attributes import check_name, check_text
from edge.cloudevents.faults import Malformed
from edge.cloudevents.http import Message, encode_binary, encode_structured
from edge.config.handlers import ForwardConfig
from edge.config.secret import Secret
from edge.errors import Fatal, TryLater
from edge.event import NAMED, Event, WireEvent
from edge.ops.redact_url import without_credentials
from edge.sinks.forward_answer import KEPT, MOST_ANSWER, Answer, may_be_reply, refusal, reply_in

CONNECT_SECONDS: Final = 10.0

REFUSAL_SECONDS: Final = 5.0
"""How long the words of a refusal may take, once its status is known."""

KEEP_SECONDS: Final = 4.0
"""How long an idle connection is kept: many servers close theirs after 5, while we might write."""

MOST_REFUSAL: Final = 4096

HOPS: Final = "knativebrokerttl"
"""The bus's own extension, which no subscriber sees."""

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "prefer",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_FIXED = {"User-Agent": f"edge/{__version__}", "Accept-Encoding": "identity"}
_STARS = b"********"


class HttpForward:
    """Keeps ``contracts.Handler``: posts events to a sink, and returns its replies.

    Args:
        config: ``[handlers.NAME]`` with ``kind = "forward"``.
        replies: False: no reply is asked for, and what a success says is not read (a dead letter
            sink).
        connections: as many at once; who finds none free waits.

    Raises:
        Fatal: ``bad_uri``, ``bad_header``, ``bad_extension``, ``bad_ca_file``.

    """

    sees_pictures = False

    def __init__(
        self, config: ForwardConfig, *, replies: bool = True, connections: int = 100
    ) -> None:
        parts = _address(config.uri.reveal())
        self.where = _shown(parts)
        self._url = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
        self._replies = replies
        self._connections = connections
        self._headers = _headers(config, parts, self.where) | _FIXED
        if replies:
            self._headers["Prefer"] = "reply"
        self._secrets = _secrets(config, parts, self._headers)
        self._extensions = _extensions(config, self.where)
        self._encode = encode_structured if config.mode == "structured" else encode_binary
        self._tls = _tls(config.ca_file, self.where) if parts.scheme == "https" else None
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, event: Event[Any]) -> WireEvent | None:
        """Send one event; return the reply, if the sink gave one. How long is up to the caller.

        Raises:
            Rejected: the sink never takes this event; ``malformed``: it has an attribute that
                cannot be sent.
            TryLater: not now; ``unreachable``, ``tls``, ``no_answer``, with status 0: nobody
                answered. ``bad_reply``: it answered 200 with what is no event.
            PartFailed: ``gone``: the sink wants no more events, ever.

        """
        answer = await self._asked(self._message(event))
        if not answer.is_good:
            raise refusal(answer, self.where)
        if self._replies and may_be_reply(answer.status):
            return reply_in(answer, self.where)
        return None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _message(self, event: Event[Any]) -> Message:
        if not isinstance(event.data, bytes | None):
            raise TypeError(f"a {type(event.data).__name__} does not travel")
        extensions = {**event.extensions, **self._extensions}
        extensions.pop(HOPS, None)
        return self._encode(replace(event, extensions=extensions))

    async def _asked(self, message: Message) -> Answer:
        try:
            async with self._opened().post(
                self._url,
                data=message.body,
                headers={**self._headers, **message.headers},
                allow_redirects=False,
                # an event without a type of data is sent without one
                skip_auto_headers=("Content-Type",),
            ) as response:
                return await self._answer(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._unanswered(error) from error

    def _opened(self) -> aiohttp.ClientSession:
        # not before the first call: a session belongs to the loop that runs then
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections,
                    keepalive_timeout=KEEP_SECONDS,
                    ssl=True if self._tls is None else self._tls,
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session

    async def _answer(self, response: aiohttp.ClientResponse) -> Answer:
        """Read an answer as far as it counts; what is not read to its end costs the connection."""
        if self._replies and may_be_reply(response.status):
            body, whole = await _read(response, MOST_ANSWER)
        else:
            body, whole = await _begun(response)
        if not whole:
            response.close()
        kept = body[:MOST_REFUSAL]
        for secret in self._secrets:
            # a sink that repeats what it was sent must not bring it into a dead letter
            kept = kept.replace(secret, _STARS)
        return Answer(response.status, response.headers, body, whole, kept[:KEPT])

    def _unanswered(self, error: Exception) -> TryLater:
        if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
            reason, hint = "tls", "is its certificate valid, and signed by ca_file?"
        elif isinstance(error, aiohttp.ClientConnectorError | TimeoutError | ValueError):
            reason, hint = "unreachable", "is the address right, and does the sink run?"
        else:
            reason, hint = "no_answer", "look at the log of the sink"
        told = _told(error)
        return TryLater(f"{self.where}: no answer: {told}", hint=hint, reason=reason)


async def _read(response: aiohttp.ClientResponse, most: int) -> tuple[bytes, bool]:
    """Return at most ``most`` bytes of a body, and whether that is all of it."""
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > most:
                return bytes(body[:most]), False
    except (aiohttp.ClientError, OSError):
        return bytes(body), False
    return bytes(body), True


async def _begun(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """Return the beginning of a body whose end does not matter: the status says it all."""
    body = bytearray()
    try:
        async with asyncio.timeout(REFUSAL_SECONDS):
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MOST_REFUSAL:
                    break
            else:
                return bytes(body), True
    except (aiohttp.ClientError, OSError):  # TimeoutError is one
        pass
    return bytes(body[:MOST_REFUSAL]), False


def _told(error: Exception) -> str:
    """Say what went wrong without the address, which may hold a password."""
    if isinstance(error, aiohttp.ClientConnectorError) and error.strerror:
        return error.strerror
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, aiohttp.ClientResponseError):
        return f"it was no HTTP: {error.message.partition(chr(10))[0][:100]}"
    return type(error).__name__


def _address(uri: str) -> SplitResult:
    problem = "expected http://host/path or https://host/path"
    try:
        parts = urlsplit(uri)
        sound = bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:
        parts, sound = SplitResult("", "", "", "", ""), False
    if sound and parts.scheme in {"http", "https"} and uri.isprintable() and " " not in uri:
        return parts
    raise Fatal(
        f"the address of a sink (not shown: it may hold a password): {problem}",
        hint="in a user or password write / as %2F, ? as %3F, # as %23, @ as %40, a space as %20",
        reason="bad_uri",
    )


def _shown(parts: SplitResult) -> str:
    """Return the address without user, password and query."""
    host = parts.netloc.rpartition("@")[2]
    shown = f"{parts.scheme}://{host}{parts.path}" + ("?…" if parts.query else "")
    # a password with a slash in it ends up in the path
    return without_credentials(shown)


def _headers(config: ForwardConfig, parts: SplitResult, where: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in config.headers.items():
        problem = ""
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS or name.lower().startswith("ce-"):
            problem = "expected a header that is not made of the event"
        elif not value.reveal().isprintable():
            problem = "expected a value of one line"
        elif name.lower() in headers or (name.lower() == "authorization" and parts.username):
            problem = "is there twice (user and password of the address are such a header)"
        if problem:
            raise Fatal(f"{where}: header {name!r}: {problem}", reason="bad_header")
        headers[name.lower()] = value.reveal()
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    return headers


def _secrets(
    config: ForwardConfig, parts: SplitResult, headers: Mapping[str, str]
) -> tuple[bytes, ...]:
    """Return what an answer must not bring back, the longest first."""
    texts = {value.reveal() for value in config.headers.values()}
    texts |= {headers.get("authorization", ""), headers.get("authorization", "").partition(" ")[2]}
    for part in (parts.username or "", parts.password or ""):
        texts |= {part, unquote(part)}
    texts |= {parts.query, *(value for _, value in parse_qsl(parts.query))}
    # shorter ones would star half of any text
    return tuple(sorted((text.encode() for text in texts if len(text) > 3), key=len, reverse=True))


def _extensions(config: ForwardConfig, where: str) -> dict[str, str]:
    for name, value in config.extensions.items():
        try:
            check_name(name)
            check_text(name, value)
        except Malformed as error:
            raise Fatal(f"{where}: extensions: {error}", reason="bad_extension") from error
        if name in NAMED:
            raise Fatal(
                f"{where}: extensions: {name} is the event's own; expected an extension",
                reason="bad_extension",
            )
    return dict(config.extensions)


def _tls(ca_file: str, where: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        raise Fatal(
            f"{where}: ca_file {ca_file!r}: {error.strerror or 'no certificates in it'}",
            hint="expected a readable file of certificates in PEM",
            reason="bad_ca_file",
        ) from error


def from_environment(environ: Mapping[str, str]) -> ForwardConfig | None:
    """Return the sink that a cluster named: ``K_SINK`` and ``K_CE_OVERRIDES``; None: it named none.

    Raises:
        Fatal: ``bad_environment``: the overrides are not ``{"extensions": {"name": "text"}}``.

    """
    uri = environ.get("K_SINK", "").strip()
    if not uri:
        return None
    return ForwardConfig(
        kind="forward", uri=Secret(uri), extensions=_overrides(environ.get("K_CE_OVERRIDES", ""))
    )


def _overrides(text: str) -> dict[str, str]:
    problem = "expected a JSON object"
    try:
        found = json.loads(text) if text.strip() else {}
        extensions = found.get("extensions") if isinstance(found, dict) else 0
    except (ValueError, RecursionError) as error:
        problem, extensions = f"no JSON: {error}", 0
    if extensions is None:
        return {}
    if isinstance(extensions, dict):
        wrong = [name for name, value in extensions.items() if not isinstance(value, str)]
        if not wrong:
            return extensions
        problem = f"extensions.{wrong[0]}: expected text"
    raise Fatal(
        f"K_CE_OVERRIDES: {problem}",
        hint='it looks like {"extensions": {"name": "text"}}',
        reason="bad_environment",
    )
