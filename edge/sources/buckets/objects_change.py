"""Originals in their bucket, once they are redacted: looked at, deleted, tagged.

Nothing is done to an object that is another one by now. In a bucket with versions that very version
is meant. Elsewhere the server compares once more: Amazon by ``If-Match``, Ceph RGW by the time of
the last change (to the second). A server that knows neither leaves the moment between a look and
the deletion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Final, TypedDict

from minio import Minio
from minio.commonconfig import Tags
from minio.error import S3Error

from edge.errors import EdgeError, PartFailed, Rejected
from edge.frame import ObjectRef
from edge.sources.buckets.objects import BucketObjects, bare, check_key

MOST_TAGS: Final = 10
"""As many tags S3 allows an object."""
_EMPTY: Final = 416
"""Status where the first byte of an object is asked for and it has none."""
_PERMISSIONS: Final = {
    "delete": "s3:DeleteObject (in a bucket with versions s3:DeleteObjectVersion)",
    "tag": "s3:GetObjectTagging and s3:PutObjectTagging",
}
_Work = Callable[[Minio, ObjectRef, str], str]
"""Changes an object that was just seen as it is; the text is what ``_modified`` says of it. Returns
what it did."""
_RGW: Final = "x-rgw-object-type"
"""A header that only Ceph's gateway sends."""


class Originals:
    """The originals of one bucket.

    Args:
        objects: the bucket; whoever made it closes it.

    """

    def __init__(self, objects: BucketObjects) -> None:
        self._objects = objects

    async def find(self, ref: ObjectRef) -> ObjectRef | None:
        """Return what is there now under a key, or as a version of it; None: the server has none.

        None never stands for a bucket that is gone, nor for a server that does not answer.

        Raises:
            Rejected: ``bad_key``. PartFailed: as ``BucketObjects.get``.

        """
        check_key(ref)
        headers = await self._headers(ref)
        if headers is None:
            return None
        return replace(
            ref,
            etag=bare(headers.get("etag", "")),
            version=ref.version or headers.get("x-amz-version-id", ""),
            size=None,
        )

    async def delete(self, ref: ObjectRef) -> str:
        """Delete an object, if it still is the one that ``ref`` names by its ETag and version.

        Returns:
            ``deleted``, ``gone`` (it was deleted before), or ``replaced``.

        Raises:
            Rejected: ``forbidden``, ``bad_key``. PartFailed: as ``BucketObjects.get``.

        """
        return await self._change(ref, "delete", _delete)

    async def tag(self, ref: ObjectRef, name: str, value: str) -> str:
        """Add a tag to an object, if it still is the one that ``ref`` names.

        Returns:
            ``tagged``, ``full`` (it has ten others), ``gone`` or ``replaced``.

        Raises:
            Rejected: ``forbidden``, ``bad_key``. PartFailed: as ``BucketObjects.get``.

        """
        done = await self._change(ref, "tag", lambda s3, one, _: _tag(s3, one, name, value))
        if done != "tagged" or ref.version:
            return done
        now = await self.find(ref)
        if now is None or now.etag == bare(ref.etag):
            return done
        # written over in that very moment: the new one is not redacted yet
        meant = replace(now, version="")
        await self._change(meant, "tag", lambda s3, one, _: _untag(s3, one, name))
        return "replaced"

    async def _headers(self, ref: ObjectRef) -> Mapping[str, str] | None:
        try:
            return await self._objects.ask(lambda s3, bucket: _headers(s3, bucket, ref), ref.key)
        except Rejected as error:
            if error.reason == "gone":
                return None
            if error.status == _EMPTY:
                return {}
            raise

    async def _change(self, ref: ObjectRef, verb: str, work: _Work) -> str:
        check_key(ref)
        headers = await self._headers(ref)
        if headers is None:
            return "gone"
        etag = bare(headers.get("etag", ""))
        if not ref.etag or etag != bare(ref.etag):
            return "replaced"
        modified = _modified(headers)

        def change(s3: Minio, bucket: str) -> str:
            return work(s3, replace(ref, bucket=bucket, etag=etag), modified)

        try:
            return await self._objects.ask(change, ref.key)
        except (Rejected, PartFailed) as error:
            if error.reason == "gone":
                return "gone"
            raise _not_allowed(error, verb, ref) from error


# -- in the threads


def _headers(s3: Minio, bucket: str, ref: ObjectRef) -> Mapping[str, str]:
    # the answer to a HEAD has no body: it could not tell a missing object from a missing bucket
    answer = s3.get_object(
        bucket_name=bucket,
        object_name=ref.key,
        version_id=ref.version or None,
        request_headers={"Range": "bytes=0-0", "Accept-Encoding": "identity"},
    )
    with answer:
        return answer.headers


def _modified(headers: Mapping[str, str]) -> str:
    """Return when an object was changed, as Ceph's gateway can compare it; empty: it is another's.

    RGW 16.2 ignores ``If-Match`` on a deletion and takes no HTTP date there, but ISO 8601 (seen).
    """
    if _RGW not in headers:
        return ""
    try:
        when = parsedate_to_datetime(headers.get("last-modified", ""))
    except ValueError:
        return ""
    return f"{when:%Y-%m-%dT%H:%M:%S}.000Z"


def _delete(s3: Minio, ref: ObjectRef, modified: str) -> str:
    headers: dict[str, str | list[str] | tuple[str]] = {}
    if not ref.version:
        headers["If-Match"] = f'"{ref.etag}"'
        if modified:
            headers["x-amz-delete-if-unmodified-since"] = modified
    try:
        s3._execute(  # noqa: SLF001 (remove_object knows no conditions)
            "DELETE",
            bucket_name=ref.bucket,
            object_name=ref.key,
            headers=headers,
            query_params={"versionId": ref.version} if ref.version else None,
        )
    except S3Error as error:
        if error.response.status == 412:
            return "replaced"
        raise
    return "deleted"


class _Where(TypedDict):
    bucket_name: str
    object_name: str
    version_id: str | None


def _where(ref: ObjectRef) -> _Where:
    return _Where(bucket_name=ref.bucket, object_name=ref.key, version_id=ref.version or None)


def _tag(s3: Minio, ref: ObjectRef, name: str, value: str) -> str:
    tags = s3.get_object_tags(**_where(ref)) or Tags.new_object_tags()
    if tags.get(name) == value:
        return "tagged"
    if name not in tags and len(tags) >= MOST_TAGS:
        return "full"
    tags[name] = value
    s3.set_object_tags(tags=tags, **_where(ref))
    return "tagged"


def _untag(s3: Minio, ref: ObjectRef, name: str) -> str:
    tags = s3.get_object_tags(**_where(ref))
    if tags and name in tags:
        del tags[name]
        s3.set_object_tags(tags=tags, **_where(ref))
    return "untagged"


def _not_allowed(error: EdgeError, verb: str, ref: ObjectRef) -> EdgeError:
    """Return what to raise: where a server forbids it, no retry helps until a person acts."""
    cause = error.__cause__
    if not isinstance(cause, S3Error) or cause.code not in {"AccessDenied", "MethodNotAllowed"}:
        return error
    made = Rejected(
        f"the server does not let this box {verb} {ref.key!r} in bucket {ref.bucket}: {cause.code}",
        hint=f"the source's key needs {_PERMISSIONS[verb]}; or is the object locked (retention, "
        "legal hold)? Then replay the dead letter, or set after of the source to keep",
        reason="forbidden",
    )
    made.status = error.status
    return made
