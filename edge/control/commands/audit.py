"""Entries of the audit log: who commanded what, which way, and how it ended. Without secrets."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from edge.control.commands.envelope import Command
from edge.control.commands.permissions import Caller
from edge.ops.redact_url import without_credentials

LONGEST = 500
"""Longer texts are told by length and digest."""
A_MINUTE = 120
"""Refusals and reads that are written down a minute; of more only the number: a flood of them
must not push out what happened."""
_SECRET = re.compile(r"pass|pwd|secret|token|credential|api_?key|access_?key|auth", re.IGNORECASE)


def entry_of(
    command: Command | None, caller: Caller, key: str, outcome: str, code: str = ""
) -> dict[str, Any]:
    """Return an entry.

    Args:
        command: None: it could not even be read.
        caller: who sent it, and which way.
        key: id of the key that signed it; empty: it was not signed.
        outcome: ``begun``, ``ok``, ``error``, ``expired``, ``refused``, ``unknown``.
        code: the reply's, where it failed.

    """
    return {
        "id": "" if command is None else command.id,
        "verb": "" if command is None else command.verb[:64],
        "args": {} if command is None else shown(dict(command.args)),
        "channel": caller.channel,
        "who": without_credentials(caller.who)[:200],
        "key": key,
        "group": caller.group,
        "outcome": outcome,
        "code": code,
    }


def shown(value: Any, name: str = "") -> Any:
    """Return arguments as they may be written down."""
    if isinstance(value, Mapping):
        return {str(key)[:64]: shown(inner, str(key)) for key, inner in list(value.items())[:64]}
    if isinstance(value, list | tuple):
        return [shown(inner, name) for inner in value[:64]]
    if _SECRET.search(name) and value not in (None, "", True, False):
        return "***"
    if isinstance(value, str):
        if len(value) > LONGEST or name == "toml":  # a configuration may hold anything
            digest = hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()
            return f"{len(value)} characters, sha256 {digest}"
        return without_credentials(value)
    return value


class Quiet:
    """Bounds how many entries a minute a stranger can cause."""

    def __init__(self) -> None:
        self._minute, self._count, self._missed = 0, 0, 0

    def passes(self, now: float) -> bool:
        """Tell whether one more entry is written; count it where it is not."""
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._count = minute, 0
        self._count += 1
        if self._count > A_MINUTE:
            self._missed += 1
            return False
        return True

    def unwritten(self) -> dict[str, int]:
        """Return how many were not written before this one, if any."""
        missed, self._missed = self._missed, 0
        return {"unwritten": missed} if missed else {}
