"""Weighted subscribers: shares, and who stays with whom."""

from __future__ import annotations

import random
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bus.subscribers import Subscriber, Subscribers
from tests.bus.rig import event


def those(weights: dict[str, int], sticky: Literal["event", "subject"] = "event") -> Subscribers:
    each = [Subscriber(name=name, handler=None, weight=n) for name, n in weights.items()]
    return Subscribers(each, sticky)


weights = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 20), min_size=1).filter(
    lambda found: any(found.values())
)


@settings(max_examples=20, deadline=None)
@given(weights=weights, salt=st.integers(0, 10**6))
def test_each_gets_its_share(weights: dict[str, int], salt: int) -> None:
    many, sum_ = 2000, sum(weights.values())
    subscribers = those(weights)
    got = dict.fromkeys(weights, 0)
    for number in range(many):
        got[subscribers.choose(event(f"{salt}-{number}")).name] += 1
    for name, weight in weights.items():
        share = weight / sum_
        # five standard deviations
        assert abs(got[name] / many - share) <= 5 * (share * (1 - share) / many) ** 0.5 + 1e-9


@settings(deadline=None)
@given(weights=weights, number=st.integers(), order=st.randoms())
def test_the_same_event_goes_to_the_same_one_in_whatever_order_they_stand(
    weights: dict[str, int], number: int, order: random.Random
) -> None:
    names = list(weights)
    order.shuffle(names)
    one = those(weights).choose(event(number)).name
    assert those({name: weights[name] for name in names}).choose(event(number)).name == one
    assert weights[one] > 0


@settings(deadline=None)
@given(weights=weights, more=st.integers(1, 20), number=st.integers())
def test_a_new_one_takes_events_and_moves_none_between_the_others(
    weights: dict[str, int], more: int, number: int
) -> None:
    before = those(weights).choose(event(number)).name
    after = those({**weights, "new": more}).choose(event(number)).name
    assert after in (before, "new")


@given(subject=st.text(min_size=1), ids=st.lists(st.integers(), min_size=2))
def test_all_of_a_subject_go_to_the_same_one(subject: str, ids: list[int]) -> None:
    subscribers = those({"a": 1, "b": 1, "c": 1}, "subject")
    assert len({subscribers.choose(event(n, subject=subject)).name for n in ids}) == 1
