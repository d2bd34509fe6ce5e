"""Holds, by a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bus.delivery_spec import LONGEST_WAIT_ENDLESS, DeliverySpec
from edge.bus.hold import JITTER, MOST_REMEMBERED, Hold

SPEC = DeliverySpec(retry=None, delay=1.0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def holding(clock: Clock, chance: float = 0.0) -> Hold:
    return Hold(clock, lambda: chance)


def test_waits_double_with_each_probe_that_fails() -> None:
    clock = Clock()
    hold, waits = holding(clock), []
    for _ in range(12):
        hold.fail(1, SPEC, clock.now)
        waits.append(hold.wait())
        clock.now += hold.wait()
    assert waits[:4] == pytest.approx([2, 4, 8, 16])
    assert waits[-1] == LONGEST_WAIT_ENDLESS
    assert hold.answered(1) == 12
    assert (hold.wait(), hold.since) == (0, 0)


def test_those_that_were_under_way_when_it_began_make_it_no_longer() -> None:
    clock = Clock()
    hold, began = holding(clock), clock.now
    clock.now += 1
    assert hold.fail(1, SPEC, began)
    for seq in range(2, 9):
        clock.now += 0.1
        assert not hold.fail(seq, SPEC, began)
    assert hold.wait() == pytest.approx(2 - 0.7)


@given(chance=st.floats(0, 1), asked=st.floats(0, 1000))
def test_chance_only_adds(chance: float, asked: float) -> None:
    clock = Clock()
    hold = holding(clock, chance)
    hold.fail(1, SPEC, clock.now, asked=asked)
    least = max(2, asked)
    assert least - 1e-9 <= hold.wait() <= least * (1 + JITTER) + 1e-9


def test_every_other_probe_takes_one_that_did_not_fail_yet() -> None:
    clock = Clock()
    hold = holding(clock)
    hold.fail(1, SPEC, clock.now)
    assert not hold.tried_in_vain()
    clock.now += hold.wait()
    hold.fail(1, SPEC, clock.now)
    assert set(hold.tried_in_vain()) == {1}
    clock.now += hold.wait()
    hold.fail(2, SPEC, clock.now)
    assert not hold.tried_in_vain()


def test_who_fails_again_after_others_were_answered_has_itself_to_blame() -> None:
    clock = Clock()
    hold = holding(clock)
    hold.fail(1, SPEC, clock.now)
    assert not hold.only_this_one(1)
    hold.answered(2)
    assert hold.only_this_one(1)
    assert not hold.only_this_one(3)


def test_not_every_event_of_a_long_outage_is_remembered() -> None:
    clock = Clock()
    hold = holding(clock)
    for seq in range(3 * MOST_REMEMBERED):
        hold.fail(seq, SPEC, clock.now)
    hold._all = False
    assert len(hold.tried_in_vain()) == MOST_REMEMBERED
