from __future__ import annotations

import pytest

from edge.cloudevents.faults import Malformed
from edge.cloudevents.webhook import answer

ORIGIN = ("WebHook-Request-Origin", "eventemitter.example.com")


def test_who_asks_may_send() -> None:
    assert answer([ORIGIN]) == {
        "Allow": "POST",
        "WebHook-Allowed-Origin": "eventemitter.example.com",
        "WebHook-Allowed-Rate": "*",
    }


@pytest.mark.parametrize(
    ("asked", "limit", "granted"),
    [
        ("120", None, "120"),
        ("120", 60, "60"),
        ("30", 60, "30"),
        ("007", None, "7"),
        (None, 60, "60"),
    ],
)
def test_the_rate_is_what_is_asked_but_never_more_than_there_is(
    asked: str | None, limit: int | None, granted: str
) -> None:
    headers = dict([ORIGIN])
    if asked is not None:
        headers["webhook-request-rate"] = asked
    assert answer(headers, rate=limit)["WebHook-Allowed-Rate"] == granted


@pytest.mark.parametrize("rate", ["0", "-1", "1.5", "", "many", "9" * 5000, "1\r\nX: y"])
def test_what_is_no_rate_is_refused(rate: str) -> None:
    with pytest.raises(Malformed, match="WebHook-Request-Rate"):
        answer([ORIGIN, ("WebHook-Request-Rate", rate)])


@pytest.mark.parametrize("origin", ["", " ", "a b", "a\r\nX: y", "*", "é.example.com", "a" * 300])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(Malformed, match="WebHook-Request-Origin"):
        answer({"WebHook-Request-Origin": origin})


def test_a_request_that_asks_nothing_is_refused() -> None:
    with pytest.raises(Malformed, match="WebHook-Request-Origin"):
        answer({"Access-Control-Request-Method": "POST", "Origin": "https://example.com"})


def test_two_origins_are_none() -> None:
    with pytest.raises(Malformed, match="webhook-request-origin"):
        answer([ORIGIN, ORIGIN])


def test_other_headers_may_come_as_often_as_they_like() -> None:
    assert "WebHook-Allowed-Origin" in answer([ORIGIN, ("Via", "a"), ("Via", "b")])


def test_only_listed_origins_may_send() -> None:
    allowed = ["EventEmitter.example.com"]
    assert answer([ORIGIN], origins=allowed)["WebHook-Allowed-Origin"] == ORIGIN[1]
    with pytest.raises(Malformed) as caught:
        answer({ORIGIN[0]: "evil.example.com"}, origins=allowed)
    assert caught.value.reason == "origin_refused"


def test_an_address_to_call_back_is_let_alone() -> None:
    back = ("WebHook-Request-Callback", "https://example.com/confirm?id=1")
    assert answer([ORIGIN, back]) == answer([ORIGIN])
