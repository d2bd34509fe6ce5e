"""S3 stores in front of a real gateway, and of one that misbehaves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from edge.config.secret import Secret
from edge.config.store import S3StoreConfig
from edge.errors import PartFailed
from edge.sinks.s3 import S3Store
from tests.servers.odd_s3 import OddS3
from tests.servers.rgw import Rgw

Make = Callable[..., S3Store]


@pytest.fixture
async def make(rgw: Rgw, bucket: str) -> AsyncIterator[Make]:
    """Return a maker of stores on the gateway; arguments change the configuration."""
    stores: list[S3Store] = []

    def make_store(**other: Any) -> S3Store:
        values: dict[str, Any] = {
            "endpoint": rgw.endpoint,
            "bucket": bucket,
            "access_key": Secret(rgw.access_key),
            "secret_key": Secret(rgw.secret_key),
            "timeout": "5s",
        }
        stores.append(S3Store(S3StoreConfig(kind="s3", **{**values, **other})))
        return stores[-1]

    yield make_store
    for store in stores:
        await store.close()


def odd_store(server: OddS3, **other: Any) -> S3Store:
    config = S3StoreConfig(
        kind="s3",
        endpoint=server.endpoint,
        bucket="frames",
        access_key=Secret("AKEXAMPLE"),
        secret_key=Secret("very-secret"),
        **{"timeout": "5s", **other},
    )
    return S3Store(config)


async def refusal(work: Any) -> PartFailed:
    with pytest.raises(PartFailed) as shut:
        await work
    assert shut.value.hint
    assert "secret" not in str(shut.value).replace("secret key", "")
    return shut.value
