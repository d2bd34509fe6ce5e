"""Buckets that pictures come from, in the operator's file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from edge.config.load import examine, loads
from edge.config.sources import BucketConfig
from tests.config.test_load import STORE, faults

KEYS = 'access_key = "${secret:a}"\nsecret_key = "${secret:s}"\n'
SECRETS = {"EDGE_SECRET_A": "access", "EDGE_SECRET_S": "hunter2"}


def source(
    more: str = "", *, name: str = "in", endpoint: str = "http://h:9000", bucket: str = "frames"
) -> str:
    return (
        f'[sources.{name}]\nkind = "bucket"\nendpoint = "{endpoint}"\nbucket = "{bucket}"\n'
        f"{KEYS}{more}\n"
    )


def s3(prefix: str, *, endpoint: str = "http://h:9000", bucket: str = "frames") -> str:
    return (
        f'[store]\nkind = "s3"\nendpoint = "{endpoint}"\nbucket = "{bucket}"\n{KEYS}'
        f'prefix = "{prefix}"\n'
    )


def taken(text: str) -> BucketConfig:
    read = loads(text, "edge.toml", environ={"HOME": "/", **SECRETS}).sources["in"]
    assert isinstance(read, BucketConfig)
    return read


def test_an_address_a_bucket_and_keys_are_enough() -> None:
    config = taken(source() + STORE)
    assert (config.via, config.prefix, config.region) == ("hook", "", "us-east-1")
    assert config.secret_key.reveal() == "hunter2"
    assert not config.token
    assert config.max_object == 64 * 2**20
    assert config.timeout == 30.0
    assert config.sweep_every == timedelta(minutes=10).total_seconds()
    assert "hunter2" not in repr(config)


def test_pulling_needs_a_subscription() -> None:
    found = faults(source('via = "pull"') + STORE, **SECRETS)
    assert list(found) == ["sources.in.subscription"]
    assert 'because via = "pull"' in found["sources.in.subscription"]
    taken(source('via = "pull"\nsubscription = "edge"') + STORE)


@pytest.mark.parametrize(
    "endpoint",
    ["h:9000", "ftp://h", "http://me:hunter2@h", "http://h/frames", "http://", "http:// h"],
)
def test_an_endpoint_is_http_without_path_and_credentials(endpoint: str) -> None:
    found = faults(source(endpoint=endpoint) + STORE, **SECRETS)
    assert list(found) == ["sources.in.endpoint"]
    assert "hunter2" not in str(found)
    found = faults(source(f'pull_endpoint = "{endpoint}"') + STORE, **SECRETS)
    assert list(found) == ["sources.in.pull_endpoint"]


@pytest.mark.parametrize(
    ("reads", "writes"),
    [("", ""), ("in/", ""), ("", "out/"), ("a/", "a/b/"), ("a/b/", "a/"), ("in", "in/out/")],
)
def test_a_source_may_not_read_what_the_store_writes(reads: str, writes: str) -> None:
    found = faults(source(f'prefix = "{reads}"') + s3(writes), **SECRETS)
    assert list(found) == ["sources.in.prefix"]
    assert "redact its own pictures again and again" in found["sources.in.prefix"]


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("http://H:9000", "http://h:9000/"),
        ("http://h:80", "http://h"),
        ("https://h", "http://h:80/"),
        ("https://h:443", "https://h."),
        ("http://localhost:9000", "http://127.0.0.1:9000"),
        ("http://[::1]:9000", "http://127.0.1.1:9000"),
    ],
)
def test_one_server_is_known_by_other_spellings(one: str, same: str) -> None:
    found = faults(source(endpoint=one) + s3("", endpoint=same), **SECRETS)
    assert list(found) == ["sources.in.prefix"]


@pytest.mark.parametrize(
    "store",
    [
        s3("out/"),
        s3("", bucket="redacted"),
        s3("", endpoint="http://h:9001"),
        s3("", endpoint="http://g:9000"),
        STORE,
    ],
)
def test_another_prefix_bucket_or_server_is_fine(store: str) -> None:
    taken(source('prefix = "in/"') + store)


def test_two_sources_may_not_read_the_same_objects() -> None:
    two = source('prefix = "a/"') + source('prefix = "a/b/"', name="two")
    found = faults(two + STORE, **SECRETS)
    assert list(found) == ["sources.two.prefix"]
    assert "sources.in reads these" in found["sources.two.prefix"]
    taken(source('prefix = "a/"') + source('prefix = "b/"', name="two") + STORE)


def test_two_servers_may_not_have_buckets_of_one_name() -> None:
    two = source() + source(name="two", endpoint="http://g:9000")
    found = faults(two + STORE, **SECRETS)
    assert list(found) == ["sources.two.bucket"]
    assert "on another server" in found["sources.two.bucket"]


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('timeout = "0s"', "timeout"),
        ("max_object = 0", "max_object"),
        ('suffixes = [".jpg", ""]', "suffixes"),
        ('sweep_since = "yesterday"', "sweep_since"),
        ('via = "mail"', "via"),
    ],
)
def test_a_value_that_cannot_work_is_refused(line: str, key: str) -> None:
    assert list(faults(source(line) + STORE, **SECRETS)) == [f"sources.in.{key}"]


def test_a_box_that_deletes_originals_may_not_erase_what_it_made_of_them() -> None:
    both = source('after = "delete_source"\nwhen_removed = "erase"') + STORE
    found = faults(both, **SECRETS)
    assert list(found) == ["sources.in.when_removed"]
    assert "would erase what it made of them" in found["sources.in.when_removed"]
    taken(source('after = "tag"\nwhen_removed = "erase"') + STORE)
    taken(source('after = "delete_source"') + STORE)


@pytest.mark.parametrize("bucket", ["10.0.0.5", "a b c", "a..b", "-abc", "a/b"])
def test_a_bucket_has_a_name_that_some_server_takes(bucket: str) -> None:
    assert list(faults(source(bucket=bucket) + STORE, **SECRETS)) == ["sources.in.bucket"]
    taken(source(bucket="Old_Frames.1") + STORE)


@pytest.mark.parametrize("since", ["2026-11-20", "2026-11-20T08:00:00Z", "2026-11-20 08:00+01:00"])
def test_a_sweep_may_begin_at_a_day_or_a_time(since: str) -> None:
    assert taken(source(f'sweep_since = "{since}"\nsweep_every = "0s"') + STORE).sweep_every == 0


def test_validation_doubts_a_bucket_s_secrets_in_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    plain = source('token = "hunter2"').replace("${secret:s}", "hunter2")
    path.write_text(plain + STORE)
    doubts = examine(path, environ={"HOME": "/", **SECRETS}).doubts
    assert [doubt.path for doubt in doubts] == ["sources.in.secret_key", "sources.in.token"]
    assert "hunter2" not in str([str(doubt) for doubt in doubts])
