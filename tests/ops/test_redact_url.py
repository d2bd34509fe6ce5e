"""No credential in anything that is written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.ops.redact_url import clean, without_credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:hunter2@10.0.0.5:554/s", "rtsp://***@10.0.0.5:554/s"),
        ("RTSPS://admin@h/s", "RTSPS://***@h/s"),
        ("rtsp://admin:hunt@er2@h/s", "rtsp://***@h/s"),
        ("rtsp://admin:hunt/er2@h/s", "rtsp://***@h/s"),
        ("rtsp://admin:hunt#er2@h/s", "rtsp://***@h/s"),
        ("rtsp://admin:1234?5@h/s", "rtsp://***@h/s"),
        ("http://h/cgi?user=admin&pwd=hunter2&ch=1", "http://h/cgi?user=***&pwd=***&ch=1"),
        ("http://h/cgi?ch=1&password=hunter2", "http://h/cgi?ch=1&password=***"),
        ("http://h/cgi?usr=a;passwd=hunter2;x=1", "http://h/cgi?usr=***;passwd=***;x=1"),
        ("http://h/api?access_token=hunter2", "http://h/api?access_token=***"),
        ("rtsp://h/user=admin_password=hunter2_channel=1", "rtsp://h/user=***"),
        (
            "could not open 'rtsp://a:b@h/1' nor http://c:d@i/2",
            "could not open 'rtsp://***@h/1' nor http://***@i/2",
        ),
    ],
)
def test_user_and_password_become_stars(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://10.0.0.5:554/stream1?channel=1&subtype=0",
        "rtsp://10.0.0.5:554/a@b",
        "http://[fe80::1]:80/x@y",
        "mail to someone@example.org about 3 pictures",
        "detect=5 ms; encode=3 ms",
        "",
    ],
)
def test_what_holds_no_credential_stays_as_it_is(text: str) -> None:
    assert without_credentials(text) == text


@settings(deadline=None, derandomize=True)
@given(
    st.text(st.characters(codec="ascii", exclude_characters=" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f")).map(
        lambda word: f"secret{word}tail"
    )
)
def test_no_password_survives_whatever_its_letters(password: str) -> None:
    shown = without_credentials(f"rtsp://admin:{password}@10.0.0.5/s")
    assert shown.endswith("10.0.0.5/s")
    assert "secret" not in shown
    assert "tail" not in shown


def test_a_quoted_address_keeps_its_closing_quote() -> None:
    text = json.dumps(["http://h/?pwd=hunter2", {"url": "http://h/?pwd=hunter2"}])
    assert json.loads(without_credentials(text)) == [
        "http://h/?pwd=***",
        {"url": "http://h/?pwd=***"},
    ]


def test_texts_are_cleaned_however_deep_they_stand() -> None:
    value = {"a": ["rtsp://a:b@h", ("http://c:d@h", 5)], "rtsp://e:f@h": None}
    assert clean(value) == {"a": ["rtsp://***@h", ["http://***@h", 5]], "rtsp://***@h": None}
