"""What a codec refuses, and how it says so."""

from __future__ import annotations

from edge.errors import Rejected

SHOWN = 40
"""Characters of what somebody sent that a message repeats."""


class Malformed(Rejected):
    """It is no CloudEvent, or none that this box can read.

    ``reason`` is ``malformed`` (400), ``unsupported_version`` (400) or ``unsupported_media_type``
    (415). The message names the attribute, what was given, and what was expected.
    """

    default_reason = "malformed"


def shown(value: object) -> str:
    """Return what was given as a message shows it: short, on one line, quoted if it is text."""
    if isinstance(value, str | bytes):
        cut = value[:SHOWN]
        return ascii(cut) + (" ..." if len(cut) < len(value) else "")
    return ascii(value)[:SHOWN]


def refused(where: str, given: object, expected: str, *, reason: str = "") -> Malformed:
    """Return the error for a value that cannot be taken.

    Args:
        where: attribute, header or member.
        given: its value; it is shortened.
        expected: what would be right, in words.
        reason: where it is not ``malformed``.

    """
    return Malformed(f"{brief(where)}: expected {expected}, got {shown(given)}", reason=reason)


def several(where: str) -> Malformed:
    """Return the error for a header, member or property that came more than once."""
    return Malformed(f"{brief(where)}: expected one, got several")


def brief(name: str) -> str:
    """Return a name as a message shows it: a valid one may be as long as a body."""
    return name if name.isascii() and name.isprintable() and len(name) <= SHOWN else shown(name)
