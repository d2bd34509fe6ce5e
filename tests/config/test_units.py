"""Durations and sizes as the operator writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config.units import parse_duration, parse_size, show_duration, show_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("1.5s", 1.5), ("2min", 120), ("2m", 120), ("3h", 10800), (" 7 D ", 604800)],
)
def test_a_duration_is_a_number_with_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("value", [5, 5.0, "5", "-5s", "5 parsecs", "", "s", None, "1s2s", "1e3s"])
def test_anything_else_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match="with its unit"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("value", "size"),
    [("512KiB", 524288), ("2GB", 2_000_000_000), ("1.5kib", 1536), (1024, 1024), ("7", 7)],
)
def test_a_size_is_bytes_or_a_number_with_its_unit(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize("value", [True, -1, 1.5, "1 potato", "", None, "1GiB1"])
def test_anything_else_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        parse_size(value)


@given(st.integers(0, 10**7))
def test_a_shown_duration_reads_as_itself(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(show_duration(seconds)) == pytest.approx(seconds, rel=1e-5)


@given(st.integers(0, 2**45))
def test_a_shown_size_reads_as_itself(size: int) -> None:
    assert parse_size(show_size(size)) == size
