"""What CEL expressions are shown of an event: never more than they can look at in their time."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from edge.bus.candidate import Candidate, canonical_text
from edge.errors import Rejected

MOST_TEXT: Final = 32_768
"""Characters in all attributes together, and in the data."""

MOST_ATTRIBUTES: Final = 100

MOST_NODES: Final = 2_000
"""Values in the data."""

DEEPEST_DATA: Final = 64

PLAIN: Final = frozenset({str, bool, int})
"""The types of attributes that CEL knows as they are."""

Sizes = tuple[int, int]
"""How many values some data have, and how many members the longest list or map among them."""


class TooMuch(Rejected):
    """An event of which CEL is shown nothing, because looking at it would take too long."""

    default_reason = "too_much"


def attributes_of(candidate: Candidate, names: Collection[str] | None = None) -> dict[str, Any]:
    """Return the attributes of those names, or all, as values that CEL knows."""
    given = candidate.attributes
    values: dict[str, Any] = {}
    text = 0
    for name in given if names is None else names:
        value = given.get(name)
        if value is None:
            continue
        if type(value) not in PLAIN:
            value = canonical_text(value)
        text += len(value) if type(value) is str else 0
        values[name] = value
    if text > MOST_TEXT or len(values) > MOST_ATTRIBUTES:
        raise TooMuch(f"{len(values)} attributes with {text} characters")
    return values


def sizes_of(data: object) -> Sizes | None:
    """Count values and members; None as soon as there are too many."""
    nodes = text = longest = 0
    level = [data]
    for _ in range(DEEPEST_DATA):
        following: list[Any] = []
        for value in level:
            inside, letters = _inside(value)
            following.extend(inside)
            text += letters
            longest = max(longest, len(inside))
        nodes += len(level)
        if nodes + len(following) > MOST_NODES or text > MOST_TEXT:
            return None
        if not following:
            return nodes, longest
        level = following
    return None


def _inside(value: Any) -> tuple[Collection[Any], int]:
    """Return the members of a value, and how many characters it has itself."""
    if isinstance(value, str):
        return (), len(value)
    if isinstance(value, dict):
        return value.values(), sum(map(len, value))
    return (value, 0) if isinstance(value, list) else ((), 0)
