"""``edge filter``: try filters on events before they are deployed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import click

from edge.bus.candidate import Candidate, candidate_of
from edge.bus.cesql import Expression
from edge.bus.cesql_values import CesqlError
from edge.bus.filters import BadFilter, compile_filter
from edge.cli.show import json_option, warn
from edge.errors import Rejected

_KINDS = ("filters", "cesql", "cel")

Answer = tuple[Any, str | None]
"""The value, and the kind of error or None."""


@click.group(name="filter")
def filter_() -> None:
    """Try filters on events before they are deployed."""


@filter_.command()
@click.option(
    "--cases",
    type=click.File("rb"),
    required=True,
    metavar="FILE|-",
    help='JSON lines {"filters": […] | "cesql": "…" | "cel": "…", "event": {…}}; - is the input.',
)
@json_option
@click.pass_context
def test(context: click.Context, *, cases: BinaryIO, as_json: bool) -> None:  # noqa: ARG001 (it is JSON anyway)
    """Answer each case with a line {"value": …, "error": null or its kind}.

    The value is true or false for filters and CEL, and the expression's own for CESQL. Error is
    parse, math, cast, missingAttribute, missingFunction, functionEvaluation or generic, as CESQL
    names them, limit (too long, deep or slow), invalid (no such filter) or badCase (no such case).
    What exactly is wrong stands on standard error. Exit 1 where a line was no case.
    """
    bad = False
    for number, line in enumerate(cases, start=1):
        if not line.strip():
            continue
        try:
            value, error = _answered(_read(line), number)
        except Rejected as wrong:
            warn(f"line {number}: {wrong}")
            value, error, bad = None, "badCase", True
        print(json.dumps({"value": value, "error": error}))
    context.exit(1 if bad else 0)


def _read(line: bytes) -> Mapping[str, Any]:
    try:
        case = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"expected a JSON object: {error}") from error
    if not isinstance(case, dict):
        raise Rejected(f"expected a JSON object, got {type(case).__name__}")
    given = [kind for kind in _KINDS if kind in case]
    if len(given) != 1:
        raise Rejected(f"expected one of {', '.join(_KINDS)}, got {' and '.join(given) or 'none'}")
    if "event" not in case:
        raise Rejected("expected an event")
    return case


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _answered(case: Mapping[str, Any], number: int) -> Answer:
    candidate = candidate_of(case["event"])
    if "cesql" in case and not isinstance(case["cesql"], str):
        raise Rejected("cesql: expected text")
    if case.get("cesql", "").strip():
        return _cesql(case["cesql"], candidate, number)
    spec = (
        case["filters"] if "filters" in case else {key: case[key] for key in _KINDS if key in case}
    )
    try:
        passes = compile_filter(spec)(candidate)
    except BadFilter as error:
        warn(f"line {number}: {error}")
        kinds = [fault.kind for fault in error.faults]
        return False, "invalid" if "invalid" in kinds else kinds[0]
    return passes, candidate.fault


def _cesql(text: str, candidate: Candidate, number: int) -> Answer:
    try:
        result = Expression(text).evaluate(candidate.attributes)
    except CesqlError as error:
        warn(f"line {number}: {error}")
        return False, error.kind
    if result.error:
        warn(f"line {number}: {result.message}")
    return result.value, result.error
