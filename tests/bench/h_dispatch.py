"""(h) What it costs to ask ten triggers whether they want an event, and expressions a second."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edge.bus.candidate import candidate_of_event
from edge.bus.filters import compile_filter
from edge.event import FRAME_TAKEN, PICTURE_REDACTED, Event, WireEvent
from tests.bench.inputs import Inputs
from tests.bench.result import Row, at_most, middle
from tests.bus.rig import Sink, opened, trigger

GOAL = 30.0
EVENTS = 2000
ROUNDS = 7

FILTERS: dict[str, list[dict[str, Any]]] = {
    "exact-1": [{"exact": {"type": FRAME_TAKEN}}],
    "exact-2": [{"exact": {"type": PICTURE_REDACTED, "subject": "gate"}}],
    "exact-3": [{"any": [{"exact": {"type": "a"}}, {"exact": {"type": "b"}}]}],
    "prefix-1": [{"prefix": {"type": "io.edge.picture."}}],
    "prefix-2": [{"prefix": {"source": "/site/box/gate"}}],
    "cesql-1": [{"cesql": "type LIKE 'io.edge.%.v1' AND subject = 'yard'"}],
    "cesql-2": [{"cesql": "subject IN ('gate', 'crane') AND NOT EXISTS dataref"}],
    "cesql-3": [{"cesql": "LENGTH(subject) > 20"}],
    "cel-1": [{"cel": "ce.type.startsWith('io.edge.picture') && ce.subject == 'gate'"}],
    "cel-2": [{"cel": "ce.subject in ['yard', 'crane']"}],
}
"""Ten triggers, four kinds of filter."""

CESQL = FILTERS["cesql-1"]
CEL = FILTERS["cel-1"]
CEL_NEW = [{"cel": "ce.id.endsWith('7/p1')"}]
CEL_DATA = [{"cel": "data.people.exists(p, p.score > 0.9)"}]


def frame(number: int) -> Event[Any]:
    """Return the event of a live frame; matching looks at its attributes alone."""
    return Event(
        id=f"gate/2026-03-04T05:06:07.{number:06}Z",
        source="/site/box/gate",
        type=FRAME_TAKEN,
        subject="gate",
        time="2026-03-04T05:06:07.890Z",
        data=object(),
    )


def result(number: int) -> WireEvent:
    """Return the event of a redacted picture with two people."""
    return Event(
        id=f"gate/{number}/p1",
        source="/site/box/gate",
        type=PICTURE_REDACTED,
        subject="gate",
        time="2026-03-04T05:06:07.890Z",
        datacontenttype="application/json",
        data=b'{"source": "gate", "people": [{"box": [1, 2, 3, 4], "score": 0.5, "label": "person"}'
        b', {"box": [5, 6, 7, 8], "score": 0.75, "label": "person"}], "method": "cells"}',
    )


def seconds_each(ask: Callable[[Event[Any]], object], events: Sequence[Event[Any]]) -> float:
    """Return the median seconds that one call of ``ask`` takes, each event new to it."""
    rounds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for event in events:
            ask(event)
        rounds.append((time.perf_counter() - begin) / len(events))
    return middle(rounds)


async def dispatch(events: Sequence[Event[Any]]) -> tuple[float, int]:
    """Return the seconds an event, and how many triggers wanted the first one."""
    triggers = {name: trigger("sink", filters=filters) for name, filters in FILTERS.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spool.db"
        async with opened(path, {"sink": Sink()}, triggers, run=False) as bus:
            wanted = len(bus.broker.matching(events[0]))
            return seconds_each(bus.broker.matching, events), wanted


def measure(inputs: Inputs) -> list[Row]:  # noqa: ARG001 (it needs none)
    """Measure matching, and each language of expressions by itself."""
    rows = []
    for name, make in (("a live frame", frame), ("a redacted picture", result)):
        each, wanted = asyncio.run(dispatch([make(number) for number in range(EVENTS)]))
        goal, kept = at_most(each * 1e6, GOAL)
        rows.append(
            Row(
                part="h",
                what=f"dispatch, {name}",
                value=each * 1e6,
                unit="us",
                against=f"{wanted} of {len(FILTERS)} triggers want it",
                goal=goal,
                kept=kept,
                note=f"3 triggers by exact, 2 by prefix, 3 by CESQL, 2 by CEL; median of {ROUNDS} "
                f"rounds of {EVENTS} events",
            )
        )
    return rows + [expressions(name, spec) for name, spec in EXPRESSIONS.items()]


EXPRESSIONS = {"CESQL": CESQL, "CEL": CEL, "CEL, new values": CEL_NEW, "CEL over data": CEL_DATA}


def expressions(name: str, spec: list[dict[str, Any]]) -> Row:
    """Measure how often a second an expression is evaluated, each time for another event."""
    passes = compile_filter(spec).matches
    events = [result(number) for number in range(EVENTS)]
    bare = seconds_each(candidate_of_event, events)
    each = seconds_each(lambda event: passes(candidate_of_event(event)), events) - bare
    return Row(
        part="h",
        what=f"{name} evaluations",
        value=1 / each,
        unit="/s",
        against=f"{each * 1e6:.2g} us each",
        note=f"{name}: {next(iter(spec[0].values()))}",
    )
