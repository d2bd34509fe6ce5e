"""A candidate: what filters see of one event, and what evaluating them leaves behind."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

Attributes = Mapping[str, Any]
"""CloudEvents attributes by name, extensions included, absent ones left out."""


def no_data() -> object:
    """Return the data of an event that has none, or none that is JSON."""
    return None


class Candidate:
    """One event before the filters: made once, shown to every trigger, then thrown away.

    What is dear to make (the parsed data, the values of CEL) is made when the first filter asks
    for it, and kept for the others. Not safe to share between threads.

    Args:
        attributes: attributes by name. Values are text, booleans or integers; other types count
            as their canonical text.
        data: called at most once, for the parsed JSON of the event, or None where it is not JSON.

    """

    __slots__ = ("_read", "attributes", "data_context", "fault", "plain_context")

    def __init__(self, attributes: Attributes, data: Callable[[], object] = no_data) -> None:
        self.attributes = attributes
        self._read = data
        #: kind of the first error that an expression met: it says why an event did not pass
        self.fault: str | None = None
        #: belong to ``edge.bus.cel``: attributes as CEL's values, without and with the data
        self.plain_context: Any = None
        self.data_context: Any = None

    def data(self) -> object:
        """Return the parsed JSON of the event, or None. ``cel`` asks once."""
        return self._read()


def canonical_text(value: object) -> str:
    """Return an attribute's value as CloudEvents writes it: the text that filters compare."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)
