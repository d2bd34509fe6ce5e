from __future__ import annotations

import pytest

from edge.web.words import age, count, moment, sentence, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\N{EN DASH}"),
        (-1, "0.0 s"),
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (75, "75 s"),
        (180, "3 min"),
        (3900, "1 h 5 min"),
        (7200, "2 h"),
        (93784, "1 d"),
    ],
)
def test_an_age_is_written_with_the_unit_that_people_use(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (412 * 2**20, "412 MiB"), (2**31, "2.0 GiB")],
)
def test_a_size_is_written_with_two_or_three_digits(number: int, text: str) -> None:
    assert size(number) == text


def test_thousands_are_set_apart() -> None:
    assert count(1234567) == "1\u202f234\u202f567"


def test_a_moment_names_its_zone() -> None:
    assert moment("2026-05-04T09:30:00.123+00:00") == "2026-05-04 09:30:00 UTC"
    assert moment(None) == ""


def test_a_reason_ends_with_one_full_stop() -> None:
    assert sentence("no model. ") == "no model."
    assert sentence("") == ""
