"""Events in files: one JSON event, an array of them, JSON lines, and recorded traffic.

A recording has a line ``{"at": "2026-05-04T09:30:00.250000+00:00", "event": {…}}`` for each event:
when it passed, and the event in the JSON format.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import BinaryIO, NamedTuple

from edge.cloudevents import json_format, json_text
from edge.errors import Rejected
from edge.event import WireEvent

LONGEST = 64 * 2**20
"""Bytes of a line, or of a file that is not in lines."""


class Recorded(NamedTuple):
    """An event, and when it passed; None where the file does not say."""

    event: WireEvent
    at: datetime | None


def line_of(event: str) -> str:
    """Return the line of a recording for an event in JSON that passes now."""
    return f'{{"at": "{datetime.now(UTC).isoformat(timespec="microseconds")}", "event": {event}}}\n'


def read(file: BinaryIO) -> Iterator[Recorded]:
    """Yield the events of a file, line by line where it is in lines.

    Raises:
        Rejected: something that is no event, with its line where it is in lines.

    """
    first = b""
    number = 0
    while not first.strip():
        number += 1
        first = file.readline(LONGEST)
        if not first:
            return
    first = first.removeprefix(b"\xef\xbb\xbf")
    start = first.lstrip()[:1]
    if start not in (b"{", b"["):
        raise Rejected(
            f"expected JSON, an object or an array, got {first.strip()[:40]!r}",
            hint="YAML is not read: convert it first, for example with yq -o=json",
            reason="not_json",
        )
    if start == b"[" or not json_text.is_value(first):
        yield from _document(first + file.read(LONGEST))
        return
    line = first
    while line:
        if line.strip():
            yield _line(line, number)
        number += 1
        line = file.readline(LONGEST)


def _document(body: bytes) -> Iterator[Recorded]:
    if len(body) >= LONGEST:
        raise Rejected(
            f"the file is one JSON text of more than {LONGEST} bytes",
            hint="write one event a line: jq -c '.[]'",
            reason="too_large",
        )
    events = (
        json_format.decode_batch(body)
        if body.lstrip().startswith(b"[")
        else [json_format.decode(body)]
    )
    for event in events:
        yield Recorded(event, None)


def _line(line: bytes, number: int) -> Recorded:
    try:
        text = json_text.text_of(line)
        members, end = json_text.object_at(text, json_text.skip(text, 0))
        if "event" not in members or "specversion" in members:
            return Recorded(json_format.decode(line), None)
        json_text.check_end(text, end)
        event = members["event"]
        at = members.get("at")
        return Recorded(
            json_format.decode(text[event.start : event.end].encode()),
            None if at is None else _moment(at.value),
        )
    except Rejected as error:
        raise Rejected(f"line {number}: {error}", reason=error.reason) from error


def _moment(given: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(given))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Rejected(f"at: expected ISO 8601 with zone, got {str(given)[:40]!r}")
    return moment
