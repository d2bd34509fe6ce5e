"""Store and outbox: where redacted pictures end, and where they wait until then."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edge.config.key_template import KEY_TEMPLATE, LONGEST_KEY
from edge.config.secret import Secret
from edge.config.section import Section, key
from edge.config.units import Duration, Size

RESERVED_METADATA = frozenset({"taken-at", "source", "sha256"})
"""Names of user metadata that the box itself writes."""
_ENDING = len(".json")


class _Store(Section):
    key_template: str = key(
        KEY_TEMPLATE,
        "Names of pictures. {source} {yyyy} {mm} {dd} {time} (HHMMSS.mmm, UTC) {id} {ext}; of what "
        "has a name of its own (an object, a file, an upload) {dir} {stem}: yard/cam 1/7.jpg has "
        "the dir yard/cam 1 and the stem 7; an upload has no dir. It ends with .{ext}. Without "
        "{id} several pictures may get one name: see overwrite. A name that no store could have is "
        "changed, and gets a digest.",
    )
    results: str = key(
        "", "Put before the names of messages (.json), such as results/. Empty: beside the picture."
    )
    overwrite: bool = key(
        False,
        "Where a name is taken by another picture: true: the one taken later has it, and an older "
        "one that comes late is dropped. false: the new one is set aside as a dead letter.",
    )

    @property
    def key_room(self) -> int:
        """How many bytes a picture's key may have, so that picture and message can be stored."""
        return LONGEST_KEY - len(self.results.encode()) - _ENDING


class FolderStoreConfig(_Store):
    """Pictures and their JSON in a directory."""

    kind: Literal["folder"] = key(..., "A directory on this machine or a mount.")
    path: str = key(..., "The directory; made if it is missing.")


class S3StoreConfig(_Store):
    """A bucket in MinIO, Ceph RGW or any other S3."""

    kind: Literal["s3"] = key(..., "A bucket.")
    endpoint: str = key(..., "http://host:port or https://host.")
    bucket: str = key(..., "The bucket; made if it is missing.", min_length=3, max_length=63)
    prefix: str = key("", "Put before every key.")
    access_key: Secret = key(..., "Access key, best as ${secret:name}.")
    secret_key: Secret = key(..., "Secret key, best as ${secret:name}.")
    region: str = key("us-east-1", "Region for the signature.")
    path_style: bool = key(True, "http://host/bucket (True) or http://bucket.host (False).")
    sse: Literal["none", "sse-s3", "sse-kms"] = key("none", "Server-side encryption to ask for.")
    sse_key_id: str = key("", "Key id for sse-kms.")
    ca_file: str = key("", "CA bundle for https; empty: the system's.")
    timeout: Duration = key("15s", "How long one request may take.")

    @property
    def key_room(self) -> int:
        """How many bytes a picture's key may have, behind the prefix."""
        return super().key_room - len(self.prefix.encode())


StoreConfig = Annotated[FolderStoreConfig | S3StoreConfig, Field(discriminator="kind")]


class OutboxConfig(Section):
    """``[outbox]``: what waits on this box until the store has it."""

    max_bytes: Size = key("2GiB", "Pictures may fill this much; then see when_full.")
    max_items: int = key(1_000_000, "Pictures that may wait; then see when_full.", ge=1)
    max_age: Duration = key(
        "0s", "evict: pictures of live sources that waited longer give way; 0s: none does."
    )
    when_full: Literal["hold", "evict"] = key(
        "hold",
        "hold: all that was made is kept, and new pictures wait (frames of cameras are dropped). "
        "evict: the oldest pictures of live sources give way to new ones, and the box says which "
        "were lost. Uploads, objects and dropped files never give way.",
    )
    parallel: int = key(
        4,
        "Parcels under way to the store at once: one a source, of a bucket source several.",
        ge=1,
        le=64,
    )
    retry_max: Duration = key("30s", "Longest wait between two tries at a shut door.")
    remember: Duration = key("7d", "How long a delivered event's id is remembered.")
