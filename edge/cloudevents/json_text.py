"""JSON texts by their spans: what is data is found in the text, never parsed and written anew.

The scanner is the one of the standard library; what it takes beyond RFC 8259 (``NaN``, UTF-16) is
refused here. It calls itself for each level, so depth is bounded before it starts: in Python 3.13 a
thread with a small stack would crash, where other versions raise an error.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Final, NamedTuple, NoReturn

from edge.cloudevents.faults import SHOWN, Malformed, several, shown

SPACES: Final = b" \t\n\r"
DEEPEST: Final = 500
"""Arrays and objects that may be open at the same time in the data of an event."""
MOST_MEMBERS: Final = 1000
"""Members that the object of an event may have."""

_SPACE: Final = re.compile(r"[ \t\n\r]*+")
# the closing quote may be missing: the scanner goes no further then, either
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_OTHER: Final = re.compile(r"[^\[\]{}]++")
_STEP: Final = {"[": 1, "{": 1, "]": -1, "}": -1}


class Member(NamedTuple):
    """The value of one member of an object. ``text[start:end]`` is how it was written."""

    #: strings, booleans, None, lists and dicts; numbers as their text
    value: Any
    start: int
    end: int


def no_constant(name: str) -> NoReturn:
    """Refuse ``NaN`` and ``Infinity``, which Python would take; raises ValueError."""
    raise ValueError(f"{name} is not JSON")


# numbers stay text: nobody here needs their value, and a long one costs time and has a limit
_scan: Final = json.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=no_constant
).scan_once  # type: ignore[attr-defined]


def text_of(body: bytes, deepest: int = DEEPEST) -> str:
    """Return a JSON text as a string that may be scanned.

    Args:
        body: the text.
        deepest: how deep it may be nested.

    Raises:
        Malformed: it is not UTF-8, or nested too deeply.

    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"JSON: expected UTF-8, byte {error.start} is not") from error
    if text.count("[") + text.count("{") > deepest and _depth(text) > deepest:
        raise Malformed(f"JSON: nested more than {deepest} deep")
    return text


def _depth(text: str) -> int:
    """Return how deep the scanner would go, or more, in one pass."""
    brackets = _OTHER.sub("", _STRING.sub("", text))
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def skip(text: str, at: int) -> int:
    """Return where the next character is that is no space."""
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]


def value_at(text: str, at: int) -> Member:
    """Read the value that begins at ``at``.

    Raises:
        Malformed: there is none, or it is nested too deeply.

    """
    try:
        value, end = _scan(text, at)
    except StopIteration as error:
        raise unexpected(text, error.value, "a JSON value") from error
    except json.JSONDecodeError as error:
        raise Malformed(f"JSON: {error.msg} at character {error.pos + 1}") from error
    except ValueError as error:
        raise Malformed(f"JSON: {error}") from error
    except RecursionError as error:
        # the caller is deep in calls itself
        raise Malformed("JSON: nested too deeply") from error
    return Member(value, at, end)


def object_at(text: str, at: int) -> tuple[dict[str, Member], int]:
    """Read the members of the object that begins at ``at``; return them, and where it ends.

    Raises:
        Malformed: there is no object, it has two members of the same name, or far too many.

    """
    if text[at : at + 1] != "{":
        raise unexpected(text, at, "an event as a JSON object")
    found: dict[str, Member] = {}
    at = skip(text, at + 1)
    if text[at : at + 1] == "}":
        return found, at + 1
    while True:
        name, at = _name_at(text, at)
        if name in found:
            raise several(name)
        found[name] = member = value_at(text, skip(text, at))
        if len(found) > MOST_MEMBERS:
            raise Malformed(f"JSON: an event with more than {MOST_MEMBERS} members")
        at = skip(text, member.end)
        mark = text[at : at + 1]
        if mark == "}":
            return found, at + 1
        if mark != ",":
            raise unexpected(text, at, "',' or '}'")
        at = skip(text, at + 1)


def _name_at(text: str, at: int) -> tuple[str, int]:
    """Read a member's name and the colon after it."""
    if text[at : at + 1] != '"':
        raise unexpected(text, at, "the name of a member")
    try:
        name, at = scanstring(text, at + 1)
    except json.JSONDecodeError as error:
        raise Malformed(f"JSON: {error.msg} at character {error.pos + 1}") from error
    at = skip(text, at)
    if text[at : at + 1] != ":":
        raise unexpected(text, at, "':'")
    return name, at + 1


def check_end(text: str, at: int) -> None:
    """Raise Malformed if anything but space is left."""
    at = skip(text, at)
    if at != len(text):
        raise unexpected(text, at, "the end")


def unexpected(text: str, at: int, expected: str) -> Malformed:
    """Return the error for what stands at ``at``."""
    given = shown(text[at : at + SHOWN]) if at < len(text) else "the end"
    return Malformed(f"JSON: expected {expected} at character {at + 1}, got {given}")


def is_value(data: bytes) -> bool:
    """Tell whether ``data`` is one JSON value in UTF-8, with space around it or none.

    Also False where it is nested too deeply to be looked at.
    """
    try:
        text = text_of(data)
        check_end(text, value_at(text, skip(text, 0)).end)
    except Malformed:
        return False
    return True
