from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.detections import Detections, EngineInfo
from edge.errors import PartFailed
from edge.stages.batcher import Batcher

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


def ask(pool: ThreadPoolExecutor, batcher: Batcher, counts: list[int]) -> list[Future[list[int]]]:
    def one(count: int) -> list[int]:
        return [len(seen) for seen in batcher.infer(picture(count), [f"gate-{count}"])]

    return [pool.submit(one, count) for count in counts]


def test_callers_at_the_same_time_share_a_batch_and_get_their_own_answers() -> None:
    engine = Counting()
    batcher = Batcher(engine, max_batch=4, max_wait=30)
    with ThreadPoolExecutor(4, thread_name_prefix="ask") as pool:
        answers = [future.result(10) for future in ask(pool, batcher, [1, 2, 3, 4])]
    assert answers == [[1], [2], [3], [4]]
    (batch,) = engine.batches
    assert sorted(map(str, batch)) == ["gate-1", "gate-2", "gate-3", "gate-4"]


def test_a_caller_alone_waits_for_the_time_and_no_longer() -> None:
    engine = Counting()
    batcher = Batcher(engine, max_batch=100, max_wait=0.01)
    assert [len(seen) for seen in batcher.infer(picture(3), ["gate"])] == [3]
    assert engine.batches == [["gate"]]


def test_a_caller_with_a_full_batch_does_not_wait() -> None:
    batcher = Batcher(Counting(), max_batch=2, max_wait=1000)
    assert len(batcher.infer(picture(1, 2), ["gate", "yard"])) == 2
    assert len(batcher.infer(picture(1, 2, 3), [None] * 3)) == 3


def test_a_call_that_does_not_fit_begins_the_next_batch() -> None:
    entered = threading.Event()
    engine = Counting(lambda _n: entered.set())
    batcher = Batcher(engine, max_batch=3, max_wait=30)
    with ThreadPoolExecutor(2, thread_name_prefix="ask") as pool:
        first = pool.submit(batcher.infer, picture(1, 1), ["a", "a"])
        while not batcher._open:
            time.sleep(0.001)
        second = pool.submit(batcher.infer, picture(2, 2, 2), ["b", "b", "b"])
        assert [len(seen) for seen in first.result(10)] == [1, 1]
        assert [len(seen) for seen in second.result(10)] == [2, 2, 2]
    assert sorted(len(batch) for batch in engine.batches) == [2, 3]


@pytest.mark.parametrize("error", [PartFailed("the engine broke"), MemoryError(), SystemExit(3)])
def test_an_error_of_the_batch_reaches_every_caller(error: BaseException) -> None:
    def fail(_: int) -> None:
        raise error

    batcher = Batcher(Counting(fail), max_batch=3, max_wait=30)
    with ThreadPoolExecutor(3, thread_name_prefix="ask") as pool:
        futures = ask(pool, batcher, [1, 2, 3])
        assert [future.exception(10) for future in futures] == [error] * 3


def test_nobody_hangs_when_the_leader_dies_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    batcher = Batcher(Counting(), max_batch=3, max_wait=30)
    joined = threading.Event()

    def die(*_: object) -> bool:
        # as a signal or an interpreter that ends would: in the middle of the wait
        batcher._changed.wait(5)
        joined.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(batcher._changed, "wait_for", die)
    with ThreadPoolExecutor(2, thread_name_prefix="ask") as pool:
        leader = ask(pool, batcher, [1])[0]
        while not batcher._open:
            time.sleep(0.001)
        follower = ask(pool, batcher, [2])[0]
        while len(batcher._open) < 2 and not joined.is_set():
            time.sleep(0.001)
        with batcher._changed:
            batcher._changed.notify_all()
        assert isinstance(leader.exception(10), KeyboardInterrupt)
        assert isinstance(follower.exception(10), KeyboardInterrupt)
    monkeypatch.undo()
    assert batcher._open == []


def test_an_engine_that_answers_for_too_few_pictures_fails_for_all() -> None:
    engine = Counting()
    batcher = Batcher(engine, max_batch=2, max_wait=30)
    original = engine.infer
    engine.infer = lambda batch, sources: original(batch, sources)[:-1]  # type: ignore[method-assign]
    with ThreadPoolExecutor(2, thread_name_prefix="ask") as pool:
        for future in ask(pool, batcher, [1, 2]):
            assert isinstance(future.exception(10), PartFailed)


def test_many_callers_lose_nothing_and_mix_nothing_up() -> None:
    engine = Counting()
    batcher = Batcher(engine, max_batch=5, max_wait=0.001)
    counts = [n % 7 for n in range(300)]
    with ThreadPoolExecutor(8, thread_name_prefix="ask") as pool:
        assert [f.result(30) for f in ask(pool, batcher, counts)] == [[n] for n in counts]
    assert sum(map(len, engine.batches)) == 300
    assert max(map(len, engine.batches)) <= 5


def test_it_passes_on_facts_and_the_end() -> None:
    engine = Counting()
    batcher = Batcher(engine, max_batch=1, max_wait=0)
    assert batcher.info is engine.info
    batcher.close()
    assert engine.closed


@pytest.mark.parametrize(("most", "wait"), [(0, 1.0), (1, -1.0)])
def test_senseless_limits_are_refused(most: int, wait: float) -> None:
    with pytest.raises(ValueError, match="got"):
        Batcher(Counting(), max_batch=most, max_wait=wait)
