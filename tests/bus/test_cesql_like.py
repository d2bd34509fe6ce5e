"""LIKE: against a reference by property, and in linear time whatever the pattern."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.bus.cesql_like import like

TEXTS = st.text("ab%_\\é\n", max_size=14)
PATTERNS = st.text("ab%_\\é\n", max_size=9)


def reference(pattern: str) -> re.Pattern[str]:
    words = {"%": ".*", "_": "."}
    found = re.findall(r"\\[%_]|.", pattern, re.DOTALL)
    shape = "".join(
        words.get(word) or re.escape(word[-1] if word in (r"\%", r"\_") else word) for word in found
    )
    return re.compile(shape, re.DOTALL)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, pattern=PATTERNS)
@example(text="aab", pattern="%a_%b")
@example(text="ab", pattern="ab%b")
@example(text="a%b", pattern=r"a\%b")
def test_like_agrees_with_a_regular_expression(text: str, pattern: str) -> None:
    assert like(pattern)(text) is bool(reference(pattern).fullmatch(text))


@pytest.mark.parametrize(
    ("text", "pattern", "matches"),
    [
        ("", "", True),
        ("", "%", True),
        ("", "_", False),
        ("a", "", False),
        ("abc", "%%", True),
        (".ab.cde.", ".%.%.", True),
        ("ab.cde", ".%.%.", False),
        ("aba", "ab%ba", False),
        ("xaybz", "%a_b%", True),
        ("xaybz", "%a_z%", False),
        ("a\\", "a\\", True),
        ("a\\%", "a\\\\%", True),
        ("👍b", "_b", True),
    ],
)
def test_like_matches(text: str, pattern: str, matches: bool) -> None:
    assert like(pattern)(text) is matches


@pytest.mark.parametrize(
    "pattern", ["%a" * 1000 + "b", "%" + "a_" * 1000 + "b%", "%" + "_" * 2000 + "b%", "a%" * 900]
)
@pytest.mark.timeout(20)
def test_a_hostile_pattern_takes_linear_time(pattern: str) -> None:
    # a matcher that goes back would be at this for hours
    assert like(pattern)("a" * 65_536) is (not pattern.rstrip("%").endswith("b"))
