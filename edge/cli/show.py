"""How commands answer: text for people, JSON for programs, errors with a hint. No credentials."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import click

from edge.errors import EdgeError
from edge.ops.redact_url import clean, without_credentials

Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(command: Command) -> Command:
    """Give a command ``--json``, as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(command)


def config_option(command: Command) -> Command:
    """Give a command ``--config FILE``, as ``config``: a Path, or None for the usual places."""
    return click.option(
        "--config",
        "-c",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Configuration file. Else $EDGE_CONFIG, $CONFIGURATION_DIRECTORY/edge.toml, "
        "/etc/edge/edge.toml.",
    )(command)


def answer(data: object, text: str | None = None, *, as_json: bool) -> None:
    """Print ``data`` as JSON, or ``text`` for a person, on standard output."""
    if as_json or text is None:
        print(json.dumps(clean(data), indent=2, ensure_ascii=False, default=_plain))
    else:
        print(without_credentials(text))


def warn(text: str) -> None:
    """Print a remark on standard error, where it does not disturb the answer."""
    print(without_credentials(f"edge: {text}"), file=sys.stderr)


def failure(error: EdgeError, code: int, *, as_json: bool) -> None:
    """Say what went wrong and what to do: on standard error, or as JSON on standard output."""
    if as_json:
        facts: dict[str, object] = {
            "kind": type(error).__name__,
            "reason": error.reason,
            "message": str(error),
            "hint": error.hint,
            "exit": code,
        }
        faults = getattr(error, "faults", None)
        if faults is not None:
            facts["faults"] = [fault_facts(fault) for fault in faults]
        answer({"error": facts}, as_json=True)
        return
    warn(f"{error}" + (f"\n  hint: {error.hint}" if error.hint else ""))


def fault_facts(fault: Any) -> Mapping[str, str]:
    """Return a configuration fault as JSON values."""
    return {"path": fault.path, "given": fault.given, "message": fault.message}


def bug(
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
    *,
    as_json: bool = False,
) -> None:
    """Report an exception that nobody foresaw: a ``sys.excepthook`` without credentials."""
    lines = traceback.format_exception(kind, error, trace)
    print(without_credentials("".join(lines)), file=sys.stderr, end="")
    told = EdgeError(
        f"this is a bug in Edge: {kind.__name__}: {error}",
        hint="please report it with the lines above",
        reason="bug",
    )
    failure(told, 1, as_json=as_json)


def _plain(value: object) -> str:
    return without_credentials(str(value))
