"""Settings of a source that somebody asks for under ``source/{src}/set/{key}``: few, as commands.

They go the way of every command, so that permissions, the privacy ratchet and the audit log hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge.errors import Rejected
from edge.ops.mqtt_types import Message
from edge.topics import Topics, level

MOST_BYTES: Final = 64
_ON: Final = {"true", "on", "1"}
_OFF: Final = {"false", "off", "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What somebody asks for: a verb with its arguments, and whose setting it is."""

    source: str
    key: str
    verb: str
    args: Mapping[str, Any]


def filter_of(topics: Topics) -> str:
    """Return the filter under which settings are asked for."""
    return f"{topics.base}/source/+/set/+"


def setting_of(message: Message, topics: Topics, sources: Collection[str]) -> Setting:
    """Read what is asked for.

    Raises:
        Rejected: ``not_found``, or ``bad_request`` with what was expected.

    """
    place, _, key = message.topic.removeprefix(f"{topics.base}/source/").partition("/set/")
    source = next((name for name in sources if level(name) == place), None)
    if source is None:
        raise Rejected(f"there is no source {place[:64]!r}", reason="not_found")
    if len(message.payload) > MOST_BYTES:
        raise Rejected(
            f"{key}: expected {MOST_BYTES} bytes at most, got {len(message.payload)}",
            reason="bad_request",
        )
    text = message.payload.decode("utf-8", "replace").strip().strip('"').lower()
    match key:
        case "enabled" if text in _ON | _OFF:
            verb = "source.enable" if text in _ON else "source.disable"
            return Setting(source=source, key=key, verb=verb, args={"name": source})
        case "enabled":
            raise Rejected(f"enabled: expected true or false, got {text!r}", reason="bad_request")
        case "method":
            args = {"source": source, "method": text}
            return Setting(source=source, key=key, verb="privacy.raise", args=args)
    raise Rejected(f"{key[:64]!r}: expected enabled or method", reason="not_found")
