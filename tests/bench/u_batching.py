"""(u) Batching across eight cameras, in front of an engine that gains from batches.

A processor gains nothing from them, so the engine is a stand-in that takes the time of a GPU's:
4 ms a batch and 0.5 ms a picture, asleep. What is measured is the queue: how near it comes to
batches that are always full, whether a camera with eight times as many pictures as the others takes
from their share, and what a camera alone waits longer.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from edge.contracts import Engine
from edge.detections import Detections, EngineInfo
from tests.bench.inputs import Inputs
from tests.bench.result import Row, at_least, at_most, middle
from tests.stages.queued import Queued

BATCH_S, PICTURE_S = 0.004, 0.0005
CAMERAS = 8
DELAY = 0.003
SECONDS = 2.0
ROUNDS = 5
LONELY = 200
FULL, SHARE, LATER = 0.85, 0.9, 0.3
SIDE = 416


class StandIn:
    """Takes the time of a GPU and sees nobody; one batch at a time."""

    info = EngineInfo(
        name="stand-in",
        model="stand-in",
        digest="",
        input_size=(SIDE, SIDE),
        resize="stretch",
        pad=0,
        threshold=0.5,
        labels=("person",),
    )

    def __init__(self) -> None:
        self._alone = threading.Lock()

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        assert len(sources) == len(batch)
        with self._alone:
            time.sleep(BATCH_S + PICTURE_S * len(batch))
        return [Detections.none() for _ in batch]

    def close(self) -> None:
        pass


def measure(inputs: Inputs, rounds: int = ROUNDS) -> list[Row]:  # noqa: ARG001 (it needs none)
    even = {f"gate-{number}": 1 for number in range(CAMERAS)}
    # each has another picture waiting while one is looked at
    greedy = dict.fromkeys(even, 2) | {"gate-0": 16}
    together, alone, shares, later = [], [], [], []
    full = CAMERAS / real_seconds(CAMERAS)
    for _ in range(rounds):
        alone.append(sum(served(StandIn(), even).values()) / SECONDS)
        together.append(sum(served(batched(), even).values()) / SECONDS)
        counts = served(batched(), greedy)
        shares.append(min(counts.values()) / (sum(counts.values()) / CAMERAS))
        later.append((seconds_alone(batched()) - seconds_alone(StandIn())) * 1000)
    return rows(together, alone, full, shares, later)


def batched() -> Queued:
    return Queued(StandIn(), max_batch=CAMERAS, max_queue_delay=DELAY)


def real_seconds(size: int) -> float:
    """Return what a batch really takes: sleep is late, by as much as the machine is busy."""
    engine, batch = StandIn(), picture(size)
    begin = time.perf_counter()
    for _ in range(50):
        engine.infer(batch, ["gate"] * size)
    return (time.perf_counter() - begin) / 50


def served(engine: Engine, cameras: dict[str, int]) -> Counter[str]:
    """Let threads of each camera ask without a pause; return the pictures that each got back."""
    counts: Counter[str] = Counter()
    with asking(engine, cameras, counts):
        time.sleep(SECONDS / 4)  # until it has learnt how many there are
        before = Counter(counts)
        time.sleep(SECONDS)
        after = Counter(counts)
    return Counter({name: after[name] - before[name] for name in cameras})


@contextmanager
def asking(engine: Engine, cameras: dict[str, int], counts: Counter[str]) -> Iterator[None]:
    over, guard = threading.Event(), threading.Lock()

    def ask(name: str) -> None:
        one = picture(1)
        while not over.is_set():
            engine.infer(one, [name])
            with guard:
                counts[name] += 1

    threads = [
        threading.Thread(target=ask, args=(name,), name=f"{name} {number}")
        for name, many in cameras.items()
        for number in range(many)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def seconds_alone(engine: Engine) -> float:
    """Return the median seconds that a camera alone waits for its answer."""
    one, times = picture(1), []
    for _ in range(LONELY):
        begin = time.perf_counter()
        engine.infer(one, ["gate"])
        times.append(time.perf_counter() - begin)
    return middle(times)


def picture(size: int) -> NDArray[np.uint8]:
    return np.zeros((size, SIDE, SIDE, 3), np.uint8)


def rows(
    together: list[float],
    alone: list[float],
    full: float,
    shares: list[float],
    later: list[float],
) -> list[Row]:
    ratio, share, wait = middle(together) / full, middle(shares), middle(later)
    note = (
        f"stand-in engine of {BATCH_S * 1000:g} ms a batch and {PICTURE_S * 1000:g} ms a picture; "
        f"max_batch {CAMERAS}, max_queue_delay {DELAY * 1000:g} ms; {len(together)} rounds in turn"
    )
    speed = f"{middle(together):.0f} to {full:.0f} pictures/s"
    gain = middle([t / a for t, a in zip(together, alone, strict=True)])
    slow = f"{middle(together):.0f} to {middle(alone):.0f} pictures/s"
    return [
        _row("batching, 8 cameras", ratio, "of full batches", at_least(ratio, FULL), speed, note),
        _row("batching, 8 cameras", gain, "times one by one", ("", None), slow),
        _row("least served of 8, one greedy", share, "of its share", at_least(share, SHARE)),
        _row("a camera alone waits longer", wait, "ms", at_most(wait, LATER)),
    ]


def _row(
    what: str,
    value: float,
    unit: str,
    goal: tuple[str, bool | None],
    against: str = "",
    note: str = "",
) -> Row:
    text, kept = goal
    return Row(
        part="u",
        what=what,
        value=value,
        unit=unit,
        against=against,
        goal=text,
        kept=kept,
        note=note,
    )
