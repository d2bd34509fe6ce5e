"""A bucket as the store: each picture as an object, its message as JSON beside it.

The same parcel twice is one version. ``If-None-Match: *`` sees to that in one request where the
server honours it. Ceph RGW 16.2 honours it in plain buckets and ignores it in versioned ones (seen;
200 and one more version), so a versioned bucket is looked at before each put. A server that
answers 501 to the header is treated in the same way. What is replaced (``overwrite``) is named by
``If-Match``.

Pool and client are shared, arguments of minio go by keyword (8.0 will demand it), and nothing is
retried here: the forwarder's supervisor decides when.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any, TypeVar
from urllib.parse import quote

from minio.datatypes import Object
from minio.error import S3Error
from minio.sse import Sse, SseKMS, SseS3

from edge.config.store import RESERVED_METADATA, S3StoreConfig
from edge.errors import PartFailed
from edge.parcel import Parcel
from edge.sinks.keys import (
    MOST_READ_BYTES,
    Turns,
    checked,
    gives_way,
    gone,
    message_name,
    taken,
    too_large,
)
from edge.sinks.s3_link import IS_NEW, RAISED, Condition, S3Link

T = TypeVar("T")

_LEAST_PART = 5 * 2**20
_META = "x-amz-meta-"
_DIGEST = f"{_META}sha256"
_ENCRYPTED = "x-amz-server-side-encryption"
_MOST_METADATA = 2048
"""Bytes of user metadata, names and values, that every S3 takes."""
_TRIES = 3
"""As often an object may change between a look and a put."""
_PAGE = 1000
"""Entries of one page of a listing, at most."""


class S3Store:
    """Keeps ``contracts.Store``: ``<prefix><key>``, then ``<prefix><results><key's stem>.json``.

    User metadata of both: ``taken-at``, ``source``, ``sha256``, and what the message has as
    ``data.metadata``, as far as it fits into 2 KiB. All values are percent-encoded but the first.

    With ``overwrite`` an object's ``taken-at`` says when the picture was taken that has a name (of
    two in one moment, the one that comes later has it); one without gives way.

    Args:
        config: ``[store]`` with ``kind = "s3"``.
        parallel: requests at once.

    """

    def __init__(self, config: S3StoreConfig, *, parallel: int = 8) -> None:
        self.name = "s3"
        self._config = config
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="edge-s3")
        self._link = S3Link(config, parallel)
        self._turns = Turns()
        self._look_first = True

    async def open(self) -> None:
        await self._run(self._open)

    async def put(self, parcel: Parcel) -> None:
        await self._run(lambda: self._put(parcel))

    async def get(self, key: str) -> bytes:
        return await self._run(lambda: self._get(key))

    async def remove(self, key: str) -> None:
        await self._run(lambda: self._remove(key))

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._link.close()

    def describe(self) -> Mapping[str, Any]:
        where = f"{self._link.where}/{self._config.prefix}".rstrip("/")
        asked = {} if self._config.sse == "none" else {"sse": self._config.sse}
        return {"kind": "s3", "where": where, **asked}

    async def _run(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, work)
        except RAISED as error:
            raise self._link.translated(error) from error

    # -- in the threads

    def _open(self) -> None:
        self._link.open()
        client, bucket = self._link.client, self._config.bucket
        try:
            state = client.get_bucket_versioning(bucket_name=bucket).status
        except S3Error as error:
            if error.code == "NoSuchBucket":
                self._make_bucket()
                state = None
            elif error.code == "AccessDenied":
                client.bucket_exists(bucket_name=bucket)  # a key with few rights may do that
                state = "unknown"
            elif error.response.status == 501:  # a server without versions
                state = None
            else:
                raise
        self._look_first = bool(state) or not self._link.conditional

    def _make_bucket(self) -> None:
        bucket, region = self._config.bucket, self._config.region
        try:
            self._link.client.make_bucket(bucket_name=bucket, location=region)
        except S3Error as error:
            if error.code != "BucketAlreadyOwnedByYou":
                raise

    def _names(self, key: str) -> tuple[str, PurePosixPath]:
        """Return the names of a picture and of its message, the prefix included."""
        prefix = self._config.prefix
        message = message_name(checked(key), prefix + self._config.results)
        return str(checked(prefix + key)), message

    def _put(self, parcel: Parcel) -> None:
        picture, message = self._names(parcel.key)
        text = json.dumps(parcel.message, ensure_ascii=False) + "\n"
        with self._turns.of(message):
            # the picture first: who sees the JSON finds the picture
            if self._put_object(picture, parcel.body, parcel.content_type, parcel):
                self._put_object(str(message), text.encode(), "application/json", parcel)

    def _get(self, key: str) -> bytes:
        name, _ = self._names(key)
        try:
            answer = self._link.client.get_object(bucket_name=self._config.bucket, object_name=name)
        except S3Error as error:
            if error.code == "NoSuchKey":
                raise gone(name, self._link.where) from error
            raise
        with answer:
            body: bytes = answer.read(MOST_READ_BYTES + 1, decode_content=False)
        if len(body) > MOST_READ_BYTES:
            raise too_large(name)
        return body

    # -- putting

    def _put_object(self, name: str, body: bytes, content_type: str, parcel: Parcel) -> bool:
        """Store one object; False where a picture has the name that was taken later.

        Raises:
            Rejected: another content has the name, and keeps it.

        """
        metadata = _metadata(parcel, hashlib.sha256(body).hexdigest())
        look, refused = self._look_first, ""
        for _ in range(_TRIES):
            found = self._found(name) if look else None
            if found is not None and self._is_same(found, body, metadata):
                return True
            if found is not None and not self._gives_way(found, name, parcel):
                return False
            try:
                with self._link.under(_condition(found, refused)):
                    self._write(name, body, content_type, metadata)
            except S3Error as error:
                if not self._has_changed(error):
                    raise
                look, refused = True, (found.etag or "") if found is not None else ""
            else:
                return True
        raise PartFailed(
            f"{self._link.where}/{name} changes whenever it is put",
            hint="does another program write under this name?",
            reason="store_shut",
        )

    def _write(self, name: str, body: bytes, content_type: str, metadata: dict[str, Any]) -> None:
        answer = self._link.client.put_object(
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

    def _has_changed(self, error: S3Error) -> bool:
        """Tell whether a put was refused for its condition: then the object is looked at."""
        if error.response.status == 501 and self._link.conditional:
            self._link.give_up_conditions()
            self._look_first = True
            return True
        # 404: what was to be replaced is gone
        return error.code in {"PreconditionFailed", "NoSuchKey"}

    def _found(self, name: str) -> Object | None:
        """Return what is known of an object without its body; None: it is not there."""
        try:
            return self._link.client.stat_object(bucket_name=self._config.bucket, object_name=name)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            raise

    def _is_same(self, found: Object, body: bytes, metadata: Mapping[str, str]) -> bool:
        headers = found.metadata or {}
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if metadata[_DIGEST] != headers.get(_DIGEST) and found.etag != md5:
            return False
        self._must_be_encrypted(headers)
        return True

    def _gives_way(self, found: Object, name: str, parcel: Parcel) -> bool:
        """Tell whether a picture has the name before the one that has it now.

        Raises:
            Rejected: ``key_taken``; none has.

        """
        if not self._config.overwrite:
            raise taken(
                f"{self._link.where}/{name}",
                "two boxes or two sources write under one name; store.prefix keeps them apart",
            )
        return gives_way((found.metadata or {}).get(f"{_META}taken-at", ""), parcel.taken_at)

    def _must_be_encrypted(self, headers: Mapping[str, str]) -> None:
        # Ceph RGW 16.2 ignores sse-s3 without a word (seen)
        if self._config.sse != "none" and _ENCRYPTED not in headers:
            raise PartFailed(
                f"{self._link.where} stored without the encryption asked for ({self._config.sse})",
                hint="this server ignores it: use sse-kms, or another server, or store.sse = none",
                reason="not_encrypted",
            )

    def _sse(self) -> Sse | None:
        if self._config.sse == "sse-kms":
            return SseKMS(key=self._config.sse_key_id, context={})
        return SseS3() if self._config.sse == "sse-s3" else None

    # -- removing

    def _remove(self, key: str) -> None:
        picture, message = self._names(key)
        with self._turns.of(message):
            for name in (str(message), picture):  # who sees the JSON finds the picture
                self._erase(name)

    def _erase(self, name: str) -> None:
        """Remove every version of an object, and the marks of deletion between them.

        One by one: Ceph RGW 16.2 dies of a multi-delete in a bucket that notifies (seen).
        """
        bucket = self._config.bucket
        try:
            for _ in range(_TRIES):
                versions = list(self._versions(name))
                if not versions:
                    return
                for version in versions:
                    self._link.client.remove_object(
                        bucket_name=bucket, object_name=name, version_id=version
                    )
        except S3Error as error:
            if error.code != "AccessDenied":
                raise
            raise PartFailed(
                f"{self._link.where} does not let {name} be removed with all its versions",
                hint="the key needs s3:DeleteObject, s3:DeleteObjectVersion and "
                "s3:ListBucketVersions on that bucket; is the object locked?",
                reason="store_shut",
            ) from error
        raise PartFailed(
            f"{self._link.where}/{name} is still there after it was removed {_TRIES} times",
            hint="does another program write under this name?",
            reason="store_shut",
        )

    def _versions(self, name: str) -> Iterator[str | None]:
        """Yield each version of exactly that name; None where the server has no versions."""
        others = 0
        try:
            for one in self._link.client.list_objects(
                bucket_name=self._config.bucket, prefix=name, recursive=True, include_version=True
            ):
                others = 0 if one.object_name == name else others + 1
                if not others:
                    yield one.version_id
                elif others > _PAGE:  # its own stand before those that only begin so, page by page
                    return
        except S3Error as error:
            if error.response.status != 501:
                raise
            if self._found(name) is not None:
                yield None


def _condition(found: Object | None, refused: str) -> Condition | None:
    """Return what must still hold of an object when it is put.

    Args:
        found: what is there.
        refused: the ETag of which the server said that it is another now.

    """
    if found is None:
        return IS_NEW
    if found.etag == refused:
        return None  # it is the same: the server writes ETags in a way of its own
    # without quotes: Ceph RGW 16.2 compares it as it comes (seen); others take both
    return Condition("If-Match", found.etag or "*")


def _metadata(parcel: Parcel, digest: str) -> dict[str, Any]:
    """Return the user metadata of both objects, by header."""
    own = {
        f"{_META}taken-at": parcel.taken_at.isoformat(),
        f"{_META}source": quote(parcel.source),
        _DIGEST: digest,
    }
    left = _MOST_METADATA - sum(len(name) + len(value) for name, value in own.items())
    said = (parcel.message.get("data") or {}).get("metadata") or {}
    for name, value in said.items():
        # with its beginning, or minio would take a name such as content-type for the header itself
        header, encoded = f"{_META}{name.lower()}", quote(value, errors="replace")
        size = len(header) + len(encoded)
        if size <= left and name.lower() not in RESERVED_METADATA:
            own[header] = encoded
            left -= size
    return own
