"""Events for tests: one that is well known, and every one that there could be."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from edge.cloudevents.json_text import SPACES
from edge.event import NAMED, Event, Value, WireEvent

NONCHARACTERS = [
    *range(0xFDD0, 0xFDF0),
    *(plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF)),
]


def an_event(data: bytes | None = None, **other: Any) -> WireEvent:
    """Return an event with the least that one needs."""
    return replace(Event(id="1", source="/a", type="t", data=data), **other)


def document(data: str = "", **other: object) -> bytes:
    """Return an event in the JSON format; ``data`` is written as it is, ``None`` leaves out."""
    members: dict[str, object] = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t"}
    members |= other
    left = {name: value for name, value in members.items() if value is not ...}
    return (json.dumps(left)[:-1] + (f', "data": {data}' if data else "") + "}").encode()


def headers(**other: str) -> list[tuple[str, str]]:
    """Return an event as headers; ``content_type`` is ``Content-Type``, all others get ``ce-``."""
    found = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t"} | other
    kind = found.pop("content_type", None)
    pairs = [(f"ce-{name}", value) for name, value in found.items()]
    return pairs if kind is None else [*pairs, ("Content-Type", kind)]


texts = st.text(
    st.characters(
        exclude_categories=["Cs", "Cc"], exclude_characters=[chr(code) for code in NONCHARACTERS]
    ),
    min_size=1,
    max_size=30,
)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=25).filter(
    lambda name: name not in {*NAMED, "data", "datacontentencoding"}
)
values: st.SearchStrategy[Value] = st.one_of(
    texts, st.just(""), st.booleans(), st.integers(-(2**31), 2**31 - 1)
)
sources = texts.map(lambda text: "/" + quote(text))
times = st.builds(
    lambda when, fraction, zone: when.strftime("%Y-%m-%dT%H:%M:%S").zfill(19) + fraction + zone,
    st.datetimes(),
    st.sampled_from(["", ".5", ".123456789", ".000"]),
    st.sampled_from(["Z", "z", "+00:00", "-11:30"]),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
json_texts = st.one_of(
    st.builds(
        lambda value, indent, ascii_only: json.dumps(value, indent=indent, ensure_ascii=ascii_only),
        json_values.filter(lambda value: "\\ud" not in json.dumps(value)),
        st.sampled_from([None, 0, 3]),
        st.booleans(),
    ),
    st.sampled_from(
        [
            "1.00",
            "-0",
            "1E400",
            "123456789012345678901234567890.10",
            '{"a":1, "a":2}',
            '"\\ud800"',
            '"\\u00e9\\/"',
            "9" * 5000,
        ]
    ),
)
_types_and_data: st.SearchStrategy[tuple[str, bytes | None]] = st.one_of(
    st.tuples(st.sampled_from(["", "text/plain", "application/json"]), st.none()),
    st.tuples(
        st.sampled_from(["", "application/json", "Application/Vnd.x+JSON; charset=UTF-8"]),
        json_texts.map(str.encode),
    ),
    st.tuples(
        st.sampled_from(["text/plain", 'text/xml; charset="utf-8"', "application/soap+xml"]),
        st.text().map(lambda text: text.encode(errors="replace")),
    ),
    st.tuples(
        st.sampled_from(
            ["", "application/json", "image/jpeg", "text/plain", "text/plain; charset=latin-9"]
        ),
        # around JSON the JSON format has no spaces of its own
        st.binary(max_size=40).map(lambda data: data.strip(SPACES)),
    ),
)


def _event(kind: tuple[str, bytes | None], **other: Any) -> WireEvent:
    return Event(datacontenttype=kind[0], data=kind[1], **other)


events: st.SearchStrategy[WireEvent] = st.builds(
    _event,
    _types_and_data,
    id=texts,
    source=sources,
    type=texts,
    subject=st.just("") | texts,
    time=st.just("") | times,
    dataschema=st.sampled_from(["", "https://example.com/schema?v=1#x"]),
    specversion=st.sampled_from(["1.0", "1.0", "0.3"]),
    extensions=st.dictionaries(names, values, max_size=4),
)
