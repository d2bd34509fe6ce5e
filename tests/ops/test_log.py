"""What the log shows, and what it never shows."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from edge.ops.log import set_up

log = logging.getLogger("edge.tests.log")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("edge")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def test_json_lines_carry_level_logger_message_and_extras() -> None:
    stream = io.StringIO()
    set_up("info", "json", stream)
    log.info("camera %s is back", "gate", extra={"source": "gate", "tries": 3})
    entry = json.loads(stream.getvalue())
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "info",
        "logger": "edge.tests.log",
        "message": "camera gate is back",
        "source": "gate",
        "tries": 3,
    }


def test_a_json_line_stays_json_when_an_address_in_it_is_starred() -> None:
    stream = io.StringIO()
    set_up("info", "json", stream)
    address = "http://h/?user=admin&pwd=hunter2"
    log.warning("cannot open %s", address, extra={"where": {"url": address}, "list": [address]})
    entry = json.loads(stream.getvalue())
    assert entry["where"]["url"] == "http://h/?user=***&pwd=***"
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("kind", ["json", "text"])
def test_credentials_are_starred_in_messages_extras_and_tracebacks(kind: str) -> None:
    stream = io.StringIO()
    set_up("info", kind, stream)
    address = "rtsp://admin:hunter2@10.0.0.5/s"

    class Odd:
        def __str__(self) -> str:
            return address

    try:
        int(address)
    except ValueError:
        log.exception("%s failed", address, extra={"url": address, "odd": Odd()})
    assert stream.getvalue().count("rtsp://***@10.0.0.5/s") >= 4
    assert "hunter2" not in stream.getvalue()
    assert "Traceback" in stream.getvalue()


def test_text_lines_are_for_people() -> None:
    stream = io.StringIO()
    set_up("info", "text", stream)
    log.warning("the store is shut", extra={"waiting": 3})
    assert stream.getvalue()[8:] == " warning the store is shut waiting=3\n"


def test_what_is_no_terminal_gets_json() -> None:
    stream = io.StringIO()
    set_up("info", "auto", stream)
    log.info("hello")
    assert json.loads(stream.getvalue())["message"] == "hello"


def test_the_level_holds_for_the_house_and_others_are_quiet() -> None:
    stream = io.StringIO()
    set_up("debug", "text", stream)
    log.debug("seen")
    logging.getLogger("elsewhere").info("not seen")
    assert "seen" in stream.getvalue()
    assert "not seen" not in stream.getvalue()
