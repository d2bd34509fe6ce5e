"""Every store with the world behind it, as the contract's suite sees them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

from minio.versioningconfig import VersioningConfig

from edge.config.secret import Secret
from edge.config.store import FolderStoreConfig, S3StoreConfig
from edge.contracts import Store
from edge.errors import PartFailed
from edge.sinks.folder import FolderStore
from edge.sinks.keys import checked, message_name
from edge.sinks.s3 import S3Store
from tests.parts import MemoryStore
from tests.servers.rgw import Rgw


class Door(Protocol):
    """A store and the world behind it, as the suite sees them."""

    #: versions that it may have half stored when it breaks
    half_done: int
    #: what a picture and its message, each put twice over, leave: two, or two versions of each
    versions_of_two: int

    def store(self, *, overwrite: bool = False, results: str = "") -> Store:
        """Return a new store on the same place."""

    def names(self) -> list[str]:
        """Return what is there, one entry a version."""

    def read(self, name: str) -> bytes:
        """Return the content behind a name."""

    def break_it(self) -> None:
        """Shut the door from outside."""

    def mend_it(self) -> None:
        """Open it again; what was stored is still there."""


class FolderDoor:
    half_done = 0
    versions_of_two = 2

    def __init__(self, place: Path) -> None:
        self._place = place

    def store(self, *, overwrite: bool = False, results: str = "") -> Store:
        return FolderStore(
            FolderStoreConfig(
                kind="folder", path=str(self._place), overwrite=overwrite, results=results
            )
        )

    def names(self) -> list[str]:
        found = (Path(above, name) for above, _, names in os.walk(self._place) for name in names)
        return sorted(str(path.relative_to(self._place)) for path in found)

    def read(self, name: str) -> bytes:
        return (self._place / name).read_bytes()

    def break_it(self) -> None:
        self._place.rename(self._place.with_name("elsewhere"))
        self._place.symlink_to("nowhere")

    def mend_it(self) -> None:
        self._place.unlink()
        self._place.with_name("elsewhere").rename(self._place)


class S3Door:
    def __init__(self, rgw: Rgw, bucket: str, *, versioned: bool) -> None:
        self._rgw, self._bucket = rgw, bucket
        self._client = rgw.client()
        self.half_done = 4 if versioned else 0  # OutboxConfig.parallel
        self.versions_of_two = 4 if versioned else 2
        if versioned:
            self._client.make_bucket(bucket_name=bucket)
            self._client.set_bucket_versioning(
                bucket_name=bucket, config=VersioningConfig(status="Enabled")
            )

    def store(self, *, overwrite: bool = False, results: str = "") -> Store:
        return S3Store(
            S3StoreConfig(
                kind="s3",
                endpoint=self._rgw.endpoint,
                bucket=self._bucket,
                access_key=Secret(self._rgw.access_key),
                secret_key=Secret(self._rgw.secret_key),
                timeout="5s",
                overwrite=overwrite,
                results=results,
            )
        )

    def names(self) -> list[str]:
        found = self._client.list_objects(
            bucket_name=self._bucket, recursive=True, include_version=True
        )
        return sorted(str(item.object_name) for item in found)

    def read(self, name: str) -> bytes:
        answer = self._client.get_object(bucket_name=self._bucket, object_name=name)
        with answer:
            return answer.read()

    def break_it(self) -> None:
        self._rgw.kill()

    def mend_it(self) -> None:
        self._rgw.revive()


class MemoryDoor:
    half_done = 0
    versions_of_two = 2

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._results = ""

    def store(self, *, overwrite: bool = False, results: str = "") -> Store:
        self._store.overwrite, self._results = overwrite, results
        return self._store

    def names(self) -> list[str]:
        return sorted([*self._store.pictures, *self._messages()])

    def read(self, name: str) -> bytes:
        picture = self._store.pictures.get(name)
        return picture or json.dumps(self._messages()[name]).encode()

    def _messages(self) -> dict[str, Any]:
        messages = self._store.messages
        return {str(message_name(checked(key), self._results)): messages[key] for key in messages}

    def break_it(self) -> None:
        self._store.shut = PartFailed("gone", hint="mend it")

    def mend_it(self) -> None:
        self._store.shut = None
