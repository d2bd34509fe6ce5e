"""The ratchet: whatever is commanded, nothing is ever covered less than before."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config.privacy import Margin, Policy
from edge.control.commands.arguments import Raise
from edge.control.commands.envelope import Failed
from edge.control.commands.ratchet import SIDES, STRENGTH, Floor, InForce, raised, weaker

methods = st.sampled_from(["blur", "cells", "fill"])
fractions = st.floats(0, 2).map(lambda value: round(value, 2))
margins = st.builds(Margin, top=fractions, right=fractions, bottom=fractions, left=fractions)
points = st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0]))
polygons = st.lists(st.lists(points, min_size=3, max_size=3).map(tuple), max_size=3).map(tuple)
policies = st.builds(Policy, method=methods, margin=margins, blackout=polygons)
commands = st.builds(
    Raise,
    method=st.none() | methods,
    margin=st.none() | margins,
    threshold=st.none() | st.sampled_from([0.1, 0.3, 0.5]),
    source=st.sampled_from(["", "gate", "yard"]),
    blackout=polygons,
)


@settings(max_examples=400, deadline=None)
@given(
    files=st.fixed_dictionaries({"gate": policies, "yard": policies}),
    engine=st.sampled_from([0.2, 0.4]),
    said=st.lists(commands, max_size=8),
)
def test_nothing_is_ever_lowered_whatever_is_commanded(
    files: dict[str, Policy], engine: float, said: list[Raise]
) -> None:
    floor = Floor()
    for command in said:
        before = {name: floor.under(policy, name) for name, policy in files.items()}
        names = [command.source] if command.source else list(files)
        threshold = min(engine, floor.threshold or 1)
        now = InForce(policies={name: before[name] for name in names}, threshold=threshold)
        try:
            floor = raised(floor, command, now)
        except Failed as error:
            assert error.code in ("bad_request", "forbidden_remote")  # noqa: PT017 (both may be)
            continue
        after = {name: floor.under(policy, name) for name, policy in files.items()}
        assert [weaker(after[name], before[name]) for name in files] == [[], []]
        assert min(engine, floor.threshold or 1) <= threshold
        for name in names:
            if command.method:
                assert STRENGTH[after[name].method] >= STRENGTH[command.method]
            if command.margin:
                sides = [
                    getattr(after[name].margin, s) >= getattr(command.margin, s) for s in SIDES
                ]
                assert all(sides)
            assert set(command.blackout) <= set(after[name].blackout)
        assert Floor.model_validate_json(floor.model_dump_json()) == floor


@pytest.mark.parametrize(
    ("args", "what"),
    [
        ({"method": "blur"}, "method"),
        ({"margin": {"top": 0.0}}, "margin.top"),
        ({"threshold": 0.6}, "threshold"),
        ({"method": "fill", "threshold": 0.6}, "threshold"),
    ],
)
def test_what_is_lower_than_now_is_refused_by_name(args: dict[str, object], what: str) -> None:
    now = InForce(policies={"gate": Policy()}, threshold=0.4)
    with pytest.raises(Failed, match=what) as refused:
        raised(Floor(), Raise.model_validate(args), now)
    assert refused.value.code == "forbidden_remote"


def test_all_may_be_raised_though_one_is_stronger_already() -> None:
    now = InForce(policies={"gate": Policy(method="fill"), "yard": Policy(method="blur")})
    floor = raised(Floor(), Raise(method="cells"), now)
    assert floor.under(Policy(method="fill"), "gate").method == "fill"
    assert floor.under(Policy(method="blur"), "yard").method == "cells"
