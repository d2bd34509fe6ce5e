from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.contracts import Engine
from edge.detections import Detections
from edge.errors import PartFailed, TryLater
from edge.ops.metrics import Metrics
from edge.ops.supervise import Supervisor
from edge.stages.engines.holder import EngineHolder
from tests.stages.parts import FixedEngine


class MuteEngine(FixedEngine):
    """Loads, and never says anything."""

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        return super().infer(batch, sources)[:0]


class Opener:
    """Opens engines one after the other, or fails to."""

    def __init__(self, *engines: FixedEngine | PartFailed) -> None:
        self.engines = list(engines)

    async def __call__(self) -> Engine:
        one = self.engines.pop(0)
        if isinstance(one, PartFailed):
            raise one
        return one


async def up_and_running(holder: EngineHolder, metrics: Metrics) -> asyncio.Task[None]:
    supervisor = Supervisor(metrics, first=0.01, most=0.02)
    task = asyncio.create_task(supervisor.keep("engine", holder.run), name="engine")
    while not holder.up:  # noqa: ASYNC110 (a test waits for a state)
        await asyncio.sleep(0.005)
    return task


async def test_no_engine_means_that_nothing_can_be_judged() -> None:
    holder = EngineHolder(Opener(), Metrics())
    with pytest.raises(TryLater) as caught:
        holder.lend()
    assert caught.value.reason == "engine_down"


async def test_an_engine_that_breaks_is_taken_out_at_once_and_opened_anew() -> None:
    metrics, first, second = Metrics(), FixedEngine(), FixedEngine()
    holder = EngineHolder(Opener(first, PartFailed("not yet"), second), metrics)
    task = await up_and_running(holder, metrics)
    assert holder.lend() is first
    assert holder.qualifies(first.info)

    holder.broke(PartFailed("it raised", reason="raised"))
    with pytest.raises(TryLater):
        holder.lend()
    assert not holder.qualifies(first.info)
    while holder.info is not second.info:  # noqa: ASYNC110 (a test waits for a state)
        await asyncio.sleep(0.005)
    assert holder.lend() is second
    assert first.closed
    assert not holder.qualifies(first.info)
    task.cancel()


async def test_an_engine_that_does_not_answer_its_first_picture_never_serves() -> None:
    metrics = Metrics()
    mute = MuteEngine()
    good = FixedEngine()
    holder = EngineHolder(Opener(mute, good), metrics)
    task = await up_and_running(holder, metrics)
    assert holder.lend() is good
    task.cancel()


async def test_a_better_engine_takes_over_without_a_failure() -> None:
    metrics, old, new = Metrics(), FixedEngine(), FixedEngine()
    holder = EngineHolder(Opener(old, new), metrics)
    task = await up_and_running(holder, metrics)
    holder.reopen()
    while holder.info is not new.info:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    assert old.closed
    assert metrics.registry.get_sample_value("edge_engine_failures_total", {"reason": "x"}) is None
    task.cancel()
