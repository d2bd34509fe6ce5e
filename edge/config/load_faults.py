"""Faults in a configuration: where, what was given, what was expected. Never a secret's value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge.errors import Fatal
from edge.ops.redact_url import without_credentials

Location = tuple[str | int, ...]
"""Names of tables and keys, and places in lists, from the top of the file."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong, or doubtful, with a configuration. Safe to show anywhere."""

    location: Location
    #: what was expected instead, in the operator's words
    message: str
    #: the value as in the file; empty where there is none, or where it may be a secret
    given: str = ""

    @property
    def path(self) -> str:
        """The key as the operator wrote it: ``sources.gate.stall_after``."""
        return path_text(self.location)

    def __str__(self) -> str:
        return f"{self.path}{' = ' if self.given else ''}{self.given}: {self.message}"


class ConfigError(Fatal):
    """The configuration cannot be used. Lists every fault, in the order of the file."""

    default_reason = "config"

    def __init__(self, where: str, faults: Iterable[Fault], *, hint: str = "") -> None:
        self.where = where
        self.faults: tuple[Fault, ...] = tuple(faults)
        count = len(self.faults)
        head = f"{where}: {count} fault{'s' if count != 1 else ''}"
        super().__init__(
            "\n  ".join([head, *map(str, self.faults)]),
            hint=hint or "edge config explain KEY says what a key takes",
        )


def path_text(location: Sequence[str | int]) -> str:
    """Write a location as TOML does: ``sources."gate.1".url``, ``blackout[0][2]``."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            text += f".{name}" if text else name
    return text or "the file"


def show_given(value: object) -> str:
    """Write a value the way TOML would, shortened, with the credentials of URLs starred."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return str(value)
    text = without_credentials(value)
    return json.dumps(text if len(text) <= _LONGEST else text[:_LONGEST] + "…", ensure_ascii=False)
