"""(c) What one more 720p camera costs in memory."""

from __future__ import annotations

import time

from tests.bench.box import box, camera
from tests.bench.inputs import Inputs
from tests.bench.result import Row, at_most, middle

FEW, MANY = 1, 5
ROUNDS = 2
SETTLE, LOOK = 6.0, 3.0
"""Seconds until memory is steady, and seconds in which it is looked at."""
FRAMES = 500
GOAL = 15.0


def memory_of(inputs: Inputs, cameras: int) -> float:
    """Run a box with so many cameras; return its steady memory in MB.

    Safe mode looks, twice a second: a model has its own memory, once, and is not the question.
    """
    clip = inputs.clip("720p", FRAMES)
    names = [f"c{number}" for number in range(cameras)]
    tables = "\n".join(camera(name, clip, loop=True, fps=2) for name in names)
    with box(f'detect.engine = "builtin"\n{tables}') as one:
        one.wait_for(lambda: len(list(one.pictures.glob("*"))) == cameras)
        time.sleep(SETTLE)
        seen = []
        until = time.monotonic() + LOOK
        while time.monotonic() < until:
            seen.append(one.memory())
            time.sleep(0.1)
    return middle(seen)


def measure(inputs: Inputs) -> list[Row]:
    """Compare a box of few cameras with one of many, twice."""
    pairs = [(memory_of(inputs, FEW), memory_of(inputs, MANY)) for _ in range(ROUNDS)]
    each = middle([(many - few) / (MANY - FEW) for few, many in pairs])
    goal, kept = at_most(each, GOAL)
    few = middle([few for few, _ in pairs])
    return [
        Row(
            part="c",
            what="one more 720p camera",
            value=each,
            unit="MB",
            against=f"{few:.0f} MB with {FEW}",
            goal=goal,
            kept=kept,
            note=f"proportional set size with {MANY} cameras less that with {FEW}, H.264 at 25 "
            f"frames/s, 2 frames/s looked at; {len(pairs)} rounds",
        )
    ]
