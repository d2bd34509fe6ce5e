"""Log: events as lines of the log, for whoever builds a site or looks for a fault in one."""

from __future__ import annotations

import codecs
import json
import logging
from typing import Any, Final

from edge.cloudevents.media_type import essence
from edge.config.handlers import LogConfig
from edge.event import Event

LONGEST_ATTRIBUTE: Final = 256
"""Characters of an attribute that are written."""

LONGEST_DATA: Final = 1024
"""Characters of the data that are written."""

MOST_PARSED: Final = 64 * 2**10
"""Bytes of JSON that are made compact. Of larger data the beginning is written as it came."""

_NEVER_TEXT = ("image/", "video/", "audio/", "application/octet-stream")

_UTF8 = codecs.getincrementaldecoder("utf-8")

_log = logging.getLogger(__name__)


class LogEvents:
    """Keeps ``contracts.Handler``: one line an event, with its id, source, type and subject.

    With ``data`` also what it carries, shortened; of pictures and whatever else is no text only
    the number of bytes. What others wrote begins no line and moves no terminal: line breaks,
    control characters and marks that turn the direction are escaped as in Python.

    Args:
        config: ``[handlers.NAME]`` with ``kind = "log"``.
        where: the handler's name for dead letters and status.

    """

    sees_pictures = False

    def __init__(self, config: LogConfig, where: str = "edge:log") -> None:
        self.where = where
        self._level = logging.getLevelNamesMapping()[config.level.upper()]
        self._data = config.data

    async def __call__(self, event: Event[Any]) -> None:
        """Write it. Raises nothing."""
        if not _log.isEnabledFor(self._level):
            return
        told = {
            name: _plain(getattr(event, name), LONGEST_ATTRIBUTE)
            for name in ("id", "source", "type", "subject")
        }
        if self._data:
            told["data"] = _data_text(event)
        _log.log(self._level, "event", extra={name: text for name, text in told.items() if text})

    async def close(self) -> None:
        pass


def _plain(text: str, most: int) -> str:
    """Return one printable line of at most ``most`` characters of ``text``."""
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text[:most]
    )
    return shown + "…" if len(text) > most else shown


def _data_text(event: Event[Any]) -> str:
    data = event.data
    if data is None:
        return ""
    if not isinstance(data, bytes):
        # a raw picture in memory: the bus hands none to a handler that does not see pictures
        return "<not shown>"
    if essence(event.datacontenttype).startswith(_NEVER_TEXT):
        return f"<{len(data)} bytes>"
    text = _compact(data)
    if text is None:
        return f"<{len(data)} bytes>"
    shown = _plain(text, LONGEST_DATA)
    return f"{shown} ({len(data)} bytes)" if shown.endswith("…") else shown


def _compact(data: bytes) -> str | None:
    """Return JSON without what is not needed, other text as it is; None: it is no text."""
    whole = len(data) <= MOST_PARSED
    try:
        # where data is cut, so may be a character
        text = _UTF8().decode(data[:MOST_PARSED], final=whole)
    except UnicodeDecodeError:
        return None
    if not whole:
        return text
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return text
