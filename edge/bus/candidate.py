"""A candidate: what filters see of one event, and what evaluating them leaves behind."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from edge.cloudevents.media_type import is_json
from edge.errors import Rejected
from edge.event import Event

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
        #: belong to ``edge.bus.cel``: what it made of attributes and data for its expressions
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


_NAME = re.compile(r"[a-z0-9]+")


def candidate_of(event: object) -> Candidate:
    """Return the candidate of a CloudEvent in JSON form, with ``data`` or ``data_base64``.

    Required attributes may be absent, so that a filter can be tried on a few lines.

    Raises:
        Rejected: it is no event: a value of another type than attributes have, a name that none
            has, both kinds of data.

    """
    if not isinstance(event, Mapping):
        raise Rejected(f"expected an event as an object, got {type(event).__name__}")
    attributes = {
        name: _attribute(name, value)
        for name, value in event.items()
        if value is not None and name not in ("data", "data_base64")
    }
    if event.get("data") is not None and event.get("data_base64") is not None:
        raise Rejected("an event has data or data_base64, got both")
    kind = attributes.get("datacontenttype")
    if kind is not None and not is_json(str(kind)):
        return Candidate(attributes)
    if event.get("data_base64") is not None:
        parsed = _parsed(event["data_base64"])
        return Candidate(attributes, lambda: parsed)
    return Candidate(attributes, lambda: event.get("data"))


def candidate_of_event(event: Event[Any]) -> Candidate:
    """Return the candidate of an event on its way; its data is parsed when a filter asks for it.

    Data that is no JSON, though it says so, is none; a raw picture has none.
    """
    attributes = event.attributes()
    body = event.data
    if not isinstance(body, bytes):
        return Candidate(attributes)
    kind = event.datacontenttype
    if kind and kind != "application/json" and not is_json(kind):
        return Candidate(attributes)
    return Candidate(attributes, lambda: _json(body))


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _attribute(name: object, value: object) -> object:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Rejected(f"expected the name of an attribute (a-z and 0-9), got {name!r}")
    number = isinstance(value, int) and -(2**31) <= value < 2**31
    if not number and not isinstance(value, str | bool):
        raise Rejected(f"{name}: expected text, a boolean or a 32-bit integer")
    return value


def _parsed(encoded: object) -> object:
    try:
        body = base64.b64decode(str(encoded), validate=True)
    except (ValueError, binascii.Error) as error:
        raise Rejected("data_base64: expected base64") from error
    return _json(body)
