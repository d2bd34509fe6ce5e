from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.detections import Detections
from edge.errors import PartFailed, TryLater
from edge.stages.batch_queue import PATIENCE, Batch, BatchQueue, Request

SHAPE = (4, 4, 3)
LONG = 30.0
"""A delay that a test would notice."""


def queue(most: int = 4, delay: float = LONG, preferred: tuple[int, ...] = ()) -> BatchQueue:
    return BatchQueue(shape=SHAPE, max_batch=most, max_queue_delay=delay, preferred=preferred)


def rows(n: int = 1, value: int = 0) -> NDArray[np.uint8]:
    return np.full((n, *SHAPE), value, np.uint8)


def put(one: BatchQueue, *names: str | None, priority: int = 0) -> list[Request]:
    return [one.put(rows(), [name], priority=priority) for name in names]


def crowd(one: BatchQueue, most: int) -> None:
    """Let the queue learn that ``most`` pictures may be in hand at once."""
    put(one, *["before"] * most)
    left = most
    while left:
        batch = one.take(0)
        left -= len(batch)
        batch.answer([Detections.none()] * len(batch))


def test_one_alone_goes_at_once() -> None:
    waiting = queue()
    put(waiting, "gate")
    started = time.monotonic()
    assert waiting.take(LONG).sources == ["gate"]
    assert time.monotonic() - started < LONG / 3


def test_where_others_are_expected_it_waits_for_them() -> None:
    waiting = queue(most=4)
    crowd(waiting, 2)
    put(waiting, "gate")
    assert not waiting.take(0.02)
    put(waiting, "yard")
    assert waiting.take(0).sources == ["gate", "yard"]


def test_it_waits_for_them_no_longer_than_the_delay() -> None:
    waiting = queue(most=4, delay=0.05)
    crowd(waiting, 4)
    put(waiting, "gate")
    started = time.monotonic()
    assert waiting.take(LONG).sources == ["gate"]
    assert 0.04 < time.monotonic() - started < LONG / 3


def test_who_came_while_a_batch_was_looked_at_waits_for_those_who_come_back() -> None:
    waiting = queue(most=3, delay=0.2)
    crowd(waiting, 3)
    put(waiting, "gate", "yard")
    first = waiting.take(LONG)
    put(waiting, "door")
    time.sleep(0.25)
    first.answer([Detections.none()] * 2)
    assert not waiting.take(0)
    put(waiting, "gate", "yard")
    assert waiting.take(0).sources == ["door", "gate", "yard"]


def test_those_who_are_being_looked_at_are_not_expected() -> None:
    waiting = queue(most=4)
    crowd(waiting, 2)
    put(waiting, "gate", "yard")
    first = waiting.take(0)
    assert len(first) == 2
    put(waiting, "door")
    # three at once were never there: nobody knows of a fourth
    assert waiting.take(0).sources == ["door"]


def test_callers_that_went_away_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = queue(most=8)
    crowd(waiting, 8)
    put(waiting, "gate")
    assert not waiting.take(0)
    now = time.monotonic()
    monkeypatch.setattr("edge.stages.batch_queue.time.monotonic", lambda: now + 2.5)
    assert waiting.take(0).sources == ["gate"]


def test_a_full_batch_goes_at_once_and_the_rest_stays() -> None:
    waiting = queue(most=2)
    crowd(waiting, 8)
    put(waiting, "a", "b", "c")
    assert waiting.take(0).sources == ["a", "b"]
    assert len(waiting) == 1
    assert not waiting.take(0)


def test_a_preferred_size_goes_at_once() -> None:
    waiting = queue(most=8, preferred=(2, 4))
    crowd(waiting, 8)
    put(waiting, *"abc")
    assert waiting.take(0).sources == ["a", "b"]
    put(waiting, *"def")
    assert waiting.take(0).sources == ["c", "d", "e", "f"]


def test_less_than_a_preferred_size_goes_together_when_its_time_has_come() -> None:
    waiting = queue(most=8, delay=0.02, preferred=(4,))
    crowd(waiting, 8)
    put(waiting, *"abc")
    assert waiting.take(LONG).sources == ["a", "b", "c"]


def test_cameras_take_turns_however_many_pictures_one_has() -> None:
    waiting = queue(most=2)
    put(waiting, "busy", "busy", "busy", "busy", "gate", "yard", "door")
    taken = [waiting.take(0).sources for _ in range(4)]
    assert taken == [["busy", "gate"], ["yard", "door"], ["busy", "busy"], ["busy"]]


def test_who_was_served_last_is_served_last() -> None:
    waiting = queue(most=1)
    put(waiting, "a", "b", "c", "a", "b", "c")
    order = []
    for _ in range(6):
        order += waiting.take(0).sources
        put(waiting, *order[-1:])  # it comes back at once
    assert order == ["a", "b", "c", "a", "b", "c"]


def test_a_higher_priority_goes_first() -> None:
    waiting = queue(most=2)
    put(waiting, "upload", "upload")
    put(waiting, "gate", priority=1)
    assert waiting.take(0).sources == ["gate", "upload"]


def test_the_lowest_priority_is_served_too(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = queue(most=1)
    put(waiting, "upload")
    now = time.monotonic()
    monkeypatch.setattr("edge.stages.batch_queue.time.monotonic", lambda: now + PATIENCE * 1.1)
    put(waiting, "gate", "yard", priority=9)
    assert waiting.take(0).sources == ["upload"]


def test_a_request_of_several_pictures_stays_together() -> None:
    waiting = queue(most=3, delay=0)
    first = waiting.put(rows(2), ["a", "a"])
    waiting.put(rows(2), ["b", "b"])
    batch = waiting.take(0)
    assert batch.sources == ["a", "a"]
    batch.answer([Detections.none()] * 2)
    assert len(waiting.wait(first)) == 2
    assert waiting.take(0).sources == ["b", "b"]


def test_a_batch_brings_its_pictures_as_one_array_or_into_a_buffer() -> None:
    waiting = queue()
    waiting.put(rows(2, 7), ["a", "a"])
    waiting.put(rows(1, 9), ["b"])
    batch = waiting.take(0)
    assert batch.rows()[:, 0, 0, 0].tolist() == [7, 7, 9]
    buffer = np.zeros((4, *SHAPE), np.uint8)
    batch.copy_to(buffer)
    assert buffer[:, 3, 3, 2].tolist() == [7, 7, 9, 0]


def test_a_wrong_picture_fails_by_itself() -> None:
    waiting = queue()
    put(waiting, "gate")
    wrongs: list[Any] = [np.zeros((1, 5, 4, 3), np.uint8), np.zeros((1, *SHAPE), np.float32)]
    for wrong in wrongs:
        with pytest.raises(PartFailed, match="got"):
            waiting.put(wrong, ["yard"])
    with pytest.raises(PartFailed, match="got"):
        waiting.put(rows(2), ["yard"])
    for size in (0, 5):
        with pytest.raises(PartFailed, match="1 to 4"):
            waiting.put(rows(size), ["yard"] * size)
    assert waiting.take(0).sources == ["gate"]


def test_whose_time_is_over_is_told_so_and_is_not_looked_at() -> None:
    waiting = queue()
    late = waiting.put(rows(), ["late"], timeout=0.01)
    with pytest.raises(TryLater, match=r"0\.01 s") as caught:
        waiting.wait(late)
    assert caught.value.reason == "engine_busy"
    assert not waiting.take(0)


def test_a_taker_drops_those_whose_time_is_over() -> None:
    waiting = queue()
    late = waiting.put(rows(), ["late"], timeout=0.0)
    assert not waiting.take(0.01)
    with pytest.raises(TryLater, match="busy"):
        waiting.wait(late)


def test_who_was_begun_in_time_and_has_no_answer_says_that_the_engine_hangs() -> None:
    waiting = queue()
    request = waiting.put(rows(), ["gate"], timeout=0.05)
    assert waiting.take(0)
    with pytest.raises(PartFailed) as caught:
        waiting.wait(request)
    assert caught.value.reason == "timeout"


def test_a_request_can_be_taken_back_until_it_is_taken() -> None:
    waiting = queue(delay=0)
    (first, second) = put(waiting, "a", "b")
    assert waiting.withdraw(first)
    assert not waiting.withdraw(first)
    assert waiting.take(0).sources == ["b"]
    assert not waiting.withdraw(second)


def test_who_cancelled_its_future_is_not_looked_at() -> None:
    waiting = queue(delay=0)
    (first, _) = put(waiting, "a", "b")
    assert first.answer.cancel()
    assert waiting.take(0).sources == ["b"]


def test_an_error_reaches_every_caller_of_the_batch() -> None:
    waiting = queue()
    requests = put(waiting, "a", "b")
    waiting.take(0).fail(PartFailed("the engine broke"))
    for request in requests:
        with pytest.raises(PartFailed, match="broke"):
            waiting.wait(request)


def test_too_few_answers_are_no_answers() -> None:
    waiting = queue()
    requests = put(waiting, "a", "b")
    batch = waiting.take(0)
    with pytest.raises(PartFailed, match="1 answers to 2"):
        batch.answer([Detections.none()])
    assert not any(request.answer.done() for request in requests)


def test_shut_it_fails_what_waits_and_refuses_what_comes() -> None:
    waiting = queue()
    (request,) = put(waiting, "gate")
    waiting.shut(PartFailed("closed", reason="engine_closed"))
    with pytest.raises(PartFailed, match="closed"):
        waiting.wait(request)
    with pytest.raises(PartFailed, match="closed"):
        put(waiting, "gate")
    assert not waiting.take()


def test_shut_it_wakes_who_waits_for_a_batch() -> None:
    waiting = queue()
    with ThreadPoolExecutor(1, thread_name_prefix="take") as pool:
        taken = pool.submit(waiting.take)
        time.sleep(0.02)
        waiting.shut(PartFailed("closed"))
        assert not taken.result(LONG)


def test_a_taker_with_two_batches_in_flight_loses_nothing_and_starves_nobody() -> None:
    """As the GPU thread works: it takes while one is in flight, and answers the oldest."""
    waiting = queue(most=4, delay=0.001)
    over = threading.Event()
    sizes: list[int] = []

    def gpu() -> None:
        flying: list[Batch] = []
        while not over.is_set() or flying:
            batch = waiting.take(0.0005 if flying else 0.01)
            if batch:
                flying.append(batch)
                sizes.append(len(batch))
            if len(flying) == 2 or (flying and not batch):
                oldest = flying.pop(0)
                oldest.answer([seen(int(row[0, 0, 0])) for row in oldest.rows()])

    def ask(number: int) -> int:
        (found,) = waiting.wait(waiting.put(rows(1, number), [f"gate-{number}"]))
        return int(found.scores[0] * 255 + 0.5)

    thread = threading.Thread(target=gpu, name="gpu")
    thread.start()
    with ThreadPoolExecutor(8, thread_name_prefix="ask") as pool:
        assert list(pool.map(ask, range(200))) == list(range(200))
    over.set()
    thread.join(LONG)
    assert not thread.is_alive()
    assert sum(sizes) == 200
    assert max(sizes) > 1


def seen(number: int) -> Detections:
    return Detections(
        boxes=np.array([[0, 0, 1, 1]], np.float32),
        scores=np.array([number / 255], np.float32),
        labels=np.zeros(1, np.int32),
    )


@pytest.mark.parametrize(("most", "delay"), [(0, 1.0), (1, -1.0), (1, float("inf"))])
def test_senseless_limits_are_refused(most: int, delay: float) -> None:
    with pytest.raises(ValueError, match="got"):
        queue(most, delay)
