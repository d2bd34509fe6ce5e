"""The bandwidth plan: when something may go, and when a backlog is through."""

from __future__ import annotations

import contextlib
import itertools
import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.config.mqtt import UpstreamConfig, minutes
from edge.sinks.upstream.plan import PICTURE, Plan
from tests.sinks.conftest import DAY, Clock

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


def in_berlin(seconds: float) -> time.struct_time:
    return datetime.fromtimestamp(seconds, BERLIN).timetuple()


def plan(clock: Clock, **config: Any) -> Plan:
    return Plan(UpstreamConfig(**config), clock, local=in_berlin)


def test_without_a_plan_all_goes(clock: Clock) -> None:
    free = plan(clock)
    assert free.free
    assert free.may("event", 10**9) == 0
    free.spend(10**9)
    assert (free.may("event", 10**9), free.spent, free.why()) == (0, 10**9, "")


def test_a_rate_is_kept_over_time_and_large_messages_are_made_up_for(clock: Clock) -> None:
    limited, sent, began = plan(clock, rate="1kB"), 0, clock.now
    for size in itertools.islice(itertools.cycle([100, 5000, 700]), 60):
        clock.now += limited.may("result", size)
        assert limited.may("result", size) == 0
        limited.spend(size)
        sent += size
    assert sent / (clock.now - began + 6) <= 1000 <= sent / (clock.now - began - 7)
    assert limited.why() == "rate"


def test_a_clock_that_is_set_back_does_not_stop_the_rate(clock: Clock) -> None:
    limited = plan(clock, rate="1kB")
    limited.spend(3000)
    clock.now -= DAY
    wait = limited.may("result", 1)
    assert 0 < wait < 5
    clock.now += wait
    assert limited.may("result", 1) == 0


def test_what_always_goes_goes_and_is_counted(clock: Clock) -> None:
    limited = plan(clock, rate="1kB", per_day="10kB", windows=["22:00-06:00"], always=["alarm"])
    clock.now = at("2027-03-01 12:00")
    assert limited.may("alarm", 50_000) == 0
    limited.spend(50_000)
    assert limited.spent == 50_000
    # until midnight UTC, which is later than the window
    assert limited.may("loss", 1) == 13 * 3600


def test_the_bytes_of_a_day_begin_anew_at_midnight_utc(clock: Clock) -> None:
    limited = plan(clock, per_day="10kB")
    clock.now = datetime(2027, 3, 1, 18, tzinfo=UTC).timestamp()
    limited.spend(9_000)
    assert limited.may("result", 1_000) == 0
    assert limited.may("result", 1_001) == 6 * 3600
    assert limited.why(1_001) == "budget"
    clock.now += 6 * 3600
    assert (limited.may("result", 1_001), limited.spent) == (0, 0)
    # one that is larger than a day's bytes must not wait for ever
    assert limited.may("result", 20_000) == 0
    limited.spend(20_000)
    assert limited.may("result", 1) == DAY


def test_what_an_earlier_life_spent_counts_once(clock: Clock) -> None:
    limited = plan(clock, per_day="10kB")
    limited.restore(9_000)
    limited.restore(9_000)
    assert limited.may("result", 1_001) > 0
    limited.spend(5)
    assert (limited.unsaved(), limited.unsaved(), limited.spent) == (5, 0, 9_005)


@pytest.mark.parametrize(
    ("now", "windows", "opens"),
    [
        ("2027-03-01 21:59", ["22:00-06:00"], "2027-03-01 22:00"),
        ("2027-03-01 22:00", ["22:00-06:00"], ""),
        ("2027-03-02 05:59", ["22:00-06:00"], ""),
        ("2027-03-02 06:00", ["22:00-06:00"], "2027-03-02 22:00"),
        ("2027-03-02 23:30", ["00:00-00:30"], "2027-03-03 00:00"),
        ("2027-03-02 12:00", ["22:00-24:00", "12:30-13:00"], "2027-03-02 12:30"),
        ("2027-03-02 23:59", ["00:00-24:00"], ""),
        # the clock goes from 2 to 3 that night, and from 3 to 2 in autumn
        ("2027-03-27 22:00", ["02:30-02:40"], "2027-03-29 02:30"),
        ("2027-03-27 22:00", ["03:30-04:00"], "2027-03-28 03:30"),
        ("2027-10-30 22:00", ["03:30-04:00"], "2027-10-31 03:30"),
    ],
)
def test_windows_go_by_the_boxs_clock(
    clock: Clock, now: str, windows: list[str], opens: str
) -> None:
    clock.now = at(now)
    limited = plan(clock, windows=windows)
    wait = at(opens) - clock.now if opens else 0
    assert limited.opens_in() == wait
    assert limited.may("result", 1) == wait
    assert limited.why() == ("window" if opens else "")
    clock.now += max(0, wait - 1)
    assert limited.opens_in() == min(wait, 1)
    clock.now += min(wait, 1)
    assert limited.opens_in() == 0


def test_the_hour_that_comes_twice_is_open_twice(clock: Clock) -> None:
    limited = plan(clock, windows=["02:00-03:00"])
    clock.now = datetime(2027, 10, 31, 0, 0, tzinfo=UTC).timestamp()
    opened = 0
    for _ in range(180):
        opened += limited.opens_in() == 0
        clock.now += 60
    assert opened == 120


@given(st.text(max_size=14) | st.from_regex(r"[0-3]\d:[0-7]\d-[0-3]\d:[0-7]\d", fullmatch=True))
def test_a_window_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        begin, end = minutes(text)
        assert 0 <= begin < 1440
        assert 0 <= end <= 1440
        assert begin != end


@pytest.mark.parametrize("window", ["", "22-06", "25:00-06:00", "06:00-06:00", "6:00-7:00"])
def test_a_window_that_is_none_is_a_fault_of_the_file(window: str) -> None:
    with pytest.raises(ValidationError, match="expected two times of day"):
        UpstreamConfig(windows=[window])


def test_pictures_count_as_long_as_the_file_says_so(clock: Clock) -> None:
    limited = plan(clock, rate="1kB")
    limited.spend(2_000)
    assert limited.may(PICTURE, 1) > 0
    limited.change(UpstreamConfig(rate=1000, pictures=False))
    assert limited.may(PICTURE, 1) == 0
    assert limited.may("result", 1) > 0


def test_somebody_in_a_hurry_waits_for_nothing(clock: Clock) -> None:
    limited = plan(clock, per_day="1kB", windows=["22:00-06:00"])
    clock.now = at("2027-03-01 12:00")
    limited.hurry(True)
    assert (limited.may("result", 10**6), limited.why()) == (0, "")
    limited.hurry(False)
    assert limited.may("result", 10**6) == 10 * 3600


# -- estimates


def test_an_estimate_goes_by_the_link_and_by_what_comes_in_addition(clock: Clock) -> None:
    free = plan(clock)
    assert free.estimate(0, 0) == 0
    assert free.estimate(6_000, 100) == 60
    assert free.estimate(6_000, 100, 40) == 100
    assert free.estimate(6_000, 100, 100) is None
    assert free.estimate(10**9, 1000, 999) == pytest.approx(10**9, rel=0.01)
    assert plan(clock, rate="50B").estimate(6_000, 100) == 120


def test_an_estimate_knows_windows(clock: Clock) -> None:
    clock.now = at("2027-03-01 12:00")
    limited = plan(clock, windows=["22:00-23:00"])
    assert limited.estimate(36_000, 100) == pytest.approx(10 * 3600 + 360, abs=1)
    # two hours of sending: tonight, and tomorrow
    assert limited.estimate(720_000, 100) == pytest.approx(DAY + 11 * 3600, abs=700)
    # each day as much comes as goes
    assert limited.estimate(720_000, 100, 100 / 24) is None
    found = limited.estimate(36_000_000, 100)
    assert found == pytest.approx(100 * DAY, rel=0.02)


def test_an_estimate_knows_the_bytes_of_a_day(clock: Clock) -> None:
    clock.now = datetime(2027, 3, 1, 12, tzinfo=UTC).timestamp()
    limited = plan(clock, per_day="10kB")
    limited.spend(8_000)
    assert limited.estimate(2_000, 1000) == pytest.approx(2, abs=1)
    assert limited.estimate(12_000, 1000) == pytest.approx(DAY / 2 + 10, abs=700)
    assert limited.estimate(100_000, 1000) == pytest.approx(9.3 * DAY, rel=0.2)
    assert limited.estimate(100_000, 1000, 0.2) is None


@given(
    st.integers(0, 10**12),
    st.floats(0, 1e9),
    st.floats(0, 1e9),
    st.sampled_from([{}, {"rate": "1kB"}, {"per_day": "1MB"}, {"windows": ["22:00-06:00"]}]),
)
def test_an_estimate_is_a_time_or_never(
    backlog: int, drain: float, inflow: float, config: dict[str, Any]
) -> None:
    found = plan(Clock(), **config).estimate(backlog, drain, inflow)
    assert found is None or found >= 0
