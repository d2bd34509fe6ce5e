"""The built-in functions of CESQL 1.0, and the five casts that its tests use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge.bus.cesql_values import (
    ANY,
    BOOLEAN,
    INTEGER,
    LARGEST,
    SMALLEST,
    STRING,
    CesqlError,
    Value,
    to_boolean,
    to_integer,
    to_string,
)

LONGEST = 2**20
"""Longest string that a function makes, in characters."""

# Unicode's White_Space; str.strip would take U+001C-1F too, which are control characters
_BLANKS = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


@dataclass(frozen=True, slots=True)
class Function:
    """A function of fixed arity, or with any number of further arguments of one type."""

    name: str
    parameters: tuple[str, ...]
    result: str
    call: Callable[..., Value]
    #: type of the further arguments; empty: there are none
    further: str = ""

    def types(self, count: int) -> tuple[str, ...] | None:
        """Return the types of ``count`` arguments; None where it does not take that many."""
        more = count - len(self.parameters)
        if more < 0 or (more and not self.further):
            return None
        return self.parameters + (self.further,) * more


def find(name: str, count: int) -> Function | None:
    """Return the function of that name (in upper case) that takes ``count`` arguments."""
    for function in FUNCTIONS:
        if function.name == name and function.types(count) is not None:
            return function
    return None


def _concat(*texts: str) -> str:
    return _joined("", texts)


def _concat_ws(separator: str, *texts: str) -> str:
    return _joined(separator, texts)


def _joined(separator: str, texts: tuple[str, ...]) -> str:
    length = sum(map(len, texts)) + len(separator) * max(len(texts) - 1, 0)
    if length > LONGEST:
        raise CesqlError("generic", f"a string of {length} characters, at most {LONGEST}")
    return separator.join(texts)


def _left(text: str, count: int) -> str:
    if count < 0:
        raise CesqlError("functionEvaluation", f"LEFT of {count} characters", text)
    return text[:count]


def _right(text: str, count: int) -> str:
    if count < 0:
        raise CesqlError("functionEvaluation", f"RIGHT of {count} characters", text)
    return text[max(len(text) - count, 0) :]


def _substring(text: str, position: int, count: int = LARGEST) -> str:
    """Cut from ``position`` on, counted from 1, or from the end where negative."""
    if count < 0:
        raise CesqlError("functionEvaluation", f"SUBSTRING of {count} characters")
    if abs(position) > len(text):
        message = f"SUBSTRING from {position} in {len(text)} characters"
        raise CesqlError("functionEvaluation", message)
    if position == 0:
        return ""
    start = position - 1 if position > 0 else len(text) + position
    return text[start : start + count]


def _abs(number: int) -> int:
    if number == SMALLEST:
        raise CesqlError("math", f"ABS({number}) is more than 32 bits hold", LARGEST)
    return abs(number)


def _can(cast: Callable[[Value], Any]) -> Callable[[Value], bool]:
    def can(value: Value) -> bool:
        try:
            cast(value)
        except CesqlError:
            return False
        return True

    return can


FUNCTIONS: tuple[Function, ...] = (
    Function("LENGTH", (STRING,), INTEGER, len),
    Function("CONCAT", (), STRING, _concat, further=STRING),
    Function("CONCAT_WS", (STRING,), STRING, _concat_ws, further=STRING),
    Function("LOWER", (STRING,), STRING, str.lower),
    Function("UPPER", (STRING,), STRING, str.upper),
    Function("TRIM", (STRING,), STRING, lambda text: text.strip(_BLANKS)),
    Function("LEFT", (STRING, INTEGER), STRING, _left),
    Function("RIGHT", (STRING, INTEGER), STRING, _right),
    Function("SUBSTRING", (STRING, INTEGER), STRING, _substring),
    Function("SUBSTRING", (STRING, INTEGER, INTEGER), STRING, _substring),
    Function("ABS", (INTEGER,), INTEGER, _abs),
    Function("INT", (ANY,), INTEGER, to_integer),
    Function("BOOL", (ANY,), BOOLEAN, to_boolean),
    Function("STRING", (ANY,), STRING, to_string),
    Function("IS_INT", (ANY,), BOOLEAN, _can(to_integer)),
    Function("IS_BOOL", (ANY,), BOOLEAN, _can(to_boolean)),
)
