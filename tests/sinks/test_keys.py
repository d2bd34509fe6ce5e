from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.errors import Rejected
from edge.sinks.keys import checked, message_name

KEYS = st.text(st.characters() | st.sampled_from("./\\\0 %"), max_size=30)


@given(KEYS)
@example("..")
@example("a/..")
@example("/")
@example("\ud800")
def test_every_key_is_refused_or_names_two_files_inside(key: str) -> None:
    try:
        path = checked(key)
    except Rejected:
        return
    root = Path("/store")
    for place in (root / path, root / message_name(path)):
        assert ".." not in place.parts
        assert place.is_relative_to(root)
        assert place != root
        assert bytes(place)
    assert path != message_name(path)
    assert str(path) == key


@pytest.mark.parametrize(
    "key", ["gate/2026/1.jpg", "Tor Süd/ü\u3000é.webp", "a", ".hidden/b", "a b"]
)
def test_plain_keys_are_taken_as_they_are(key: str) -> None:
    assert str(checked(key)) == key


@pytest.mark.parametrize("key", ["a.json", "a/.json"])
def test_what_would_meet_its_own_message_is_refused(key: str) -> None:
    try:
        path = checked(key)
    except Rejected:
        return
    assert path != message_name(path)
