"""A bucket as the store: each picture as an object, its message as JSON beside it.

The same parcel twice is one version. ``If-None-Match: *`` sees to that in one request where the
server honours it. Ceph RGW 16.2 honours it in plain buckets and ignores it in versioned ones (seen;
200 and one more version), so a versioned bucket is looked at before each put. A server that
answers 501 to the header is treated in the same way.

Pool and client are shared, arguments of minio go by keyword (8.0 will demand it), and nothing is
retried here: the forwarder's supervisor decides when.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import SplitResult, quote, urlsplit

from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError
from minio.sse import Sse, SseKMS, SseS3
from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3 import exceptions as http

from edge.config.store import S3StoreConfig
from edge.errors import Fatal, PartFailed, Rejected
from edge.parcel import Parcel
from edge.sinks.keys import MOST_READ_BYTES, checked, gone, message_name, too_large
from edge.sinks.s3_refusals import Refusal

T = TypeVar("T")

_LEAST_PART = 5 * 2**20
_DIGEST = "x-amz-meta-sha256"
_ENCRYPTED = "x-amz-server-side-encryption"


class S3Store:
    """Keeps ``contracts.Store``: ``<prefix><key>`` and, after it, its message as ``.json``.

    User metadata of both: ``taken-at``, ``source`` (percent-encoded), ``sha256``; nothing else.

    Args:
        config: ``[store]`` with ``kind = "s3"``.
        parallel: requests at once.

    """

    def __init__(self, config: S3StoreConfig, *, parallel: int = 8) -> None:
        self.name = "s3"
        self._config = config
        self._parallel = parallel
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="edge-s3")
        self._where = f"{_bare(config.endpoint).rstrip('/')}/{config.bucket}"
        self._pool: _Pool | None = None
        self._client: Minio | None = None
        self._look_first = True

    async def open(self) -> None:
        await self._run(self._open)

    async def put(self, parcel: Parcel) -> None:
        await self._run(lambda: self._put(parcel))

    async def get(self, key: str) -> bytes:
        return await self._run(lambda: self._get(key))

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._pool:
            self._pool.clear()

    def describe(self) -> Mapping[str, Any]:
        where = f"{self._where}/{self._config.prefix}".rstrip("/")
        asked = {} if self._config.sse == "none" else {"sse": self._config.sse}
        return {"kind": "s3", "where": where, **asked}

    async def _run(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, work)
        except (S3Error, ServerError, InvalidResponseError, http.HTTPError) as error:
            raise self._translated(error) from error

    # -- in the threads

    def _open(self) -> None:
        if self._client is None:
            self._pool, self._client = self._connect()
        bucket = self._config.bucket
        try:
            state = self._s3.get_bucket_versioning(bucket_name=bucket).status
        except S3Error as error:
            if error.code == "NoSuchBucket":
                self._make_bucket()
                state = None
            elif error.code == "AccessDenied":
                self._s3.bucket_exists(bucket_name=bucket)  # a key with few rights may do that
                state = "unknown"
            elif error.response.status == 501:  # a server without versions
                state = None
            else:
                raise
        self._look_first = bool(state) or not self._pool_is_conditional

    def _make_bucket(self) -> None:
        try:
            self._s3.make_bucket(bucket_name=self._config.bucket, location=self._config.region)
        except S3Error as error:
            if error.code != "BucketAlreadyOwnedByYou":
                raise

    def _put(self, parcel: Parcel) -> None:
        name = checked(self._config.prefix + parcel.key)
        text = json.dumps(parcel.message, ensure_ascii=False) + "\n"
        # the picture first: who sees the JSON finds the picture
        self._put_object(str(name), parcel.body, parcel.content_type, parcel)
        self._put_object(str(message_name(name)), text.encode(), "application/json", parcel)

    def _get(self, key: str) -> bytes:
        name = str(checked(self._config.prefix + key))
        if self._client is None:
            raise PartFailed(
                f"{self._where} is not open yet",
                hint="it opens by itself when the server answers",
                reason="store_shut",
            )
        try:
            answer = self._s3.get_object(bucket_name=self._config.bucket, object_name=name)
        except S3Error as error:
            if error.code == "NoSuchKey":
                raise gone(name, self._where) from error
            raise
        with answer:
            body: bytes = answer.read(MOST_READ_BYTES + 1, decode_content=False)
        if len(body) > MOST_READ_BYTES:
            raise too_large(name)
        return body

    def _put_object(self, name: str, body: bytes, content_type: str, parcel: Parcel) -> None:
        digest = hashlib.sha256(body).hexdigest()
        if self._look_first and self._is_there(name, body, digest):
            return
        try:
            self._write(name, body, content_type, _metadata(parcel, digest))
        except S3Error as error:
            if error.response.status == 501 and self._pool_is_conditional:
                self._give_up_conditions()
                self._put_object(name, body, content_type, parcel)
            elif error.code != "PreconditionFailed":
                raise
            elif not self._is_there(name, body, digest):
                raise PartFailed(f"{self._where}/{name} was there and is gone") from error

    def _write(self, name: str, body: bytes, content_type: str, metadata: dict[str, Any]) -> None:
        answer = self._s3.put_object(
            bucket_name=self._config.bucket,
            object_name=name,
            data=io.BytesIO(body),
            length=len(body),
            content_type=content_type,
            metadata=metadata,
            sse=self._sse(),
            part_size=max(len(body), _LEAST_PART),  # one request, one condition, one event
        )
        self._must_be_encrypted(answer.http_headers)

    def _is_there(self, name: str, body: bytes, digest: str) -> bool:
        """Tell whether the object is there with this content.

        Raises:
            Rejected: it is there with another content.

        """
        try:
            found = self._s3.stat_object(bucket_name=self._config.bucket, object_name=name)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return False
            raise
        headers = found.metadata or {}
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if digest != headers.get(_DIGEST) and found.etag != md5:
            raise Rejected(
                f"{self._where}/{name} is there already with another content",
                hint="two boxes or two sources write under one name; store.prefix keeps them apart",
                reason="key_taken",
            )
        self._must_be_encrypted(headers)
        return True

    def _must_be_encrypted(self, headers: Mapping[str, str]) -> None:
        # Ceph RGW 16.2 ignores sse-s3 without a word (seen)
        if self._config.sse != "none" and _ENCRYPTED not in headers:
            raise PartFailed(
                f"{self._where} stored without the encryption asked for ({self._config.sse})",
                hint="this server ignores it: use sse-kms, or another server, or store.sse = none",
                reason="not_encrypted",
            )

    # -- the connection

    @property
    def _s3(self) -> Minio:
        if self._client is None:
            raise RuntimeError("the store is not open")
        return self._client

    @property
    def _pool_is_conditional(self) -> bool:
        return self._pool is not None and self._pool.conditional

    def _give_up_conditions(self) -> None:
        if self._pool:
            self._pool.conditional = False
        self._look_first = True

    def _sse(self) -> Sse | None:
        if self._config.sse == "sse-kms":
            return SseKMS(key=self._config.sse_key_id, context={})
        return SseS3() if self._config.sse == "sse-s3" else None

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

    def _translated(self, error: Exception) -> PartFailed | Rejected:
        encrypts = self._config.sse != "none"
        if isinstance(error, S3Error):
            return _refusal(error).error(self._where, encrypts=encrypts)
        if isinstance(error, ServerError):
            refusal = Refusal(status=error.status_code, code="")
            return refusal.error(self._where, encrypts=encrypts)
        if isinstance(error, InvalidResponseError):
            return self._not_s3(error)
        cause, hint = next(words for kind, words in _NETWORK if isinstance(error, kind))
        if isinstance(error.__cause__, OSError) and error.__cause__.strerror:
            cause += f" ({error.__cause__.strerror})"
        return PartFailed(f"{self._where} {cause}", hint=hint, reason="store_shut")

    def _not_s3(self, error: InvalidResponseError) -> PartFailed | Rejected:
        status = int((re.findall(r"Response code: (\d+)", str(error)) or ["0"])[0])
        if status == 413:  # from a proxy in front
            return Refusal(status=status, code="EntityTooLarge").error(self._where, encrypts=False)
        return PartFailed(
            f"{self._where} does not answer like an S3 server: HTTP status {status}",
            hint="is store.endpoint the S3 port? Is a proxy in between? http or https?",
            reason="store_shut",
        )


class _Pool(PoolManager):
    """Adds the condition to every put of an object; minio 7 has no argument for it."""

    conditional = True

    def urlopen(self, method: str, url: str, *rest: Any, **options: Any) -> BaseHTTPResponse:
        if self.conditional and method == "PUT" and _DIGEST in options["headers"]:
            options["headers"]["If-None-Match"] = "*"
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


def _metadata(parcel: Parcel, digest: str) -> dict[str, Any]:
    return {
        "taken-at": parcel.taken_at.isoformat(),
        "source": quote(parcel.source),
        "sha256": digest,
    }


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
