"""Annotate: ask an external vision service about a redacted picture.

Raw pictures never come this way: it takes the gate's message, and fetches the picture that the
message names. The reply's ``data``::

    labels    the likeliest first: score 0 to 1, label, mid (the service's id of the label)
    model     name: the service's address
    picture   key: which picture was shown
    answer    what the service said of each feature, as it came

``classify`` answers with the same ``labels`` and ``model``, so that a trigger may be split between
the two.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from urllib.parse import SplitResult, parse_qsl, quote, quote_plus, unquote, urlsplit

import aiohttp

from edge.config.handlers import AnnotateConfig
from edge.errors import EdgeError, Fatal, PartFailed, Rejected, TryLater
from edge.event import PICTURE_ANNOTATED, PICTURE_REDACTED, Event, WireEvent
from edge.sinks.forward_answer import seconds_of
from edge.sinks.pictures import facts_of
from edge.sinks.vision_answer import Answer, read_answer, refusal

MOST_ANSWER_BYTES = 4 * 2**20
"""Longer answers are not read."""
_TOLD_BYTES = 1024
_CHUNK = 1 << 16
_KEEP_S = 4.0
"""How long an idle connection is kept: many servers close theirs after 5, while we might write."""
_URI_HINT = "check uri of the handler: http or https, host and path of its images:annotate call"
_CA_HINT = "set ca_file of the handler to its CA's certificates (PEM), and check the box's clock"


class Annotate:
    """The handler that has a redacted picture annotated elsewhere. Keeps ``contracts.Handler``.

    It waits for an answer as long as it is let: its trigger has the timeout. It follows no
    redirect, and the key is in no error, no log and no status.

    Args:
        config: ``[handlers.NAME]`` with ``kind = "annotate"``.
        pictures: returns the redacted picture of an event, and no other (``sinks/pictures.py``).

    Raises:
        Fatal: ``bad_uri`` or ``bad_ca_file``.

    """

    sees_pictures = False

    def __init__(
        self, config: AnnotateConfig, pictures: Callable[[WireEvent], Awaitable[bytes]]
    ) -> None:
        parts = _address(config.uri)
        self.where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._config = config
        self._secrets = _secrets(config, parts)
        self._tls = _tls(config.ca_file, self.where)
        self._pictures = pictures
        self._session: aiohttp.ClientSession | None = None
        self._features = json.dumps(
            [{"type": name, "maxResults": config.max_results} for name in config.features]
        )

    async def __call__(self, event: WireEvent) -> WireEvent:
        """Have one picture annotated.

        Raises:
            Rejected: ``not_redacted``, ``too_large``, what ``pictures`` refuses, or the service
                refuses this picture.
            TryLater: the service is busy, failed, or nobody answered.
            PartFailed: the key, the address or the certificate is wrong; ``gone``: for ever.

        """
        if event.type != PICTURE_REDACTED:
            raise Rejected(
                f"only redacted pictures may leave the box: this event is a {event.type}",
                hint=f"give the trigger a filter on the type {PICTURE_REDACTED}",
                reason="not_redacted",
            )
        picture = await self._pictures(event)
        if len(picture) > self._config.max_picture:
            raise Rejected(
                f"the picture has {len(picture)} bytes, and {self._config.max_picture} are sent",
                hint="raise max_picture of the handler, if the service takes more",
                reason="too_large",
            )
        status, after, body = await self._ask(picture)
        try:
            if status != 200:
                raise refusal(status, body, after)
            answer = read_answer(body)
        except EdgeError as error:
            error.status = error.status or status
            error.answer = body[:_TOLD_BYTES]
            raise
        return self._reply(event, answer)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(self, picture: bytes) -> tuple[int, float, bytes]:
        """Return the status, how long to wait (0: it does not say), and the body."""
        key = self._config.api_key.reveal()
        try:
            async with self._connected().post(
                self._config.uri,
                params={"key": key} if key else {},
                data=io.BytesIO(self._question(picture)),
                headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
                allow_redirects=False,
            ) as reply:
                body = await self._read(reply)
                after = seconds_of(reply.headers.get("Retry-After", ""), time.time())
                return reply.status, after, body
        # What aiohttp raises may have the whole address in it, and so the key: it ends here.
        except aiohttp.ClientSSLError as error:
            words = f"cannot be trusted, or speaks no TLS: {_cause(error)}"
            raise self._failed(words, _CA_HINT, "no_tls") from None
        except (aiohttp.ClientError, OSError) as error:
            raise TryLater(
                f"{self.where} does not answer: {_cause(error)}",
                hint="is the box online? It is tried again, and nothing is lost meanwhile",
                reason="unreachable",
            ) from None

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls, keepalive_timeout=_KEEP_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                trust_env=True,
                auto_decompress=False,  # a small answer cannot become a large one
            )
        return self._session

    def _question(self, picture: bytes) -> bytes:
        head = b'{"requests":[{"image":{"content":"', b'"},"features":'
        features = self._features.encode()
        return head[0] + base64.b64encode(picture) + head[1] + features + b"}]}"

    async def _read(self, reply: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in reply.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > MOST_ANSWER_BYTES:
                words = f"answers with more than {MOST_ANSWER_BYTES} bytes"
                raise self._failed(words, _URI_HINT, "nonsense")
        return self._without_key(bytes(body))

    def _without_key(self, body: bytes) -> bytes:
        """Return an answer in which the key, if it is repeated there, is starred."""
        for secret in self._secrets:
            body = body.replace(secret, b"***")
        return body

    def _failed(self, words: str, hint: str, reason: str) -> PartFailed:
        return PartFailed(f"{self.where} {words}", hint=hint, reason=reason)

    def _reply(self, event: WireEvent, answer: Answer) -> WireEvent:
        data = {
            "labels": answer.labels,
            "model": {"name": self.where},
            "picture": {"key": facts_of(event).key},
            "answer": answer.features,
        }
        service = hashlib.sha256(f"{self.where} {self._features}".encode()).hexdigest()[:8]
        return Event(
            id=f"{event.id}.vision-{service}",
            source=event.source,
            type=PICTURE_ANNOTATED,
            subject=event.subject,
            time=event.time,
            datacontenttype="application/json",
            extensions=event.extensions,
            data=json.dumps(data, ensure_ascii=False).encode(),
        )


def _cause(error: Exception) -> str:
    """Say why nobody answered, in words that have no address in them."""
    for found in (error, getattr(error, "os_error", None), error.__cause__):
        if isinstance(found, OSError) and found.strerror:
            return found.strerror
    return type(error).__name__


def _address(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if sound and uri.isprintable() and " " not in uri:
        return parts
    raise Fatal(
        "the address of a vision service (not shown: it may hold a key) is none",
        hint=_URI_HINT,
        reason="bad_uri",
    )


def _tls(ca_file: str, where: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise Fatal(
            f"{where}: ca_file {ca_file}: {told}", hint=_CA_HINT, reason="bad_ca_file"
        ) from error


def _secrets(config: AnnotateConfig, parts: SplitResult) -> list[bytes]:
    """Return what an answer must not bring back, the longest first."""
    plain = {config.api_key.reveal(), unquote(parts.password or "")}
    plain |= {value for name, value in parse_qsl(parts.query) if "key" in name or "token" in name}
    # shorter ones would star half of any text
    forms = {form(text) for text in plain for form in (str, quote_plus, _quoted) if len(text) > 3}
    return sorted((form.encode() for form in forms), key=len, reverse=True)


def _quoted(text: str) -> str:
    return quote(text, safe="")
