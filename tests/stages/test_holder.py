from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

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


def closed(engine: FixedEngine) -> bool:
    """Tell whether an engine was closed."""
    return engine.closed


async def up_and_running(holder: EngineHolder, metrics: Metrics) -> asyncio.Task[None]:
    supervisor = Supervisor(metrics, first=0.01, most=0.02)
    task = asyncio.create_task(supervisor.keep("engine", holder.run), name="engine")
    while not holder.up:  # noqa: ASYNC110 (a test waits for a state)
        await asyncio.sleep(0.005)
    return task


async def test_no_engine_means_that_nothing_can_be_judged() -> None:
    holder = EngineHolder(Opener(), Metrics())
    with pytest.raises(TryLater) as caught, holder.lend():
        pass
    assert caught.value.reason == "engine_down"


async def test_an_engine_that_breaks_is_taken_out_at_once_and_opened_anew() -> None:
    metrics, first, second = Metrics(), FixedEngine(), FixedEngine()
    holder = EngineHolder(Opener(first, PartFailed("not yet"), second), metrics)
    task = await up_and_running(holder, metrics)
    with holder.lend() as lent:
        assert lent is first
    assert holder.qualifies(first.info)

    holder.broke(PartFailed("it raised", reason="raised"))
    with pytest.raises(TryLater), holder.lend():
        pass
    assert not holder.qualifies(first.info)
    while holder.info is not second.info:  # noqa: ASYNC110 (a test waits for a state)
        await asyncio.sleep(0.005)
    with holder.lend() as lent:
        assert lent is second
    assert first.closed
    assert not holder.qualifies(first.info)
    task.cancel()


async def test_an_engine_that_does_not_answer_its_first_picture_never_serves() -> None:
    metrics = Metrics()
    mute = MuteEngine()
    good = FixedEngine()
    holder = EngineHolder(Opener(mute, good), metrics)
    task = await up_and_running(holder, metrics)
    with holder.lend() as lent:
        assert lent is good
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


async def test_a_swap_lets_the_old_engine_look_until_the_new_one_serves() -> None:
    metrics, old, new = Metrics(), FixedEngine(), FixedEngine()
    gate = asyncio.Event()

    async def opened() -> Engine:
        if holder.up:
            await gate.wait()
            return new
        return old

    holder = EngineHolder(opened, metrics)
    task = await up_and_running(holder, metrics)
    swap = asyncio.create_task(holder.swap(), name="swap")
    await asyncio.sleep(0.05)
    with holder.lend() as lent:
        assert lent is old
        gate.set()
        assert await swap is new.info
        assert holder.qualifies(old.info), "its last picture is still with it"
        assert holder.qualifies(new.info)
        assert closed(old) is False
    await holder.retired()
    assert closed(old) is True
    assert not holder.qualifies(old.info)
    with holder.lend() as lent:
        assert lent is new
    task.cancel()


async def test_what_cannot_be_opened_changes_nothing_and_says_so() -> None:
    metrics, old = Metrics(), FixedEngine()
    holder = EngineHolder(Opener(old, PartFailed("no plan"), MuteEngine()), metrics)
    task = await up_and_running(holder, metrics)
    for words in ("no plan", "0 answers"):
        with pytest.raises(PartFailed, match=words):
            await holder.swap()
        with holder.lend() as lent:
            assert lent is old
    assert not old.closed
    task.cancel()


async def test_a_failure_of_an_engine_that_was_swapped_out_does_not_take_down_its_successor() -> (
    None
):
    metrics, old, new = Metrics(), FixedEngine(), FixedEngine()
    holder = EngineHolder(Opener(old, new), metrics)
    task = await up_and_running(holder, metrics)

    async def fails() -> None:
        with holder.lend():
            await holder.swap()
            raise PartFailed("too late", reason="raised")

    with pytest.raises(TryLater, match="too late"):
        await fails()
    with holder.lend() as lent:
        assert lent is new
    task.cancel()


async def test_whoever_asks_while_another_swap_is_under_way_gets_an_engine_opened_after_that() -> (
    None
):
    metrics, engines = Metrics(), [FixedEngine() for _ in range(3)]
    begun = asyncio.Event()
    left = list(engines)

    async def opened() -> Engine:
        begun.set()
        await asyncio.sleep(0.02)
        return left.pop(0)

    holder = EngineHolder(opened, metrics)
    task = await up_and_running(holder, metrics)
    begun.clear()
    first = asyncio.create_task(holder.swap(), name="first")
    await begun.wait()
    assert await holder.swap() is engines[2].info
    assert await first is engines[1].info
    task.cancel()


async def test_an_engine_is_closed_once_however_it_ends() -> None:
    metrics, broken, swapped, last = Metrics(), FixedEngine(), FixedEngine(), FixedEngine()
    shut: list[FixedEngine] = []
    for one in (broken, swapped, last):
        one.close = partial(shut.append, one)  # type: ignore[method-assign]
    holder = EngineHolder(Opener(broken, swapped, last), metrics)
    task = await up_and_running(holder, metrics)
    holder.broke(PartFailed("it raised"))
    while holder.info is not swapped.info:  # noqa: ASYNC110 (a test waits for a state)
        await asyncio.sleep(0.005)
    await holder.swap()
    await holder.retired()
    task.cancel()
    await asyncio.wait([task])
    assert shut == [broken, swapped, last]


async def test_an_engine_that_breaks_while_the_next_is_opened_does_not_count_after_the_swap() -> (
    None
):
    metrics, first, second = Metrics(), FixedEngine(), FixedEngine()
    may, opening = asyncio.Event(), asyncio.Event()
    engines = iter((first, second, FixedEngine()))

    async def open_next() -> Engine:
        one = next(engines)
        if one is second:
            opening.set()
            await may.wait()
        return one

    holder = EngineHolder(open_next, metrics)
    task = await up_and_running(holder, metrics)
    with holder.lend():  # a picture that is with the first one all the time
        holder.reopen()
        await opening.wait()
        holder.broke(PartFailed("it said nonsense", reason="engine_nonsense"))
        assert not holder.qualifies(first.info)
        may.set()
        while not holder.up:  # noqa: ASYNC110 (a test waits for a state)
            await asyncio.sleep(0.005)
        assert not holder.qualifies(first.info)
        assert not closed(first)
    while not closed(first):  # noqa: ASYNC110 (a test waits for a state)
        await asyncio.sleep(0.005)
    task.cancel()
