"""Topics: whatever a box and its sources are called, each has a topic of its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.topics import Topics, level


def test_topics_are_those_of_the_design() -> None:
    topics = Topics(site="north", node="box1")
    assert topics.status == "edge/v1/north/box1/status"
    assert topics.result("gate") == "edge/v1/north/box1/result/gate"
    assert topics.source_set("gate", "enabled") == "edge/v1/north/box1/source/gate/set/enabled"
    assert topics.site_command("ping") == "edge/v1/north/_all/cmd/ping"
    assert Topics(site="a", node="b", prefix="x/y").loss == "x/y/a/b/loss"


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_level_is_one_level_and_another_name_is_another_level(one: str, other: str) -> None:
    made = level(one)
    assert 0 < len(made) <= 64
    assert not set(made) & set("/+#\0 ")
    assert not made.startswith("_")
    assert (level(other) == made) == (one == other)


def test_a_node_can_not_be_called_like_all_nodes() -> None:
    assert level("_all") != "_all"
