"""Logs: text for people on a terminal, one JSON object a line for machines. Never a credential."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from edge.ops.redact_url import clean, without_credentials

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the record's extras, error."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as JSON with every credential starred."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(
            clean(entry), default=lambda value: without_credentials(str(value)), ensure_ascii=False
        )


class TextLines(logging.Formatter):
    """Time, level and message for a person at a terminal, extras as ``name=value`` behind."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as one readable line (a traceback follows on its own lines)."""
        when = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        extras = "".join(f" {name}={value}" for name, value in _extras(record).items())
        line = f"{when} {record.levelname.lower():7} {record.getMessage()}{extras}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return without_credentials(line)


def set_up(level: str, kind: str, stream: TextIO | None = None) -> None:
    """Send the house's logs to ``stream`` (standard error), as ``text``, ``json`` or ``auto``."""
    stream = stream or sys.stderr
    text = kind == "text" or (kind == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextLines() if text else JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("edge").setLevel(level.upper())
