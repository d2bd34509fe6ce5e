"""(d) From the start of the process to the first redacted picture in the store."""

from __future__ import annotations

from tests.bench.box import box, camera, detect
from tests.bench.inputs import Inputs
from tests.bench.result import Row, at_most, middle

ROUNDS = 5
MODEL = "picodet_s_416"
GOAL = 2.0


def start(inputs: Inputs) -> float:
    """Start a box with one camera; return the seconds until its first picture was stored."""
    clip = inputs.clip("720p", 500)
    with box(f"{detect(inputs.models, MODEL)}\n{camera('c', clip)}") as one:
        one.wait_for(one.stored, step=0.02)
        return min(path.stat().st_mtime for path in one.stored()) - one.started


def measure(inputs: Inputs) -> list[Row]:
    """Start it several times."""
    inputs.model(MODEL)
    times = [start(inputs) for _ in range(ROUNDS)]
    goal, kept = at_most(middle(times), GOAL)
    return [
        Row(
            part="d",
            what="start to first redacted picture",
            value=middle(times),
            unit="s",
            against=f"{min(times):.2f} to {max(times):.2f} s",
            goal=goal,
            kept=kept,
            note=f"new process, model installed, 720p file camera, {MODEL}, picture in the store; "
            f"files of Python and libraries in the page cache; {ROUNDS} starts",
        )
    ]
