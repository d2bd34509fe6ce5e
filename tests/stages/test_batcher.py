from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.detections import Detections, EngineInfo
from edge.errors import GpuLost, PartFailed, TryLater, Withheld
from edge.stages.batcher import Batcher
from edge.stages.urgency import Urgency, carrying

INFO = EngineInfo(
    name="counting",
    model="counting",
    digest="",
    input_size=(4, 4),
    resize="stretch",
    pad=0,
    threshold=0.5,
    labels=("person",),
)


class Counting:
    """An engine that sees as many people as a picture's first pixel says."""

    def __init__(self, before: Callable[[int], None] = lambda _n: None) -> None:
        self.info = INFO
        self.batches: list[list[str | None]] = []
        self.before = before
        self.closed = False

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        self.batches.append(list(sources))
        self.before(len(batch))
        return [people(int(row[0, 0, 0])) for row in batch]

    def close(self) -> None:
        self.closed = True


def people(n: int) -> Detections:
    return Detections(
        boxes=np.tile(np.array([[0, 0, 1, 1]], np.float32), (n, 1)),
        scores=np.ones(n, np.float32),
        labels=np.zeros(n, np.int32),
    )


def picture(*counts: int) -> NDArray[np.uint8]:
    batch = np.zeros((len(counts), 4, 4, 3), np.uint8)
    batch[:, 0, 0, 0] = counts
    return batch


def made(engine: Counting, most: int = 4, **more: Any) -> Batcher:
    return Batcher(engine, max_batch=most, max_queue_delay=0.001, **more)


class Door:
    """Holds the first batch until it is opened, so that others gather behind it."""

    def __init__(self, then: Callable[[int], None] = lambda _n: None) -> None:
        self.reached, self.opened, self.then = threading.Event(), threading.Event(), then
        self._first = True

    def __call__(self, n: int) -> None:
        first, self._first = self._first, False
        if first:
            self.reached.set()
            assert self.opened.wait(30)
        else:
            self.then(n)


def gathered(
    batcher: Batcher, door: Door, counts: list[int], pool: ThreadPoolExecutor
) -> list[Future[list[int]]]:
    """Let one caller in, the others gather behind it, and then open the door."""
    first = ask(pool, batcher, [0])
    assert door.reached.wait(30)
    others = ask(pool, batcher, counts)
    while len(batcher._queue) < len(counts):
        door.reached.wait(0.001)
    door.opened.set()
    assert first[0].result(30) == [0]
    return others


def ask(pool: ThreadPoolExecutor, batcher: Batcher, counts: list[int]) -> list[Future[list[int]]]:
    def one(count: int) -> list[int]:
        with carrying(Urgency(priority=int(count == 2))):
            return [len(seen) for seen in batcher.infer(picture(count), [f"gate-{count}"])]

    return [pool.submit(one, count) for count in counts]


def test_callers_who_come_while_the_engine_is_busy_share_the_next_batch() -> None:
    door = Door()
    engine = Counting(door)
    with ThreadPoolExecutor(5, thread_name_prefix="ask") as pool:
        others = gathered(made(engine), door, [1, 2, 3, 4], pool)
        assert [future.result(30) for future in others] == [[1], [2], [3], [4]]
    assert [sorted(map(str, batch)) for batch in engine.batches] == [
        ["gate-0"],
        ["gate-1", "gate-2", "gate-3", "gate-4"],
    ]


def test_a_caller_alone_does_not_wait() -> None:
    engine = Counting()
    batcher = Batcher(engine, max_batch=100, max_queue_delay=1000)
    assert [len(seen) for seen in batcher.infer(picture(3), ["gate"])] == [3]
    assert engine.batches == [["gate"]]


def test_more_pictures_than_a_batch_has_are_cut_into_several() -> None:
    engine = Counting()
    answers = made(engine, most=2).infer(picture(1, 2, 3, 4, 5), list("abcde"))
    assert [len(seen) for seen in answers] == [1, 2, 3, 4, 5]
    assert engine.batches == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("error", [PartFailed("it broke"), Withheld("nobody can say")])
def test_a_picture_that_fails_fails_alone(error: Exception) -> None:
    def poison(_: int) -> None:
        if engine.batches[-1].count("gate-3"):
            raise error

    door = Door(poison)
    engine = Counting(door)
    with ThreadPoolExecutor(5, thread_name_prefix="ask") as pool:
        others = gathered(made(engine), door, [1, 2, 3, 4], pool)
        assert others[2].exception(30) is error
        assert [others[n].result(30) for n in (0, 1, 3)] == [[1], [2], [4]]


@pytest.mark.parametrize("error", [GpuLost("it is gone"), MemoryError(), SystemExit(3)])
def test_what_no_second_try_can_help_reaches_every_caller(error: BaseException) -> None:
    def fail(_: int) -> None:
        raise error

    door = Door(fail)
    engine = Counting(door)
    with ThreadPoolExecutor(4, thread_name_prefix="ask") as pool:
        others = gathered(made(engine), door, [1, 2, 3], pool)
        assert [future.exception(30) for future in others] == [error] * 3
    assert len(engine.batches) == 2


def test_a_bug_in_the_second_try_leaves_nobody_waiting() -> None:
    def fail(n: int) -> None:
        raise PartFailed("together") if n > 1 else ZeroDivisionError

    door = Door(fail)
    with ThreadPoolExecutor(4, thread_name_prefix="ask") as pool:
        others = gathered(made(Counting(door)), door, [1, 2, 3], pool)
        for future in others:
            assert isinstance(future.exception(30), ZeroDivisionError)


def test_it_works_on_after_a_failure() -> None:
    broken = True

    def fail(_: int) -> None:
        if broken:
            raise MemoryError

    batcher = made(Counting(fail))
    with pytest.raises(MemoryError):
        batcher.infer(picture(1), ["gate"])
    broken = False
    assert len(batcher.infer(picture(1), ["gate"])) == 1


def test_an_engine_that_answers_for_too_few_pictures_fails() -> None:
    engine = Counting()
    original = engine.infer
    engine.infer = lambda batch, sources: original(batch, sources)[:-1]  # type: ignore[method-assign]
    with pytest.raises(PartFailed, match="0 answers to 1"):
        made(engine).infer(picture(1), ["gate"])


def test_whose_turn_does_not_come_in_time_is_told_to_come_later() -> None:
    door = Door()
    batcher = made(Counting(door), timeout=0.05)
    with ThreadPoolExecutor(2, thread_name_prefix="ask") as pool:
        (first,) = ask(pool, batcher, [0])
        assert door.reached.wait(30)
        (second,) = ask(pool, batcher, [1])
        error = second.exception(30)
        assert isinstance(error, TryLater)
        assert error.reason == "engine_busy"
        door.opened.set()
        assert first.exception(30) is None


def test_a_deadline_of_the_picture_counts_as_its_time_does() -> None:
    batcher = made(Counting())
    with carrying(Urgency(deadline=time.monotonic() - 1)), pytest.raises(TryLater) as caught:
        batcher.infer(picture(1), ["gate"])
    assert caught.value.reason == "engine_busy"
    assert len(batcher.infer(picture(1), ["gate"])[0]) == 1


def test_who_is_more_urgent_goes_first() -> None:
    door = Door()
    engine = Counting(door)
    batcher = made(engine, most=1)
    with ThreadPoolExecutor(4, thread_name_prefix="ask") as pool:
        others = gathered(batcher, door, [1, 2, 3], pool)
        assert [future.result(30) for future in others] == [[1], [2], [3]]
    assert engine.batches[1] == ["gate-2"]


def test_several_batches_may_run_at_once_where_the_engine_gains_from_it() -> None:
    together = threading.Barrier(2)

    def meet(_: int) -> None:
        together.wait(30)

    batcher = made(Counting(meet), most=1, runs=2)
    with ThreadPoolExecutor(2, thread_name_prefix="ask") as pool:
        assert [f.result(30) for f in ask(pool, batcher, [1, 2])] == [[1], [2]]


@pytest.mark.parametrize("runs", [1, 2])
def test_many_callers_lose_nothing_and_mix_nothing_up(runs: int) -> None:
    engine = Counting()
    batcher = made(engine, most=5, runs=runs)
    counts = [n % 7 for n in range(300)]
    with ThreadPoolExecutor(8, thread_name_prefix="ask") as pool:
        assert [f.result(30) for f in ask(pool, batcher, counts)] == [[n] for n in counts]
    assert sum(map(len, engine.batches)) == 300
    assert max(map(len, engine.batches)) <= 5


def test_it_passes_on_facts_and_the_end() -> None:
    engine = Counting()
    batcher = made(engine)
    assert batcher.info is engine.info
    batcher.close()
    assert engine.closed
    with pytest.raises(PartFailed, match="closed"):
        batcher.infer(picture(1), ["gate"])
