"""CESQL's three types: booleans, 32-bit integers and strings; casts between them; errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from edge.bus.candidate import canonical_text

Value = bool | int | str
"""What an expression comes to. A boolean is never taken for an integer."""

BOOLEAN: Final = "boolean"
INTEGER: Final = "integer"
STRING: Final = "string"
#: a parameter that takes every type, or an attribute whose type only the event knows
ANY: Final = "any"

ZERO: Final[dict[str, Value]] = {BOOLEAN: False, INTEGER: 0, STRING: "", ANY: False}
"""What an operator comes to whose operand met an error, by the type of its result."""

SMALLEST: Final = -(2**31)
LARGEST: Final = 2**31 - 1

KINDS: Final = (
    "parse",
    "math",
    "cast",
    "missingAttribute",
    "missingFunction",
    "functionEvaluation",
    "generic",
)
"""The kinds of error, by the names that the specification's tests give them."""

# ten digits hold every 32-bit number; more, and Python's own limit would speak up
_NUMBER = re.compile(r"[+-]?0*[0-9]{1,10}", re.ASCII)


class CesqlError(Exception):
    """Evaluating came upon an error.

    Args:
        kind: one of ``KINDS``.
        message: what happened.
        value: what the failing operation comes to, where that is not the zero of its type.

    """

    def __init__(self, kind: str, message: str, value: Value | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.value = value


def wrap(number: int) -> int:
    """Return ``number`` as 32 bits hold it, in two's complement."""
    if SMALLEST <= number <= LARGEST:
        return number
    return (number - SMALLEST) % 2**32 + SMALLEST


def type_of(value: Value) -> str:
    """Return the name of a value's type."""
    kind = type(value)
    return STRING if kind is str else BOOLEAN if kind is bool else INTEGER


def of_attribute(value: Any) -> Value:
    """Return an attribute's value as one of the three types; everything else is a string."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and SMALLEST <= value <= LARGEST:
        return value
    return canonical_text(value)


def to_boolean(value: Value) -> bool:
    """Cast; raises CesqlError (cast) for a string that is neither ``true`` nor ``false``."""
    if type(value) is bool:
        return value
    if isinstance(value, int):
        return value != 0
    lower = value.lower()
    if lower not in ("true", "false"):
        raise CesqlError("cast", f"{_short(value)} is neither true nor false")
    return lower == "true"


def to_integer(value: Value) -> int:
    """Cast; raises CesqlError (cast) for a string that is no 32-bit number in base 10."""
    if not isinstance(value, str):
        return int(value)
    number = int(value) if _NUMBER.fullmatch(value) else LARGEST + 1
    if not SMALLEST <= number <= LARGEST:
        raise CesqlError("cast", f"{_short(value)} is no 32-bit integer")
    return number


def to_string(value: Value) -> str:
    """Cast; every value has a text."""
    return value if type(value) is str else canonical_text(value)


def as_it_is(value: Value) -> Value:
    """Cast to any type: nothing to do."""
    return value


CASTS: Final[dict[str, Callable[[Value], Any]]] = {
    BOOLEAN: to_boolean,
    INTEGER: to_integer,
    STRING: to_string,
    ANY: as_it_is,
}


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
