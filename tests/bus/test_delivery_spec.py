"""The arithmetic of delivery specs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bus.delivery_spec import (
    LONGEST_ASKED,
    LONGEST_WAIT,
    LONGEST_WAIT_ENDLESS,
    DeliverySpec,
    spec_of,
)
from edge.config.bus import DeliveryConfig

specs = st.builds(
    DeliverySpec,
    retry=st.none() | st.integers(0, 50),
    policy=st.sampled_from(["linear", "exponential"]),
    delay=st.floats(0, 1e6),
    retry_after_max=st.none() | st.floats(0, 1e6),
)


def test_linear_waits_grow_by_the_delay() -> None:
    spec = DeliverySpec(retry=9, policy="linear", delay=0.5)
    assert [spec.wait(tries) for tries in (1, 2, 3)] == [0.5, 1.0, 1.5]


def test_exponential_waits_double_from_twice_the_delay() -> None:
    spec = DeliverySpec(retry=9, policy="exponential", delay=0.2)
    assert [spec.wait(tries) for tries in (1, 2, 3)] == pytest.approx([0.4, 0.8, 1.6])


def test_there_are_as_many_tries_as_retries_and_one() -> None:
    spec = DeliverySpec(retry=2)
    assert [spec.may_retry(tries) for tries in (1, 2, 3)] == [True, True, False]
    assert not DeliverySpec(retry=0).may_retry(1)
    assert DeliverySpec(retry=None).may_retry(10**9)


def test_the_other_side_is_heeded_up_to_the_maximum() -> None:
    free = DeliverySpec(retry=1, delay=0.1)
    assert free.wait(1, 30) == 30
    assert free.wait(1, math.inf) == LONGEST_ASKED
    assert DeliverySpec(retry=1, delay=0.1, retry_after_max=5).wait(1, 30) == 5
    assert DeliverySpec(retry=1, delay=0.1, retry_after_max=0).wait(1, 30) == pytest.approx(0.2)


@given(spec=specs, tries=st.integers(1, 10**6), asked=st.floats())
def test_a_wait_is_bounded_and_never_shorter_than_what_is_due(
    spec: DeliverySpec, tries: int, asked: float
) -> None:
    wait = spec.wait(tries, asked)
    most = LONGEST_WAIT_ENDLESS if spec.endless else LONGEST_WAIT
    assert 0 <= wait <= max(most, LONGEST_ASKED)
    assert wait >= min(most, spec.wait(tries))
    assert spec.wait(tries + 1) >= spec.wait(tries)


def test_any_key_of_a_trigger_replaces_the_whole_set_of_the_bus() -> None:
    bus = DeliveryConfig.model_validate({"backoffDelay": "PT3S", "timeout": "PT9S"})
    own = DeliveryConfig.model_validate({"timeout": "PT1S"})
    spec, section = spec_of(own, bus)
    assert (spec.timeout, spec.delay, spec.retry) == (1, 0.2, 0)
    assert section is own
    for nothing in (None, DeliveryConfig()):
        spec, section = spec_of(nothing, bus)
        assert (spec.timeout, spec.delay, spec.endless) == (9, 3, True)
        assert section is bus
