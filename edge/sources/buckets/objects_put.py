"""Originals of uploads: written into the bucket that they wait in, and looked up there."""

from __future__ import annotations

import io
from itertools import islice
from typing import Final

from minio import Minio

from edge.config.sources import BucketConfig
from edge.errors import Rejected
from edge.frame import ObjectRef
from edge.sources.buckets.objects import BucketObjects, Listed, bare, check_key

_LEAST_PART: Final = 5 * 2**20
"""minio takes no smaller part; servers take 5 GiB in one."""


class BucketWriter:
    """Writes and looks up single objects of one bucket; its threads are its own.

    Args:
        config: the bucket, and who asks; the key needs ``s3:PutObject`` and ``s3:ListBucket``.
        parallel: requests at once; those beyond wait, each with its body in memory.

    """

    def __init__(self, config: BucketConfig, *, parallel: int = 4) -> None:
        self._objects = BucketObjects(config, parallel=parallel)

    async def put(self, key: str, body: bytes, content_type: str) -> ObjectRef:
        """Write an object in one request; on return it is durable, as the server promises.

        Returns:
            What was written, with the ETag and version that the server gave it.

        Raises:
            Rejected: ``bad_key``; ``object_refused``: a 4xx about this object.
            PartFailed: as ``BucketObjects.get``.

        """
        check_key(ObjectRef(bucket="", key=key))

        def work(client: Minio, bucket: str) -> ObjectRef:
            answer = client.put_object(
                bucket_name=bucket,
                object_name=key,
                data=io.BytesIO(body),
                length=len(body),
                content_type=content_type,
                # one request: one event, and one ETag, whoever says it
                part_size=max(len(body), _LEAST_PART),
            )
            return ObjectRef(
                bucket=bucket,
                key=key,
                version=answer.version_id or "",
                etag=bare(answer.etag or ""),
                size=len(body),
            )

        return await self._objects.ask(work, key)

    async def look(self, key: str) -> Listed:
        """Return what the bucket's listing has of one key: its time is exact there.

        Raises:
            Rejected: ``gone``: there is none of that key; ``bad_key``.
            PartFailed: as ``BucketObjects.list``.

        """
        check_key(ObjectRef(bucket="", key=key))

        def work(client: Minio, bucket: str) -> Listed | None:
            found = client.list_objects(bucket_name=bucket, prefix=key, recursive=True)
            # of the keys that begin with it, a key itself is the first
            for one in islice(found, 1):
                if one.object_name == key:
                    return Listed(
                        key=key,
                        etag=bare(one.etag or ""),
                        size=one.size or 0,
                        version="",
                        modified=one.last_modified,
                    )
            return None

        found = await self._objects.ask(work, "")
        if found is None:
            raise Rejected(
                f"there is no {key[:200]!r} in {self._objects.where}",
                hint="upload it first; a key has no leading slash, and small letters are not "
                "capitals",
                reason="gone",
            )
        return found

    async def close(self) -> None:
        """Let go of connections and threads."""
        await self._objects.close()
