"""The envelope of a command, and of its reply. The same over HTTP, MQTT and the local socket.

::

    {"id": "…", "verb": "source.add", "args": {…},
     "issued": "2026-11-20T10:00:00Z", "expires": "2026-11-20T10:05:00Z",
     "to": "site/node", "reply_to": "…"}

Everything but ``id`` and ``verb`` may be left out. ``signed.py`` says how one is signed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from edge.errors import EdgeError

Code = Literal[
    "bad_request",
    "not_found",
    "conflict",
    "busy",
    "unsupported",
    "forbidden_remote",
    "precondition_failed",
    "dependency_down",
    "timeout",
    "internal",
]
Status = Literal["accepted", "progress", "ok", "error", "expired"]

MOST_BYTES = 64 * 1024
"""A longer command is refused unread."""
MOST_DEEP = 32
_ID = re.compile(r"[A-Za-z0-9._:~-]{1,128}")
_KNOWN = ("id", "verb", "args", "issued", "expires", "to", "reply_to")


class Failed(EdgeError):
    """A command that did not work; ``reason`` is the reply's code.

    ``data`` may say more of why, for programs: the reply has it.
    """

    def __init__(
        self, code: Code, message: str, *, hint: str = "", data: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, hint=hint, reason=code)
        self.code: Code = code
        self.data = data or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command, read but not judged."""

    id: str
    verb: str
    args: Mapping[str, Any] = field(default_factory=dict)
    #: seconds since the epoch; None: not said
    issued: float | None = None
    expires: float | None = None
    #: the box it is for, ``site/node`` or ``site/_all``; empty: not said
    to: str = ""
    reply_to: str = ""

    @property
    def digest(self) -> str:
        """Return what tells two commands of one id apart: of verb and arguments."""
        text = json.dumps([self.verb, self.args], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How a command fared. ``code`` is empty unless ``status`` is ``error``."""

    id: str = ""
    verb: str = ""
    status: Status = "ok"
    code: str = ""
    message: str = ""
    hint: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    #: seconds since the epoch
    at: float = 0.0
    #: the command came before: this is what was answered then
    repeated: bool = False

    def json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        at = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds")
        return {
            "id": self.id,
            "verb": self.verb,
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "data": dict(self.data),
            "at": at,
            "repeated": self.repeated,
        }

    def stored(self) -> str:
        """Return it as text that ``restored`` reads."""
        return json.dumps({**self.json(), "at": self.at}, ensure_ascii=False)


def restored(text: str) -> Reply:
    """Read what ``Reply.stored`` wrote, as a repeated reply."""
    return replace(Reply(**json.loads(text)), repeated=True)


def failure(error: Failed, command: Command | None = None, at: float = 0.0) -> Reply:
    """Return the reply of a command that did not work."""
    return Reply(
        id="" if command is None else command.id,
        verb="" if command is None else command.verb,
        status="error",
        code=error.code,
        message=str(error),
        hint=error.hint,
        data=error.data,
        at=at,
    )


def read_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object of a stranger: bounded in length and depth, each name once.

    Raises:
        Failed: ``bad_request``.

    """
    if len(body) > MOST_BYTES:
        raise Failed("bad_request", f"the command has {len(body)} bytes, at most {MOST_BYTES}")
    if _depth(body) > MOST_DEEP:
        raise Failed("bad_request", f"the command is nested deeper than {MOST_DEEP}")
    try:
        given = json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Failed("bad_request", f"the command is not JSON: {error}"[:300]) from None
    if not isinstance(given, dict):
        raise Failed("bad_request", "expected a JSON object: {…}")
    return given


def command_of(given: Mapping[str, Any], verb: str = "") -> Command:
    """Return the command that an object says.

    Args:
        given: the envelope.
        verb: as its address says (a topic, a path); the envelope may repeat it.

    Raises:
        Failed: ``bad_request``, with every fault.

    """
    faults = [f"{name}: no such key in a command" for name in given if name not in _KNOWN]
    faults += [
        f"{name}: expected text"
        for name in ("id", "verb", "to", "reply_to")
        if not isinstance(given.get(name, ""), str)
    ]
    if not _ID.fullmatch(str(given.get("id", ""))):
        faults.append("id: expected 1 to 128 letters, digits and . _ : ~ -")
    said = given.get("verb", "") or verb
    if not said or (verb and said != verb):
        faults.append(f"verb: expected {verb or 'one'}, got {said!r}"[:200])
    if not isinstance(given.get("args", {}), dict):
        faults.append("args: expected an object")
    if not _is_text(given):
        faults.append("half a letter stands in it (an unpaired \\uD800 to \\uDFFF)")
    issued, expires = _moment(given, "issued", faults), _moment(given, "expires", faults)
    if faults:
        raise Failed("bad_request", "; ".join(faults))
    return Command(
        id=given["id"],
        verb=said,
        args=given.get("args", {}),
        issued=issued,
        expires=expires,
        to=given.get("to", ""),
        reply_to=given.get("reply_to", ""),
    )


def id_in(given: Mapping[str, Any]) -> str:
    """Return the id of an envelope that is no command; empty where it has none either."""
    said = str(given.get("id", ""))
    return said if _ID.fullmatch(said) else ""


def _moment(given: Mapping[str, Any], name: str, faults: list[str]) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    try:
        when = datetime.fromisoformat(value)
        if when.tzinfo is not None:
            return when.timestamp()
    except (TypeError, ValueError, OverflowError):
        pass
    faults.append(f"{name}: expected a time with zone, like 2026-11-20T10:00:00Z")
    return None


def _is_text(given: Mapping[str, Any]) -> bool:
    """Tell whether all of it can be written down as UTF-8."""
    try:
        json.dumps(given, ensure_ascii=False).encode()
    except (ValueError, TypeError):
        return False
    return True


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _depth(body: bytes) -> int:
    """Return how deep brackets are nested at most; those in texts count too, which is harmless."""
    deepest = depth = 0
    for byte in body:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest
