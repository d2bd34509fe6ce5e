"""Attributes: which names and values a CloudEvent may have, and the event made of them.

Source: CloudEvents 1.0.2, "Context Attributes" and "Type System". Version 0.3 differs in the names
``schemaurl`` and ``datacontentencoding``; both are carried as extensions, and an event of 0.3 stays
one.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from edge.cloudevents.faults import Malformed, brief, refused
from edge.cloudevents.media_type import is_media_type
from edge.event import Event, Value, WireEvent

REQUIRED: Final = ("specversion", "id", "source", "type")
VERSIONS: Final = ("1.0", "0.3")
SMALLEST: Final = -(2**31)
LARGEST: Final = 2**31 - 1

_NAME: Final = re.compile(r"[a-z0-9]+")
_RESERVED: Final = frozenset({"data"})
# Control characters, lone surrogates, and the code points that Unicode calls noncharacters.
_FORBIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
_TIME: Final = re.compile(
    r"([0-9]{4})-(0[1-9]|1[0-2])-([0-3][0-9])"
    r"[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_URI_REST: Final = r"(?:[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=]++|%[0-9A-Fa-f]{2})*+"
_SCHEME: Final = r"[A-Za-z][A-Za-z0-9+.\-]*+:"
_URI: Final = re.compile(rf"{_SCHEME}{_URI_REST}(?:#{_URI_REST})?")
# without a scheme, the first segment of a path holds no colon
_URI_REFERENCE: Final = re.compile(rf"(?:{_SCHEME}|(?![^/?#]*:)){_URI_REST}(?:#{_URI_REST})?")


def is_time(text: str) -> bool:
    """Tell whether ``text`` is a date and time with zone as RFC 3339 writes them.

    Any number of digits may follow the seconds, and a leap second is one.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        return False
    year, month, day = map(int, found.groups())
    return 1 <= day <= calendar.monthrange(year, month)[1]


def is_uri_reference(text: str) -> bool:
    """Tell whether ``text`` is a URI or a relative reference (RFC 3986), and not empty."""
    return bool(text) and _URI_REFERENCE.fullmatch(text) is not None


def is_uri(text: str) -> bool:
    """Tell whether ``text`` is a URI with a scheme (RFC 3986)."""
    return _URI.fullmatch(text) is not None


_RULES: Final[dict[str, tuple[Callable[[str], bool], str]]] = {
    "specversion": (bool, "the version of CloudEvents"),
    "id": (bool, "text that is not empty"),
    "source": (is_uri_reference, "a URI reference (RFC 3986; other characters as %XX)"),
    "type": (bool, "text that is not empty"),
    "subject": (bool, "text that is not empty, or no subject"),
    "time": (is_time, "RFC 3339 with zone, like 2026-01-31T12:00:00Z"),
    "datacontenttype": (is_media_type, "a media type (RFC 2046), like application/json"),
    "dataschema": (is_uri, "a URI with its scheme (RFC 3986)"),
}


def event_of(found: Mapping[str, Value], data: bytes | None) -> WireEvent:
    """Make the event of attributes that came from outside.

    Args:
        found: attributes by name, unset ones left out.
        data: the body as binary mode has it; None: there is none.

    Raises:
        Malformed: a required attribute is missing, a name or value is not allowed, or the version
            is unknown (``unsupported_version``).

    """
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        raise Malformed(f"{', '.join(missing)}: missing; an event needs {', '.join(REQUIRED)}")
    _check_version(found["specversion"])
    extensions: dict[str, Value] = {}
    named: dict[str, Any] = {}
    for name, value in found.items():
        if name in _RULES:
            named[name] = _named(name, value)
        elif name == "datacontentencoding" and found["specversion"] == "0.3":
            extensions[name] = _encoding(value)
        else:
            check_name(name)
            extensions[name] = _extension(name, value)
    return Event(data=data, extensions=extensions, **named)


def _check_version(version: Value) -> None:
    if version not in VERSIONS:
        known = isinstance(version, str) and version
        reason = "unsupported_version" if known else "malformed"
        raise refused("specversion", version, " or ".join(VERSIONS), reason=reason)


def check_name(name: str) -> None:
    """Raise Malformed unless an attribute may be called that."""
    if not _NAME.fullmatch(name):
        raise refused("name of an attribute", name, "letters a-z and digits only")
    if name in _RESERVED:
        raise Malformed(f"{name}: no attribute may have this name")


def _named(name: str, value: Value) -> str:
    right, expected = _RULES[name]
    if not isinstance(value, str):
        raise refused(name, value, expected)
    check_text(name, value)
    if not right(value):
        raise refused(name, value, expected)
    return value


def _extension(name: str, value: Value) -> Value:
    if isinstance(value, str):
        check_text(name, value)
    elif type(value) is int and not SMALLEST <= value <= LARGEST:
        raise refused(name, value, f"an integer between {SMALLEST} and {LARGEST}")
    elif not isinstance(value, int):
        raise refused(name, value, "text, a boolean or an integer of 32 bits")
    return value


def _encoding(value: Value) -> str:
    """0.3 only. RFC 2045 knows more, but nobody could tell what the data is then."""
    if not isinstance(value, str) or value.lower() != "base64":
        raise refused("datacontentencoding", value, "base64")
    return value


def check_text(name: str, value: str) -> None:
    """Raise Malformed if ``value`` has a character that no attribute may hold."""
    if value.isascii() and value.isprintable():
        return
    wrong = _FORBIDDEN.search(value)
    if wrong is not None:
        which = f"U+{ord(wrong[0]):04X} at character {wrong.start() + 1}"
        raise Malformed(
            f"{brief(name)}: {which} is not allowed: no control characters, lone surrogates or "
            "noncharacters"
        )


def outgoing(event: WireEvent) -> dict[str, Value]:
    """Return the attributes of an event that is to be written, by name.

    What was read is right already. This is for events that were made here: a name or a character
    that would break the message does not leave.

    Raises:
        Malformed: a name or value that no attribute may have.

    """
    attributes = event.attributes()
    for name, value in attributes.items():
        if name not in _RULES:
            check_name(name)
        _extension(name, value)
    return attributes


def canonical(value: Value) -> str:
    """Return a value as text: ``true``, ``false``, decimal digits, or the text itself."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
