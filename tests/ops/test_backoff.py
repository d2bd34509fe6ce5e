"""Waits between tries."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.ops.backoff import Backoff


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.floats(0.01, 5), st.floats(5, 600))
def test_each_wait_lies_between_half_and_all_of_a_doubling_step(
    seed: int, first: float, most: float
) -> None:
    backoff = Backoff(first, most, chance=random.Random(seed))
    for tries in range(40):
        step = min(most, first * 2**tries)
        assert step / 2 <= backoff.next() <= step


def test_two_boxes_do_not_come_back_in_the_same_moment() -> None:
    one, other = Backoff(1, 30), Backoff(1, 30)
    assert [one.next() for _ in range(5)] != [other.next() for _ in range(5)]


def test_a_success_begins_anew_and_tells_how_often_it_failed() -> None:
    backoff = Backoff(1, 30)
    for _ in range(4):
        backoff.next()
    assert backoff.reset() == 4
    assert backoff.reset() == 0
    assert backoff.next() <= 1


def test_very_many_tries_do_not_overflow() -> None:
    backoff = Backoff(1, 30)
    backoff.tries = 100_000
    assert backoff.next() <= 30
