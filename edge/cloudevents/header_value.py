"""Attributes as values of HTTP headers (CloudEvents HTTP binding 1.0.2, section 3.1.3.2)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from edge.cloudevents.faults import Malformed, refused

_PLAIN: Final = re.compile(r"[\x21\x23\x24\x26-\x7e]*+")
_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_VISIBLE: Final = re.compile(r"[\t\x20-\x7e]*+")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*+)"')
_ESCAPE: Final = re.compile(r"\\(.)")
_BROKEN: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def encode(value: str) -> str:
    """Percent-encode space, ``"``, ``%`` and all that is not printable ASCII.

    Raises:
        Malformed: a lone surrogate, which UTF-8 cannot write.

    """
    if _PLAIN.fullmatch(value):
        return value
    try:
        return quote(value, safe=_SAFE)
    except UnicodeEncodeError as error:
        raise Malformed(f"character {error.start + 1} of a value is a lone surrogate") from error


def decode(header: str, value: str) -> str:
    """Undo a quoted string, if it is one, and then one round of percent-encoding.

    Spaces that nobody encoded are let pass, as many senders leave them.

    Args:
        header: its name, for messages.
        value: as it came, without the spaces around it.

    Raises:
        Malformed: a character outside printable ASCII, a quote or ``%`` out of place, or bytes
            that are no UTF-8.

    """
    if _PLAIN.fullmatch(value):
        return value
    if not _VISIBLE.fullmatch(value):
        raise refused(header, value, "printable ASCII, and everything else as %XX of its UTF-8")
    if '"' in value:
        whole = _QUOTED.fullmatch(value)
        if whole is None:
            raise refused(header, value, 'a double quote as %22, or all of it as "..." with \\"')
        value = _ESCAPE.sub(r"\1", whole[1])
    if "%" not in value:
        return value
    if _BROKEN.search(value):
        raise refused(header, value, "two hexadecimal digits after each %, and % itself as %25")
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError as error:
        raise refused(header, value, "UTF-8 behind its %XX") from error
