from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import EdgeError, PartFailed, Rejected, TryLater
from edge.sinks.forward_answer import KEPT, LONGEST_WAIT, seconds_of
from edge.sinks.forward_http import HttpForward
from tests.servers.odd_sink import OddSink, answer, odd_sink, saying
from tests.sinks.forwarding import config, event, forward, refused

__all__ = ["odd_sink"]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_a_success_without_a_body_is_done(odd_sink: OddSink, status: int) -> None:
    odd_sink.play = saying(answer(f"{status} Fine"))
    async with forward(odd_sink.url) as handler:
        assert await handler(event()) is None


@pytest.mark.parametrize("status", [201, 202, 203, 299])
async def test_only_200_may_be_a_reply(odd_sink: OddSink, status: int) -> None:
    reply = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/a", "ce_type": "t"}
    odd_sink.play = saying(answer(f"{status} Fine", b"{}", **reply))
    async with forward(odd_sink.url) as handler:
        assert await handler(event()) is None
    odd_sink.play = saying(answer("200 Fine", b"{}", **reply))
    async with forward(odd_sink.url) as handler:
        assert (await handler(event())) is not None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[(status, TryLater) for status in (404, 408, 409, 429, 500, 502, 503, 504, 599)],
        *[(status, Rejected) for status in (101, 300, 301, 304, 307, 308, 400, 401, 403, 405)],
        *[(status, Rejected) for status in (406, 411, 413, 415, 418, 422, 431, 451, 499, 600, 999)],
        (410, PartFailed),
    ],
)
async def test_the_status_decides(odd_sink: OddSink, status: int, kind: type[EdgeError]) -> None:
    # 304 has no body
    odd_sink.play = saying(answer(f"{status} No", b"words" if status not in {101, 304} else b""))
    error = await refused(odd_sink, kind)
    assert error.status == status
    assert error.answer == (b"words" if status not in {101, 304} else b"")
    assert error.reason == ("gone" if status == 410 else f"status_{status}")
    assert str(status) in str(error)
    assert odd_sink.host in str(error)
    assert getattr(error, "after", 0.0) == 0.0


@pytest.mark.parametrize(
    ("headers", "body", "words"),
    [
        ({}, b"thanks", "no CloudEvent"),
        ({"content_type": "application/json"}, b'{"specversion": "1.0"}', "no CloudEvent"),
        ({"content_type": "application/cloudevents+json"}, b"{", "JSON"),
        ({"content_type": "application/cloudevents+json"}, b"", ""),
        ({"content_type": "application/cloudevents-batch+json"}, b"[]", "batch"),
        ({"content_type": "application/cloudevents+avro"}, b"x", "avro"),
        ({"ce_specversion": "1.0", "ce_id": "1", "ce_type": "t"}, b"", "source"),
        ({"ce_specversion": "9.0", "ce_id": "1", "ce_type": "t", "ce_source": "a"}, b"", "9.0"),
        ({"content_encoding": "gzip"}, b"\x1f\x8b", "compressed"),
    ],
)
async def test_200_with_something_else_is_tried_again(
    odd_sink: OddSink, headers: dict[str, str], body: bytes, words: str
) -> None:
    odd_sink.play = saying(answer("200 OK", body, **headers))
    error = await refused(odd_sink, TryLater)
    assert (error.reason, error.status, error.answer) == ("bad_reply", 200, body)
    assert words in str(error)


async def test_a_sink_of_dead_letters_is_asked_for_no_reply(odd_sink: OddSink) -> None:
    odd_sink.play = saying(answer("200 OK", b"thanks"))
    handler = HttpForward(config(odd_sink.url), replies=False)
    assert await handler(event()) is None
    await handler.close()
    assert b"prefer" not in odd_sink.seen[0].lower()


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_says_when(odd_sink: OddSink, status: int) -> None:
    odd_sink.play = saying(answer(f"{status} No", retry_after="120"))
    assert (await refused(odd_sink, TryLater)).after == 120
    later = format_datetime(datetime.fromtimestamp(time.time() + 60, UTC), usegmt=True)
    odd_sink.play = saying(answer(f"{status} No", retry_after=later))
    assert 50 < (await refused(odd_sink, TryLater)).after <= 60


async def test_retry_after_counts_with_429_and_503_only(odd_sink: OddSink) -> None:
    odd_sink.play = saying(answer("500 No", retry_after="120"))
    assert (await refused(odd_sink, TryLater)).after == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 7 ", 7),
        ("9" * 5000, LONGEST_WAIT),
        ("-1", 0),
        ("1.5", 0),
        ("٣", 0),
        ("", 0),
        ("soon", 0),
        ("Thu, 01 Jan 1970 00:16:41 GMT", 1),
        ("Thursday, 01-Jan-70 00:16:41 GMT", 1),
        ("Thu Jan  1 00:16:41 1970", 1),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        ("Fri, 99 Dec 9999 23:59:59 GMT", 0),
    ],
)
def test_every_form_of_retry_after_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text, 1000.0) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_breaks_it(text: str) -> None:
    assert 0 <= seconds_of(text, 1000.0) <= LONGEST_WAIT


async def test_the_beginning_of_a_refusal_is_kept(odd_sink: OddSink) -> None:
    odd_sink.play = saying(answer("400 No", b"x" * 10_000_000))
    started = time.monotonic()
    error = await refused(odd_sink, Rejected)
    assert error.answer == b"x" * KEPT
    assert time.monotonic() - started < 10
