"""Reading what strangers publish: bounded, and nothing of it is trusted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

MOST_BYTES: Final = 256 * 1024
"""A longer message is not read."""
MOST_ITEMS: Final = 1_000
"""Of a longer list the first so many are read."""
_LONGEST: Final = 300
_BLANKS: Final = re.compile(r"\s+")


def read_object(payload: bytes) -> Mapping[str, Any] | None:
    """Return the JSON object of a message; None: it is none, or too large."""
    if len(payload) > MOST_BYTES:
        return None
    try:
        read = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def plain(value: object, longest: int = _LONGEST) -> str:
    """Return text as a terminal may show it: one line, no control characters; else nothing."""
    if not isinstance(value, str):
        return ""
    cut = _BLANKS.sub(" ", value[: 4 * longest])
    # no control characters, and nothing else that nobody sees: a terminal may act on it
    seen = "".join(one for one in cut if one.isprintable()).strip()
    return seen if len(seen) <= longest else seen[: longest - 1] + "…"


def count(value: object) -> int:
    """Return a number that counts things; 0 for anything else."""
    fine = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return value if fine and isinstance(value, int) else 0


def seconds(value: object) -> float | None:
    """Return a number of seconds; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and found >= 0 else None


def moment(value: object) -> datetime | None:
    """Return a time with zone; None for anything else."""
    try:
        when = datetime.fromisoformat(value) if isinstance(value, str) else None
        return when.astimezone(UTC) if when is not None and when.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def table(value: object) -> Mapping[str, Any]:
    """Return a JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> Sequence[Any]:
    """Return a JSON array, of a long one the beginning; an empty one for anything else."""
    return value[:MOST_ITEMS] if isinstance(value, list) else ()
