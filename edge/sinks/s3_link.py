"""The connection to an S3 server: one pool, conditions on puts, and errors in the house's words.

minio 7 has no argument for the condition of a put: the pool adds it.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3 import exceptions as http

from edge.config.store import S3StoreConfig
from edge.errors import Fatal, PartFailed, Rejected
from edge.sinks.s3_refusals import Refusal

RAISED = (S3Error, ServerError, InvalidResponseError, http.HTTPError)
"""What a call may raise; ``S3Link.translated`` says what it means."""


class Condition(NamedTuple):
    """What must hold of an object for a put to succeed."""

    header: str
    value: str


IS_NEW = Condition("If-None-Match", "*")


class S3Link:
    """A client of one bucket's server.

    Args:
        config: ``[store]`` with ``kind = "s3"``.
        parallel: requests at once.

    """

    def __init__(self, config: S3StoreConfig, parallel: int) -> None:
        self._config, self._parallel = config, parallel
        #: address and bucket, without credentials
        self.where = f"{_bare(config.endpoint).rstrip('/')}/{config.bucket}"
        self._pool: _Pool | None = None
        self._client: Minio | None = None

    def open(self) -> None:
        """Make the client; nothing is sent. Once is enough.

        Raises:
            Fatal: the configuration is no address, or names a file that cannot be read.

        """
        if self._client is None:
            self._pool, self._client = self._connect()

    def close(self) -> None:
        """Let go of connections."""
        if self._pool:
            self._pool.clear()

    @property
    def client(self) -> Minio:
        """The client.

        Raises:
            PartFailed: ``open`` was not called yet, or failed.

        """
        if self._client is None:
            raise PartFailed(
                f"{self.where} is not open yet",
                hint="it opens by itself when the server answers",
                reason="store_shut",
            )
        return self._client

    @property
    def conditional(self) -> bool:
        """Whether the server heeds conditions on puts, as far as it is known."""
        return self._pool is not None and self._pool.conditional

    def give_up_conditions(self) -> None:
        """Put without conditions from now on."""
        if self._pool:
            self._pool.conditional = False

    @contextmanager
    def under(self, condition: Condition | None) -> Iterator[None]:
        """Put a condition on what this thread puts meanwhile, unless the server heeds none."""
        pool = self._pool
        if pool is None:
            raise RuntimeError("the link is not open")
        pool.mine.condition = condition
        try:
            yield
        finally:
            pool.mine.condition = None

    def _connect(self) -> tuple[_Pool, Minio]:
        config = self._config
        url = _checked_endpoint(config.endpoint)
        secure = url.scheme == "https"
        try:
            context = ssl.create_default_context(cafile=config.ca_file or None) if secure else None
            pool = _Pool(
                maxsize=self._parallel,
                # sending is bounded by the first, every wait for an answer by the second
                timeout=Timeout(connect=config.timeout, read=config.timeout),
                retries=False,
                ssl_context=context,
            )
            client = Minio(
                endpoint=url.netloc,
                access_key=config.access_key.reveal(),
                secret_key=config.secret_key.reveal(),
                secure=secure,
                region=config.region,
                http_client=pool,
            )
        except OSError as error:
            raise Fatal(
                f"store.ca_file ({config.ca_file}) cannot be used: {error.strerror or error}",
                hint="it must be a file of PEM certificates that Edge may read",
            ) from error
        except ValueError as error:
            raise Fatal(
                f"store.endpoint ({url.netloc}) or store.region ({config.region}) is not usable",
                hint="expected http://host:port or https://host, and a region like us-east-1",
            ) from error
        style = "disable" if config.path_style else "enable"
        getattr(client, f"{style}_virtual_style_endpoint")()  # minio has no types for these
        return pool, client

    def translated(self, error: Exception) -> PartFailed | Rejected:
        """Return what an error of a call means."""
        encrypts = self._config.sse != "none"
        if isinstance(error, S3Error):
            return _refusal(error).error(self.where, encrypts=encrypts)
        if isinstance(error, ServerError):
            refusal = Refusal(status=error.status_code, code="")
            return refusal.error(self.where, encrypts=encrypts)
        if isinstance(error, InvalidResponseError):
            return self._not_s3(error)
        cause, hint = next(words for kind, words in _NETWORK if isinstance(error, kind))
        if isinstance(error.__cause__, OSError) and error.__cause__.strerror:
            cause += f" ({error.__cause__.strerror})"
        return PartFailed(f"{self.where} {cause}", hint=hint, reason="store_shut")

    def _not_s3(self, error: InvalidResponseError) -> PartFailed | Rejected:
        status = int((re.findall(r"Response code: (\d+)", str(error)) or ["0"])[0])
        if status == 413:  # from a proxy in front
            return Refusal(status=status, code="EntityTooLarge").error(self.where, encrypts=False)
        return PartFailed(
            f"{self.where} does not answer like an S3 server: HTTP status {status}",
            hint="is store.endpoint the S3 port? Is a proxy in between? http or https?",
            reason="store_shut",
        )


class _Pool(PoolManager):
    """Adds a condition to the puts of a thread that asked for one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.conditional = True
        #: of each thread: ``condition``
        self.mine = threading.local()

    def urlopen(self, method: str, url: str, *rest: Any, **options: Any) -> BaseHTTPResponse:
        condition: Condition | None = getattr(self.mine, "condition", None)
        if self.conditional and method == "PUT" and condition is not None:
            options["headers"][condition.header] = condition.value
        return super().urlopen(method, url, *rest, **options)


_NETWORK: tuple[tuple[type[Exception], tuple[str, str]], ...] = (
    (
        http.NameResolutionError,
        (
            "has a name that nobody knows",
            "check store.endpoint, store.path_style and the box's DNS",
        ),
    ),
    (
        http.SSLError,
        (
            "has a certificate that is not trusted, or does not speak TLS",
            "set store.ca_file to its CA, check the host's name and the box's clock",
        ),
    ),
    (
        http.NewConnectionError,
        ("cannot be reached", "is the server running, and are host and port right?"),
    ),
    (
        http.ConnectTimeoutError,
        ("does not answer", "is the host up, and does a firewall drop the packets?"),
    ),
    (
        http.TimeoutError,
        ("took longer than store.timeout", "the server or the link is slow, or hangs"),
    ),
    (
        http.HTTPError,
        ("cut the connection", "did the server restart? http or https?"),
    ),
)


def _refusal(error: S3Error) -> Refusal:
    date = error.response.headers.get("date")
    ahead = time.time() - parsedate_to_datetime(date).timestamp() if date else 0.0
    return Refusal(
        status=error.response.status,
        code=error.code or "",
        text=error.message or "",
        clock_ahead=ahead,
    )


def _checked_endpoint(endpoint: str) -> SplitResult:
    url = urlsplit(endpoint)
    is_plain = endpoint.removesuffix("/") == f"{url.scheme}://{url.netloc}" and "@" not in endpoint
    if url.scheme not in {"http", "https"} or not url.hostname or not is_plain:
        raise Fatal(
            f"store.endpoint ({_bare(endpoint)}) is not an address of a server",
            hint="expected http://host:port or https://host, without a path and without keys",
        )
    return url


def _bare(endpoint: str) -> str:
    """Return an address without credentials, path and query."""
    url = urlsplit(endpoint)
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
