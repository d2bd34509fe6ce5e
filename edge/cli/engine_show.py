"""``edge engine`` for people: tables and sentences of what a box says of its engines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edge.web.present_engines import FAULTS_HINT, milliseconds, shown_options
from edge.web.words import age, size


def looks(told: Mapping[str, Any]) -> str:
    """Say which engine looks, and why."""
    if not told["serving"]:
        return f"no engine looks: {told['why']}".rstrip(": ")
    wanted = "" if told["wanted"] == "auto" else f" (wanted: {told['wanted']})"
    return f"{told['serving']} looks with {told['model']}{wanted}: {told['why']}".rstrip(": ")


def listing(told: Mapping[str, Any]) -> str:
    """Say everything about a box's engines."""
    lines = [looks(told)]
    if told["canary"]:
        lines.append(f"  known picture: {told['canary']}")
    if told["faults"]:
        lines.append(f"  faults of the GPU within the last hour: {told['faults']}")
        lines.append(f"  hint: {FAULTS_HINT}")
    if told.get("encoder"):
        lines.append(f"  JPEGs are encoded by {told['encoder']}")
    lines += ["", *_options(told)]
    if told["build"]["state"] != "idle":
        lines += ["", *_build(told["build"])]
    if told["plans"]:
        lines += ["", *_plans(told["plans"])]
    return "\n".join(lines)


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows with their columns in line."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _options(told: Mapping[str, Any]) -> Iterator[str]:
    rows = [("ENGINE", "STATE", "MS", "WHY")]
    for one in shown_options(told):
        took = one["milliseconds"]
        agreement = one["agreement"]
        words = [one["why"], "" if agreement is None else agreement["text"], one["hint"]]
        rows.append(
            (
                one["name"],
                one["state"].replace("_", " "),
                "" if took is None else milliseconds(took),
                "; ".join(part for part in words if part),
            )
        )
    return table(rows)


def _build(build: Mapping[str, Any]) -> Iterator[str]:
    share = "" if build["share"] is None else f", {build['share']:.0%}"
    phase = f": {build['phase']}{share}" if build["state"] == "running" else ""
    yield f"build of {build['model']}: {build['state']}{phase}, {age(build['seconds'])}"
    if build["reason"]:
        yield f"  {build['reason']}"
    if build["hint"]:
        yield f"  hint: {build['hint']}"


def _plans(plans: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rows = [("KEY", "STATE", "MODEL", "BUILT", "SIZE", "LIBRARY", "DEVICE", "WHY")]
    rows += [
        (
            plan["key"][:12],
            plan["state"].replace("_", " "),
            plan["model"],
            plan["built_at"],
            size(plan["bytes"]),
            plan["library"],
            plan["device"],
            plan["why"],
        )
        for plan in plans
    ]
    return table(rows)
