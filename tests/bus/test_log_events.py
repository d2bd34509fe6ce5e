from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytest

from edge.bus.log_events import LONGEST_ATTRIBUTE, LONGEST_DATA, MOST_PARSED, LogEvents
from edge.config.handlers import LogConfig
from edge.event import Event
from edge.ops.log import JsonLines, TextLines


class Lines:
    """What the house's own formatters write of the records."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.text = io.StringIO()
        self.handler = logging.StreamHandler(self.text)
        self.handler.setFormatter(formatter)

    def read(self) -> str:
        text = self.text.getvalue()
        self.text.seek(0)
        self.text.truncate()
        return text

    def entry(self) -> dict[str, Any]:
        text = self.read()
        assert text.count("\n") == 1
        entry: dict[str, Any] = json.loads(text)
        return entry


@pytest.fixture
def as_json() -> Iterator[Lines]:
    yield from listening(JsonLines())


@pytest.fixture
def as_text() -> Iterator[Lines]:
    yield from listening(TextLines())


def listening(formatter: logging.Formatter) -> Iterator[Lines]:
    lines = Lines(formatter)
    logger = logging.getLogger("edge.bus.log_events")
    logger.addHandler(lines.handler)
    before = logger.level
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(lines.handler)
    logger.setLevel(before)


def handler(
    *, data: bool = False, level: Literal["debug", "info", "warning"] = "info"
) -> LogEvents:
    return LogEvents(LogConfig(kind="log", data=data, level=level))


def event(**changes: Any) -> Event[Any]:
    given = {"id": "7", "source": "/site/box/gate", "type": "com.example.seen", "subject": "a.jpg"}
    return Event(**{**given, "data": None, **changes})


async def told(lines: Lines, **changes: Any) -> dict[str, Any]:
    await handler(data=True)(event(**changes))
    return lines.entry()


async def test_an_event_is_one_line(as_json: Lines) -> None:
    await handler(level="warning")(event(data=b'{"secret": 1}'))
    entry = as_json.entry()
    del entry["time"]
    assert entry == {
        "level": "warning",
        "logger": "edge.bus.log_events",
        "message": "event",
        "id": "7",
        "source": "/site/box/gate",
        "type": "com.example.seen",
        "subject": "a.jpg",
    }


async def test_a_person_reads_the_same(as_text: Lines) -> None:
    await handler(data=True)(event(data=b"[1, 2]"))
    line = as_text.read()
    assert line.endswith(
        "event id=7 source=/site/box/gate type=com.example.seen subject=a.jpg data=[1,2]\n"
    )


async def test_below_the_level_nothing_is_written(as_json: Lines) -> None:
    assert await handler(level="debug")(event()) is None  # type: ignore[func-returns-value]
    assert as_json.read() == ""


async def test_what_others_wrote_begins_no_line_and_moves_no_terminal(as_text: Lines) -> None:
    evil = "a\r\n12:00:00 error all is lost\x1b[2J\x9b\u202e\u2028\x00"
    await handler(data=True)(
        event(id=evil, subject=evil, data=evil.encode(), datacontenttype="x/y")
    )
    line = as_text.read()
    assert line.splitlines() == [line[:-1]]
    assert line[:-1].isprintable()
    assert r"a\r\n12:00:00 error all is lost\x1b[2J\x9b\u202e\u2028\x00" in line


async def test_attributes_and_data_are_shortened(as_json: Lines) -> None:
    entry = await told(as_json, subject="x" * 5000, data=json.dumps("y" * 5000).encode())
    assert entry["subject"] == "x" * LONGEST_ATTRIBUTE + "…"
    assert entry["data"] == '"' + "y" * (LONGEST_DATA - 1) + "… (5002 bytes)"


@pytest.mark.parametrize(
    ("kind", "data", "shown"),
    [
        ("", b'{ "a" : [ 1,\n2 ] }', '{"a":[1,2]}'),
        ("application/json", '{"a": "é"}'.encode(), '{"a":"é"}'),
        ("application/json", b"{", "{"),
        ("application/json", b"[" * 50_000, "[" * LONGEST_DATA + "… (50000 bytes)"),
        ("application/json", rb'"\ud800"', r'"\ud800"'),
        ("text/plain", b"a\tb", r"a\tb"),
        ("text/plain", b"\xff", "<1 bytes>"),
        ("", b"\xff\xd8\xff", "<3 bytes>"),
        ("image/jpeg", b"\xff\xd8\xff", "<3 bytes>"),
        (" Image/SVG+xml", b"<svg/>", "<6 bytes>"),
        ("application/octet-stream", b"text", "<4 bytes>"),
    ],
)
async def test_data_is_text_or_a_size(as_json: Lines, kind: str, data: bytes, shown: str) -> None:
    entry = await told(as_json, data=data, datacontenttype=kind)
    assert entry["data"] == shown


async def test_large_data_is_cut_before_it_is_read(as_json: Lines) -> None:
    # the cut falls into the middle of a character
    data = b'"' + "é".encode() * MOST_PARSED + b'"'
    entry = await told(as_json, data=data)
    assert entry["data"] == '"' + "é" * (LONGEST_DATA - 1) + f"… ({len(data)} bytes)"
    broken = b'"' + b"\xff" * MOST_PARSED * 2
    assert (await told(as_json, data=broken))["data"] == f"<{len(broken)} bytes>"


async def test_a_raw_picture_is_never_written(as_json: Lines) -> None:
    pixels = np.full((2, 2, 3), 123, np.uint8)
    entry = await told(as_json, data=pixels, datacontenttype="image/jpeg")
    assert entry["data"] == "<not shown>"
