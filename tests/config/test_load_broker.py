"""``[mqtt]`` in the operator's file."""

from __future__ import annotations

import pytest

from edge.config.load import loads
from tests.config.test_load import STORE, faults
from tests.config.test_load_buckets import SECRETS


def found(lines: str) -> dict[str, str]:
    return faults(f"[mqtt]\n{lines}\n{STORE}", **SECRETS)


def well(lines: str) -> bool:
    return loads(f"[mqtt]\n{lines}\n{STORE}", "edge.toml", environ={"HOME": "/"}).mqtt is not None


def test_an_address_is_enough() -> None:
    assert well('url = "mqtt://broker"')


@pytest.mark.parametrize("url", ["broker", "http://broker", "mqtt://", "mqtt://b:0", "mqtt://b/x"])
def test_an_address_that_is_no_brokers_is_refused(url: str) -> None:
    assert list(found(f'url = "{url}"')) == ["mqtt.url"]


@pytest.mark.parametrize("url", ["mqtt://me:hunter2@b", "mqtt://:hunter2@b", "http://me:hunter2@b"])
def test_an_address_has_no_password(url: str) -> None:
    told = found(f'url = "{url}"')
    assert list(told) == ["mqtt.url"]
    assert "hunter2" not in str(told)


def test_a_certificate_and_its_key_go_together() -> None:
    assert list(found('url = "mqtts://b"\ncert_file = "/c"')) == ["mqtt.key_file"]
    assert list(found('url = "mqtts://b"\nkey_file = "/k"')) == ["mqtt.cert_file"]
    assert well('url = "wss://b/mqtt"\nkey_file = "/k"\ncert_file = "/c"')


def test_without_tls_nobody_proves_anything() -> None:
    assert list(found('url = "mqtt://b"\nca_file = "/c"')) == ["mqtt.ca_file"]


def test_the_handler_is_there_where_a_broker_is() -> None:
    trigger = '[triggers.up]\nfilters = []\nsubscriber = { ref = "upstream" }\n'
    assert well(f'url = "mqtt://b"\n{trigger}')
    assert list(faults(trigger + STORE, **SECRETS)) == ["triggers.up.subscriber.ref"]
