"""What no single key of buckets can know: the store's, and those that pictures come from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from edge.config.load_faults import Fault, Location, show_given
from edge.config.sources import BucketConfig
from edge.config.store import FolderStoreConfig, S3StoreConfig
from edge.errors import PartFailed
from edge.ops.mqtt_types import read_url

# what every S3 takes; an address such as 10.0.0.5 is not a name
_NEW_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]*[a-z0-9]")
# some servers have buckets of other names; they are read as they are
_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]")
_ENDPOINT = re.compile(r"https?://[^/?#@\s]+/?")
# levels divided by slashes; + is a level, # the rest
_FILTER = re.compile(r"(?=.)(?:(?:[^+#\0/]*|\+)/)*(?:[^+#\0/]*|\+|#)", re.DOTALL)
_LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104 (compared, not bound)


def faults(
    sources: Mapping[str, Any], store: FolderStoreConfig | S3StoreConfig | None
) -> Iterator[Fault]:
    """Yield what is wrong with buckets, and between them.

    Args:
        sources: all sources that are sound by themselves, by name.
        store: where redacted pictures go.

    """
    if isinstance(store, S3StoreConfig):
        yield from _store(store)
    seen: dict[str, BucketConfig] = {}
    for name, source in sources.items():
        if not isinstance(source, BucketConfig):
            continue
        at: Location = ("sources", name)
        yield from _bucket(at, source)
        if isinstance(store, S3StoreConfig) and overlap(source, store):
            yield _own_output(at, store)
        yield from _shared(at, source, seen)
        seen[name] = source


def overlap(one: BucketConfig, other: BucketConfig | S3StoreConfig) -> bool:
    """Tell whether an object can be in both: same server, same bucket, one prefix in the other.

    A server that goes by two names is known as one only on this machine.
    """
    return (
        one.bucket == other.bucket
        and server_of(one.endpoint) == server_of(other.endpoint)
        and (one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix))
    )


def server_of(endpoint: str) -> tuple[str, int]:
    """Return host and port of an endpoint, by which servers are compared.

    This machine is ``localhost`` by any of its names; http and https without a port are one server.
    """
    try:
        url = urlsplit(endpoint)
        host, port = url.hostname or "", url.port
    except ValueError:  # reported as an endpoint that is none
        return endpoint, 0
    if host in _LOOPBACK or re.fullmatch(r"127\.\d+\.\d+\.\d+", host):
        host = "localhost"
    return host.rstrip("."), port if port not in {None, 80} else 443


def _own_output(at: Location, store: S3StoreConfig) -> Fault:
    return Fault(
        location=(*at, "prefix"),
        message=f"the store writes to this bucket under {show_given(store.prefix)}, which this "
        "source reads; expected another bucket, or two prefixes of which neither begins with the "
        "other (in/ and redacted/), else the box would redact its own pictures again and again",
    )


def _shared(
    at: Location, source: BucketConfig, seen: Mapping[str, BucketConfig]
) -> Iterator[Fault]:
    for name, other in seen.items():
        if overlap(source, other):
            yield Fault(
                location=(*at, "prefix"),
                given=show_given(source.prefix),
                message=f"expected objects of its own; sources.{name} reads these, and each "
                "picture would be redacted twice",
            )
            return
    for name, other in seen.items():
        if source.bucket == other.bucket and server_of(source.endpoint) != server_of(
            other.endpoint
        ):
            yield Fault(
                location=(*at, "bucket"),
                given=show_given(source.bucket),
                message=f"sources.{name} reads a bucket of that name on another server; expected "
                "different names, since a notification says only the name of the bucket",
            )
            return


def _bucket(at: Location, source: BucketConfig) -> Iterator[Fault]:
    if not _BUCKET.fullmatch(source.bucket) or ".." in source.bucket:
        yield Fault(
            location=(*at, "bucket"),
            given=show_given(source.bucket),
            message="expected the name of a bucket: letters, digits, dots, dashes, underscores",
        )
    yield from _endpoint((*at, "endpoint"), source.endpoint)
    if source.pull_endpoint:
        yield from _endpoint((*at, "pull_endpoint"), source.pull_endpoint)
    if source.via == "pull" and not source.subscription:
        yield Fault(
            location=(*at, "subscription"),
            message='missing; expected the name of a subscription, because via = "pull"',
        )
    if source.via == "mqtt":
        yield from _broker(at, source)
    if source.after == "delete_source" and source.when_removed == "erase":
        yield Fault(
            location=(*at, "when_removed"),
            given='"erase"',
            message='expected "keep", because after = "delete_source": the box itself removes the '
            "originals, and would erase what it made of them",
        )
    if "" in source.suffixes:
        yield Fault(
            location=(*at, "suffixes"),
            given='""',
            message="every key ends with it; expected endings such as .jpg, or [] for every key",
        )
    if source.sweep_since and not _is_time(source.sweep_since):
        yield Fault(
            location=(*at, "sweep_since"),
            given=show_given(source.sweep_since),
            message="expected a day or a time, such as 2026-11-20 or 2026-11-20T08:00:00Z",
        )


def _broker(at: Location, source: BucketConfig) -> Iterator[Fault]:
    for name, given in (("broker", bool(source.broker)), ("topic", bool(source.topic))):
        if not given:
            yield Fault(
                location=(*at, name),
                message=f"missing; expected the {name} that the server publishes to, because via = "
                '"mqtt"',
            )
    if source.broker:
        try:
            read_url(source.broker.reveal(), client_id="edge")
        except PartFailed:
            # what was given stays unsaid: it may have a password
            yield Fault(
                location=(*at, "broker"),
                message="expected mqtt://host:port, mqtts://host:port, ws://host:port/path or "
                "wss://host:port/path, with user:password@ before the host where needed, "
                "percent-encoded",
            )
    if source.topic and not _FILTER.fullmatch(source.topic):
        yield Fault(
            location=(*at, "topic"),
            given=show_given(source.topic),
            message="expected a topic such as minio/frames; + stands for a whole level, # for the "
            "last ones",
        )


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _store(store: S3StoreConfig) -> Iterator[Fault]:
    if store.sse == "sse-kms" and not store.sse_key_id:
        yield Fault(
            location=("store", "sse_key_id"),
            message='missing; expected the id of a key, because sse = "sse-kms"',
        )
    if not _NEW_BUCKET.fullmatch(store.bucket) or re.search(r"[.-][.]|[.]-", store.bucket):
        yield Fault(
            location=("store", "bucket"),
            given=show_given(store.bucket),
            message="expected a name of small letters, digits, dashes and single dots, which "
            "begins and ends with a letter or digit",
        )
    yield from _endpoint(("store", "endpoint"), store.endpoint)


def _endpoint(location: Location, endpoint: str) -> Iterator[Fault]:
    if not _ENDPOINT.fullmatch(endpoint):
        yield Fault(
            location=location,
            given=show_given(endpoint),
            message="expected http://host:port or https://host, without path and credentials",
        )
