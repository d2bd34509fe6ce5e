"""Media types: what ``datacontenttype`` says of the data."""

from __future__ import annotations

import re
from typing import Final

_WORD: Final = r"[A-Za-z0-9!#$%&'*+\-.^_`|~]++"
_QUOTED: Final = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e])*+"'
# possessive throughout, so that no text takes more than one pass
_MEDIA_TYPE: Final = re.compile(
    rf"({_WORD})/({_WORD})((?:[ \t]*+;[ \t]*+(?:{_WORD}=(?:{_WORD}|{_QUOTED}))?+)*+)[ \t]*+"
)
_PARAMETER: Final = re.compile(rf";[ \t]*+(?:({_WORD})=(?:({_WORD})|({_QUOTED})))?+[ \t]*+")
_UTF_8: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_OTHER_CHARSETS: Final = frozenset(
    {"iso-8859-1", "iso-8859-15", "windows-1252", "utf-16", "utf-16le", "utf-16be"}
)
_TEXTUAL: Final = frozenset(
    {
        "application/xml",
        "application/yaml",
        "application/javascript",
        "application/ecmascript",
        "application/sql",
        "application/graphql",
        "application/x-www-form-urlencoded",
    }
)


def is_media_type(text: str) -> bool:
    """Tell whether ``text`` is ``type/subtype`` with parameters or none (RFC 2045, RFC 9110)."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def essence(text: str) -> str:
    """Return ``type/subtype`` in lower case, without parameters."""
    return text.partition(";")[0].strip().lower()


def charset(text: str) -> str:
    """Return the ``charset`` parameter in lower case; ``utf-8`` for UTF-8, ASCII, or none."""
    for name, plain, quoted in _PARAMETER.findall(text):
        if name.lower() == "charset":
            value = (plain or quoted.strip('"')).lower()
            return "utf-8" if value in _UTF_8 else value
    return "utf-8"


def python_charset(text: str) -> str | None:
    """Return the charset of a media type if it is one that this codec can write."""
    name = charset(text)
    return name if name == "utf-8" or name in _OTHER_CHARSETS else None


def is_json(datacontenttype: str) -> bool:
    """Tell whether data of that type is JSON: ``*/json``, ``*/*+json``, or no type at all.

    ``datacontenttype`` is a WireEvent's: empty where it is absent, which implies JSON.
    """
    if not datacontenttype:
        return True
    subtype = essence(datacontenttype).partition("/")[2]
    return subtype == "json" or subtype.endswith("+json")


def is_text(datacontenttype: str) -> bool:
    """Tell whether data of that type is meant to be read as text (JSON not counted)."""
    kind = essence(datacontenttype)
    return kind.startswith("text/") or kind in _TEXTUAL or kind.endswith(("+xml", "+yaml"))
