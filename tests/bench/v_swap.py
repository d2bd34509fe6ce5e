"""(v) The time that is lost in a swap of engines, and the pictures that found none.

Two workers look at pictures without a pause through the holder, as the picture pool does, while the
same model is opened anew and takes over. What a swap costs is what the pictures of that time took
longer than as many without a swap: loading a model needs a processor, too. It is compared with what
a box would lose that stops to open its engine, and the longest time without an answer with the
longest without a swap.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.contracts import Engine
from edge.detections import EngineInfo
from edge.errors import TryLater
from edge.ops.metrics import Metrics
from edge.stages.engines.holder import EngineHolder
from edge.stages.engines.onnx import OnnxEngine
from tests.bench.inputs import Inputs
from tests.bench.result import Row, at_most, middle
from tests.bench.t_engine import pictures

MODEL = "picodet_s_416"
WORKERS = 2
PICTURES = 60
"""At least, within the time of a swap, and without one."""
AFTER = 5
"""Of each worker, at least, once the swap is over."""
ROUNDS = 5
LOST, GAP = 1.0, 3.0


@dataclass(slots=True)
class Flow:
    """What the workers saw."""

    looked: int = 0
    found_none: int = 0
    gaps: list[float] = field(default_factory=list)
    last: float = 0.0

    def passed(self) -> None:
        now = time.perf_counter()
        if self.last:
            self.gaps.append(now - self.last)
        self.last = now
        self.looked += 1


@dataclass(frozen=True, slots=True)
class Round:
    """One swap, and as many pictures without."""

    usual: Flow
    swap: Flow
    #: seconds that the pictures of the swap took longer
    lost: float
    #: seconds that a box would stand still that stops to open its engine
    stop: float


def measure(inputs: Inputs, rounds: int = ROUNDS) -> list[Row]:
    path = inputs.model(MODEL)
    batch = pictures(inputs, OnnxEngine.open(path))[:1]
    found = asyncio.run(_rounds(path, batch, rounds))
    lost, stop = middle([one.lost for one in found]), middle([one.stop for one in found])
    gap = middle([max(one.swap.gaps) for one in found])
    usual = middle([max(one.usual.gaps) for one in found])
    none = sum(one.swap.found_none for one in found)
    note = (
        f"{MODEL} on ONNX Runtime, opened anew while {WORKERS} workers look at {PICTURES} "
        f"pictures; {rounds} rounds in turn with as many pictures without a swap"
    )
    return [
        _row("time lost in a swap", "of a stop", (lost, stop), LOST, note),
        _row("longest time without an answer", "of that without", (gap, usual), GAP),
        _row("pictures that found no engine", "", (none, 0), 0),
    ]


def _row(what: str, unit: str, two: tuple[float, float], most: float, note: str = "") -> Row:
    """Say how large the one is against the other; against nothing it stands for itself."""
    here, there = two
    value = here / there if there else here
    goal, kept = at_most(value, most)
    against = f"{here * 1000:.0f} to {there * 1000:.0f} ms" if there else ""
    return Row(
        part="v",
        what=what,
        value=value,
        unit=unit,
        against=against,
        goal=goal,
        kept=kept,
        note=note,
    )


async def _rounds(path: Path, batch: NDArray[np.uint8], rounds: int) -> list[Round]:
    found = []
    # the workers stay: on each the engine has something of its own, which is made but once
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="picture") as pool:
        async with _holding(path) as holder:
            await _look(pool, holder, batch)
            for _ in range(rounds):
                begin = time.perf_counter()
                usual = await _look(pool, holder, batch)
                without = time.perf_counter() - begin
                begin = time.perf_counter()
                swap = asyncio.create_task(holder.swap(), name="swap")
                flow = await _look(pool, holder, batch, swap)
                within = time.perf_counter() - begin
                await holder.retired()
                lost = within - without * flow.looked / usual.looked
                found.append(Round(usual, flow, lost, await _stop(pool, path, batch)))
    return found


async def _stop(pool: ThreadPoolExecutor, path: Path, batch: NDArray[np.uint8]) -> float:
    """Return the seconds until an engine is open and every worker has looked once."""
    loop, begin = asyncio.get_running_loop(), time.perf_counter()
    engine = await asyncio.to_thread(OnnxEngine.open, path)
    looks = (loop.run_in_executor(pool, engine.infer, batch, ("gate",)) for _ in range(WORKERS))
    await asyncio.gather(*looks)
    seconds = time.perf_counter() - begin
    engine.close()
    return seconds


@contextlib.asynccontextmanager
async def _holding(path: Path) -> AsyncIterator[EngineHolder]:
    async def opened() -> Engine:
        return await asyncio.to_thread(OnnxEngine.open, path)

    up = asyncio.Event()
    holder = EngineHolder(opened, Metrics())
    serving = asyncio.create_task(holder.run(up.set), name="engine")
    await up.wait()
    try:
        yield holder
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def _look(
    pool: ThreadPoolExecutor,
    holder: EngineHolder,
    batch: NDArray[np.uint8],
    swap: asyncio.Task[EngineInfo] | None = None,
) -> Flow:
    """Let every worker look without a pause, until a swap is over and each has the new engine."""
    flow, loop = Flow(), asyncio.get_running_loop()

    async def work() -> None:
        left = PICTURES // WORKERS
        while left > 0 or not (swap is None or swap.done()):
            left = max(left - 1, 0 if swap is None or swap.done() else AFTER)
            try:
                with holder.lend() as engine:
                    await loop.run_in_executor(pool, engine.infer, batch, ("gate",))
            except TryLater:
                flow.found_none += 1
                await asyncio.sleep(0)
            else:
                flow.passed()

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    return flow
