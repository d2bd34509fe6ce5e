"""Stores behind TLS, and buckets that are part of the host's name: a real Ceph RGW both times."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.config.secret import Secret
from edge.config.sources import BucketConfig
from edge.errors import PartFailed
from edge.frame import ObjectRef
from edge.sources.buckets.link import Ask, BucketLink
from edge.sources.buckets.objects import BucketObjects
from edge.sources.buckets.sigv import Keys
from tests.servers.certificates import Authority
from tests.servers.rgw import Rgw, bucket, rgw
from tests.servers.tls_proxy import TlsProxy

__all__ = ["bucket", "rgw"]

KEY = "cam 1/a+b/hallé%20&?.jpg"
BODY = b"\xff\xd8 a picture"


@pytest.fixture
def filled(rgw: Rgw, bucket: str) -> str:
    """Return a bucket with one picture."""
    rgw.client().make_bucket(bucket_name=bucket)
    rgw.client().put_object(bucket, KEY, io.BytesIO(BODY), len(BODY))
    return bucket


@pytest.fixture
def loopback_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every name under localhost resolve to loopback (RFC 6761), as systemd's resolver does.

    The resolver of a bare container does not, and is not ours to configure.
    """
    resolve: Callable[..., Any] = socket.getaddrinfo

    def answer(host: str | bytes | None, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        inside = name is not None and name.endswith(".localhost")
        return resolve("127.0.0.1" if inside else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", answer)


async def check(rgw: Rgw, name: str, endpoint: str, *, path_style: bool, ca: Path | None) -> None:
    """Fetch, list, and ask by hand, all signed."""
    keys = Keys(access_key=rgw.access_key, secret_key=rgw.secret_key)
    ca_file = str(ca or "")
    config = BucketConfig(
        kind="bucket",
        endpoint=endpoint,
        bucket=name,
        access_key=Secret(keys.access_key),
        secret_key=Secret(keys.secret_key),
        path_style=path_style,
        ca_file=ca_file,
        timeout="5s",
    )
    objects = BucketObjects(config)
    assert (await objects.get(ObjectRef(bucket=name, key=KEY))).body == BODY
    assert [one.key async for page in objects.list() for one in page] == [KEY]
    await objects.close()
    link = BucketLink(endpoint, keys, path_style=path_style, ca_file=ca_file)
    asked = Ask(bucket=name, path=f"/{KEY}", query=[("versionId", "null")])
    async with link.ask(asked) as answer:
        assert (answer.status, await answer.read(100)) == (200, BODY)
    async with link.ask(Ask(bucket=name, query=[("location", "")])) as answer:
        assert answer.status == 200
        assert b"Location" in await answer.read(1000)
    await link.close()


async def test_a_gateway_behind_tls_is_asked_with_its_own_authority(
    rgw: Rgw, filled: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    async with TlsProxy(rgw.endpoint, authority.sign("gateway")) as proxy:
        endpoint = f"https://127.0.0.1:{proxy.port}"
        await check(rgw, filled, endpoint, path_style=True, ca=authority.ca)


@pytest.mark.parametrize(
    ("alt", "days", "trusted"),
    [
        ("IP:127.0.0.1", 2, False),
        ("DNS:elsewhere.example", 2, True),
        ("IP:127.0.0.1", -1, True),
    ],
    ids=["unknown authority", "other name", "expired"],
)
async def test_a_certificate_that_proves_nothing_is_refused_before_anything_is_sent(
    rgw: Rgw, tmp_path: Path, alt: str, days: int, trusted: bool
) -> None:
    authority = Authority(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    ca = authority.ca if trusted else Authority(other).ca
    async with TlsProxy(rgw.endpoint, authority.sign("gateway", alt, days)) as proxy:
        keys = Keys(access_key="AK", secret_key="SK")
        link = BucketLink(f"https://127.0.0.1:{proxy.port}", keys, ca_file=str(ca))
        with pytest.raises(PartFailed) as refused:
            async with link.ask(Ask(bucket="frames")):
                pass
        assert refused.value.reason == "tls"
        assert "ca_file" in refused.value.hint
        await link.close()


@pytest.mark.usefixtures("loopback_names")
async def test_a_bucket_may_be_part_of_the_host_s_name(
    rgw: Rgw, filled: str, tmp_path: Path
) -> None:
    port = rgw.endpoint.rpartition(":")[2]
    await check(rgw, filled, f"http://localhost:{port}", path_style=False, ca=None)
    authority = Authority(tmp_path)
    pair = authority.sign("gateway", f"DNS:{filled}.localhost")
    async with TlsProxy(rgw.endpoint, pair) as proxy:
        endpoint = f"https://localhost:{proxy.port}"
        await check(rgw, filled, endpoint, path_style=False, ca=authority.ca)
