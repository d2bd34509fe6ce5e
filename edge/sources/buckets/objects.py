"""Pictures of one bucket: fetched within bounds, and listed page by page.

One request fetches: size and ETag are judged by the header of the answer, before its body is read.
Nothing is retried here, no redirection is followed, and no answer of the server is read without a
limit. The ETag is compared because a notification speaks of one content, and the key may have
another by now; that one has a notification of its own.
"""

from __future__ import annotations

import asyncio
import io
import re
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from minio import Minio
from urllib3 import BaseHTTPResponse, HTTPResponse, PoolManager, Timeout
from urllib3 import exceptions as http

from edge.config.sources import BucketConfig
from edge.errors import PartFailed, Rejected
from edge.frame import Fetched, ObjectRef
from edge.sources.buckets.objects_errors import RAISED, translated
from edge.sources.buckets.rule import BucketRule

T = TypeVar("T")

PAGE = 1000
"""Keys of one page; servers give no more."""
_MOST_ANSWER = 8 * 2**20
"""Bytes of an answer that is no object: a page of the longest keys has about 4 MiB."""
_PIECE = 2**18
_WHOLE = 10
"""A whole object may take as many times the timeout."""
_LONGEST_KEY = 1024
_HALVES = re.compile(r"[\ud800-\udfff]")
"""Halves of characters, which have no bytes."""


class Listed(NamedTuple):
    """An object as a listing has it."""

    key: str
    #: without quotes
    etag: str
    #: bytes
    size: int
    #: always empty: a listing of what is there now names no versions
    version: str
    #: with zone; None where the server did not say
    modified: datetime | None


class BucketObjects:
    """Fetches and lists. Connects with the first call; any number of calls may be under way.

    Args:
        config: the bucket, and who asks.
        parallel: fetches at once; those beyond wait. Each holds one object in memory.

    """

    def __init__(self, config: BucketConfig, *, parallel: int = 4) -> None:
        self._config = config
        self._rule = BucketRule(prefix=config.prefix, suffixes=config.suffixes)
        url = urlsplit(config.endpoint)
        #: address and bucket, without credentials
        self.where = f"{url.scheme}://{url.netloc.rpartition('@')[2]}/{config.bucket}"
        self._parallel = parallel
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="edge-bucket")
        # a listing must not wait behind fetches, nor they behind it
        self._lister = ThreadPoolExecutor(1, thread_name_prefix="edge-bucket-list")
        self._connecting = threading.Lock()
        self._client: Minio | None = None
        self._pool: _Pool | None = None
        self._shut = False

    async def get(self, ref: ObjectRef) -> Fetched:
        """Return the object as it is stored: at most ``max_object`` bytes.

        Raises:
            Rejected: ``gone``; ``replaced``: its ETag is another now; ``too_large``; ``bad_key``;
                ``archived``; ``object_refused``: any other 4xx about this object.
            PartFailed: ``refused``: the credentials are not enough; ``no_bucket``;
                ``unreachable``: the network, or a fault of the server.

        """
        check_key(ref)
        return await self._run(self._threads, lambda: self._get(ref), ref.key)

    async def list(self, after: str = "") -> AsyncIterator[Sequence[Listed]]:
        """Yield pages of the objects that are wanted, in the order of their keys (UTF-8).

        One page is in memory at a time. A page may be empty: none of its keys is wanted.

        Args:
            after: keys up to and with this one are left out.

        Raises:
            PartFailed: ``refused``, ``no_bucket`` or ``unreachable``, as ``get``.

        """
        while True:
            start = after
            page = await self._run(self._lister, lambda: self._page(start))  # noqa: B023 (awaited)
            if page and page[-1].key.encode() <= start.encode():
                raise PartFailed(
                    f"{self.where} lists {page[-1].key!r} after {start!r}: it does not go on",
                    hint="is a proxy in between that drops start-after?",
                    reason="unreachable",
                )
            if page:
                after = page[-1].key
                yield [one for one in page if self._rule.holds(one.key)]
            if len(page) < PAGE:
                return

    async def ask(self, work: Callable[[Minio, str], T], key: str) -> T:
        """Run ``work`` on the connection and the bucket's name, in a thread of the fetches.

        Raises:
            Rejected, PartFailed: as ``get``; their cause is what the server said.

        """
        return await self._run(self._threads, lambda: work(self._s3(), self._config.bucket), key)

    async def close(self) -> None:
        """Let go of connections and threads. What is under way fails as ``unreachable``."""
        self._shut = True
        if self._pool is not None:
            self._pool.shut = True
            self._pool.clear()
        for threads in (self._threads, self._lister):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[[], T], key: str = "") -> T:
        if self._shut:
            raise PartFailed(f"{self.where} is closed", reason="unreachable")
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, work)
        except RAISED as error:
            raise translated(error, self.where, key) from error

    # -- in the threads

    def _get(self, ref: ObjectRef) -> Fetched:
        limit = self._config.max_object
        answer = self._s3().get_object(
            bucket_name=self._config.bucket,
            object_name=ref.key,
            version_id=ref.version or None,
            request_headers={"Accept-Encoding": "identity"},
        )
        with answer:  # what was not read to its end is not read on: the connection is closed
            self._must_be_meant(ref, answer.headers.get("etag", ""))
            if (answer.length_remaining or 0) > limit:
                raise self._too_large(ref.key, f"{answer.length_remaining} bytes")
            body = _read(answer, limit, time.monotonic() + _WHOLE * self._config.timeout)
        if len(body) > limit:
            raise self._too_large(ref.key, f"more than {limit} bytes")
        return self._fetched(ref, body, answer.headers)

    def _fetched(self, ref: ObjectRef, body: bytes, headers: Mapping[str, str]) -> Fetched:
        found = replace(
            ref,
            etag=bare(headers.get("etag", "")),
            version=ref.version or headers.get("x-amz-version-id", ""),
            size=len(body),
        )
        named = {name: headers.get(f"x-amz-meta-{name}", "") for name in self._config.metadata}
        metadata = {name.lower(): value for name, value in named.items() if value}
        return Fetched(body=body, ref=found, metadata=metadata)

    def _must_be_meant(self, ref: ObjectRef, etag: str) -> None:
        if ref.etag and bare(etag) != bare(ref.etag):
            raise Rejected(
                f"{ref.key!r} in {self.where} is another object now: ETag {bare(etag)}, "
                f"not {bare(ref.etag)}",
                hint="it was written over; its new content has a notification of its own",
                reason="replaced",
            )

    def _too_large(self, key: str, size: str) -> Rejected:
        return Rejected(
            f"{key!r} in {self.where} has {size}; at most {self._config.max_object} are fetched",
            hint="is it a picture at all? max_object of the source sets the limit",
            reason="too_large",
        )

    def _page(self, after: str) -> Sequence[Listed]:
        found = self._s3().list_objects(
            bucket_name=self._config.bucket,
            prefix=self._config.prefix,
            recursive=True,
            start_after=after or None,
        )
        # as many as one answer has: the next one is asked for anew, after the last key of this one
        return [
            Listed(
                key=one.object_name or "",
                etag=bare(one.etag or ""),
                size=one.size or 0,
                version="",
                modified=one.last_modified,
            )
            for one in islice(found, PAGE)
        ]

    def _s3(self) -> Minio:
        with self._connecting:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Minio:
        config = self._config
        url = urlsplit(config.endpoint)
        secure = url.scheme == "https"
        try:
            context = ssl.create_default_context(cafile=config.ca_file or None) if secure else None
        except OSError as error:
            raise PartFailed(
                f"ca_file ({config.ca_file}) of {self.where} cannot be used: "
                f"{error.strerror or error}",
                hint="it must be a file of PEM certificates that Edge may read",
                reason="unreachable",
            ) from error
        self._pool = _Pool(
            maxsize=self._parallel + 1,
            timeout=Timeout(connect=config.timeout, read=config.timeout),
            retries=False,
            ssl_context=context,
        )
        self._pool.seconds = config.timeout
        self._pool.shut = self._shut
        client = Minio(
            endpoint=url.netloc,
            access_key=config.access_key.reveal(),
            secret_key=config.secret_key.reveal(),
            secure=secure,
            region=config.region,
            http_client=self._pool,
        )
        style = "disable" if config.path_style else "enable"
        getattr(client, f"{style}_virtual_style_endpoint")()  # minio has no types for these
        return client


class _Pool(PoolManager):
    """Reads every answer that is no object within limits, and nothing more once it is shut."""

    shut = False
    seconds = 30.0

    def urlopen(self, method: str, url: str, *rest: Any, **options: Any) -> BaseHTTPResponse:
        if self.shut:
            raise http.HTTPError("closed")
        streams = not options.pop("preload_content", True)
        options["redirect"] = False  # the signature is for this host alone
        answer = super().urlopen(method, url, *rest, preload_content=False, **options)
        if streams and answer.status == 200:
            return answer
        with answer:
            body = _read(answer, _MOST_ANSWER, time.monotonic() + _WHOLE * self.seconds)
        if len(body) > _MOST_ANSWER:
            raise http.ProtocolError(f"an answer of more than {_MOST_ANSWER} bytes")
        headers = answer.headers.copy()
        for name in ("content-length", "transfer-encoding", "content-encoding"):
            headers.discard(name)
        return HTTPResponse(
            body=io.BytesIO(body), headers=headers, status=answer.status, preload_content=False
        )


def _read(answer: BaseHTTPResponse, most: int, until: float) -> bytes:
    """Read a body, at most ``most`` bytes and one more; until ``until`` on the monotonic clock."""
    pieces: list[bytes] = []
    left = most + 1
    # read1: a server that sends a byte now and then is seen to be late
    while left and (piece := answer.read1(min(left, _PIECE), decode_content=False)):
        pieces.append(piece)
        left -= len(piece)
        if time.monotonic() > until:
            raise http.TimeoutError("the whole took too long")
    return b"".join(pieces)


def check_key(ref: ObjectRef) -> None:
    """Refuse what cannot be asked for: nothing was sent yet.

    A path with ``.`` or ``..`` as a part has another signature at the server than here.
    """
    parts = ref.key.split("/")
    odd = _HALVES.search(ref.key + ref.version) or not ref.key.strip()
    if odd or "." in parts or ".." in parts or len(ref.key.encode()) > _LONGEST_KEY:
        raise Rejected(
            f"{ref.key[:200]!r} cannot be fetched",
            hint="expected a key of at most 1024 bytes of UTF-8, without . and .. as parts",
            reason="bad_key",
        )


def bare(etag: str) -> str:
    """Return an ETag as it is compared: without quotes, in small letters."""
    return etag.removeprefix("W/").strip('"').lower()
