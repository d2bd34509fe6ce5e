"""Plans are code: what is handed out was built here, for this very GPU, and is as it was."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edge.catalog.plan_facts import KEY, PlanFacts, jetson
from edge.catalog.plans import Plans
from edge.errors import PartFailed, Rejected

FACTS = PlanFacts(
    model="tiny",
    graph="ab" * 32,
    library="tensorrt",
    library_version="10.3.0.26",
    device="Orin",
    capability=(8, 7),
    most=8,
    usual=4,
    level=3,
    workspace=2**30,
)


@pytest.fixture
def plans(tmp_path: Path) -> Plans:
    return Plans(tmp_path / "plans", keep=2)


def put(plans: Plans, facts: PlanFacts = FACTS, body: bytes = b"plan") -> str:
    made = plans.fresh(facts.key)
    made.write_bytes(body)
    return plans.put(facts, made, seconds=3.5, words="fine").key


def states(plans: Plans) -> dict[str, str]:
    return {plan.key: plan.state for plan in plans.ls()}


def numbered(number: int) -> PlanFacts:
    return replace(FACTS, graph=f"{number:064x}", model=f"m{number}")


def test_what_was_put_comes_back(plans: Plans) -> None:
    key = put(plans)

    (plan,) = plans.ls()
    assert plans.read(key) == b"plan"
    assert (plan.key, plan.model, plan.state) == (key, "tiny", "kept")
    assert (plan.library, plan.device, plan.seconds) == ("tensorrt 10.3.0.26", "Orin", 3.5)
    assert (plan.bytes, plans.find(key)) == (4, plan)


@pytest.mark.parametrize(
    "other",
    [
        {"graph": "cd" * 32},
        {"library_version": "10.3.0.27"},
        {"library": "tensorrt_rtx"},
        {"device": "Thor"},
        {"capability": (11, 0)},
        {"most": 4},
        {"usual": 8},
        {"level": 2},
        {"workspace": 2**29},
        {"machine": "other"},
        {"power_mode": "pmode:0002"},
        {"release": "R39"},
    ],
)
def test_everything_that_a_plan_depends_on_is_in_its_key(other: dict[str, object]) -> None:
    assert KEY.fullmatch(FACTS.key)
    assert replace(FACTS, **other).key != FACTS.key  # type: ignore[arg-type]
    assert replace(FACTS, model="a new name").key == FACTS.key


def test_the_directory_and_its_files_are_this_users_alone(plans: Plans) -> None:
    old = os.umask(0)
    try:
        key = put(plans)
        plans.serve(key)
    finally:
        os.umask(old)

    assert plans.path.stat().st_mode & 0o777 == 0o700
    records = [*plans.path.glob("*.json")]
    assert [path.stat().st_mode & 0o077 for path in records] == [0] * 2


def test_a_plan_that_was_changed_is_thrown_away(plans: Plans) -> None:
    key = put(plans)
    (plans.path / f"{key}.plan").write_bytes(b"evil")

    with pytest.raises(PartFailed) as damaged:
        plans.read(key)

    assert damaged.value.reason == "plan_damaged"
    assert (plans.find(key), plans.ls(), [*plans.path.glob("*.plan")]) == (None, [], [])


def test_a_link_to_a_plan_elsewhere_is_not_followed(plans: Plans, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    # a link is as long as what it says: by its size it is the plan
    key = put(plans, body=b"x" * len(str(elsewhere)))
    (plans.path / f"{key}.plan").rename(elsewhere)
    (plans.path / f"{key}.plan").symlink_to(elsewhere)
    assert plans.find(key) is not None

    with pytest.raises(PartFailed, match="cannot be read") as caught:
        plans.read(key)
    assert caught.value.reason == "no_plan"


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "a" * 23, "A" * 24, "a" * 24 + "\n"])
def test_a_key_is_never_a_path(plans: Plans, key: str) -> None:
    assert plans.find(key) is None
    with pytest.raises(PartFailed) as unknown:
        plans.read(key)
    assert unknown.value.reason == "no_plan"
    with pytest.raises(PartFailed):
        plans.drop(key)


def test_a_plan_from_elsewhere_is_not_taken(plans: Plans, tmp_path: Path) -> None:
    outside = tmp_path / "model.engine"
    outside.write_bytes(b"evil")
    linked = plans.fresh(FACTS.key)
    linked.symlink_to(outside)

    misnamed = plans.path / "model.engine"
    misnamed.write_bytes(b"evil")
    for made in (outside, plans.path / ".." / "model.engine", linked, misnamed):
        with pytest.raises(PartFailed) as refused:
            plans.put(FACTS, made, seconds=1)
        assert refused.value.reason == "bad_plan"
    assert (plans.ls(), outside.read_bytes()) == ([], b"evil")


def test_plans_to_which_others_could_write_are_thrown_away(plans: Plans) -> None:
    key = put(plans)
    (plans.path / "notes.txt").write_text("not ours")
    plans.path.chmod(0o770)

    assert plans.find(key) is None
    assert plans.path.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in plans.path.iterdir()] == ["notes.txt"]


def test_a_directory_of_somebody_else_is_not_used(plans: Plans, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    plans.path.symlink_to(tmp_path / "theirs")

    with pytest.raises(PartFailed) as unsafe:
        plans.find(FACTS.key)
    assert unsafe.value.reason == "plans_unsafe"


@pytest.mark.parametrize(
    "change",
    [
        {"facts": {}},
        {"sha256": 7},
        {"bytes": 5},
        {"built_at": "yesterday"},
        {"facts": {"most": 4}},
        {"refused": None, "bytes": None},
    ],
)
def test_a_record_that_does_not_fit_is_no_plan(plans: Plans, change: dict[str, object]) -> None:
    key = put(plans)
    path = plans.path / f"{key}.json"
    record = json.loads(path.read_text())
    if isinstance(change.get("facts"), dict) and change["facts"]:
        change = {"facts": {**record["facts"], "most": 4}}
    path.write_text(json.dumps(record | change))

    assert (plans.find(key), plans.ls()) == (None, [])
    assert put(plans) == key  # and it can be built again
    assert plans.read(key) == b"plan"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_a_torn_record_is_no_plan(plans: Plans, body: bytes) -> None:
    key = put(plans)
    (plans.path / f"{key}.json").write_bytes(body)
    (plans.path / "state.json").write_bytes(body)

    assert (plans.find(key), plans.ls()) == (None, [])
    plans.prune()
    assert [*plans.path.glob("*.plan")] == []


def test_the_one_that_served_before_is_the_last_good_one(plans: Plans) -> None:
    one, two = put(plans, numbered(1)), put(plans, numbered(2))

    plans.serve(one)
    assert states(plans) == {one: "serving", two: "kept"}
    plans.serve(two)
    plans.serve(two)
    assert states(plans) == {one: "last_good", two: "serving"}
    plans.serve("")
    assert states(plans) == {one: "kept", two: "last_good"}


def test_a_refused_plan_is_not_the_last_good_one(plans: Plans) -> None:
    one, two = put(plans, numbered(1)), put(plans, numbered(2))
    plans.serve(one)
    plans.serve(two)
    plans.refuse(two, "it sees fewer people")
    three = put(plans, numbered(3))
    plans.serve(three)
    assert states(plans) == {one: "last_good", two: "refused", three: "serving"}


def test_what_was_thrown_away_does_not_come_back(plans: Plans) -> None:
    key = put(plans, body=b"good")
    plans.serve(key)
    put(plans, body=b"newer")
    assert plans.drop(key)
    assert not plans.drop(key)
    assert [*plans.path.glob("*.plan")] == []
    put(plans, body=b"blind")
    assert not plans.refuse(key, "it sees fewer people")
    assert plans.find(key) is not None
    assert states(plans) == {key: "refused"}


def test_the_newest_refusals_are_remembered(plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.catalog.plans._REFUSED_KEPT", 2)
    keys = []
    for number in range(3):
        keys.append(put(plans, numbered(number)))
        plans.refuse(keys[-1], "it sees fewer people")
    kept = put(plans, numbered(3))
    assert states(plans) == {keys[1]: "refused", keys[2]: "refused", kept: "kept"}


def test_a_refused_plan_is_remembered_without_its_bytes(plans: Plans) -> None:
    one, two = put(plans, numbered(1)), put(plans, numbered(2))
    plans.serve(one)
    plans.serve(two)

    plans.refuse(two, "it sees fewer people")

    refused = plans.find(two)
    assert refused is not None
    assert (refused.state, refused.why, refused.bytes) == ("refused", "it sees fewer people", 0)
    with pytest.raises(PartFailed, match="sees fewer people"):
        plans.read(two)
    assert states(plans) == {one: "last_good", two: "refused"}
    assert plans.read(one) == b"plan"
    assert put(plans, numbered(2)) == two  # built again, it has a new chance
    assert plans.read(two) == b"plan"


def test_one_built_anew_that_is_refused_gives_way_to_the_one_that_served(plans: Plans) -> None:
    key = put(plans, body=b"good")
    plans.serve(key)
    good = plans.find(key)
    assert good is not None
    put(plans, body=b"blind")
    fresh = plans.find(key)
    assert fresh is not None
    assert plans.read(key) == b"blind"
    put(plans, body=b"blind, too")  # what never served takes nobody's place
    newest = plans.find(key)
    assert newest is not None

    assert plans.refuse(key, "it sees fewer people", newest.built_at.isoformat())

    assert plans.read(key) == b"good"
    back = plans.find(key)
    assert back is not None
    assert (back.built_at, back.state) == (good.built_at, "serving")
    assert "sees fewer people" in back.why
    assert plans.refuse(key, "late", fresh.built_at.isoformat()), "that build is not there any more"
    assert plans.read(key) == b"good"
    assert not plans.refuse(key, "it fails, too")
    assert [path.name for path in plans.path.glob("*.plan")] == []


def test_one_built_anew_that_serves_takes_the_place_for_good(plans: Plans) -> None:
    key = put(plans, body=b"old")
    plans.serve(key)
    old = plans.find(key)
    put(plans, body=b"new")
    new = plans.find(key)
    assert old is not None
    assert new is not None
    plans.serve(key, old.built_at.isoformat())  # the old one still looks
    assert len([*plans.path.glob("*.plan")]) == 2
    plans.serve(key, new.built_at.isoformat())
    assert len([*plans.path.glob("*.plan")]) == 1
    assert not plans.refuse(key, "it fails later")
    assert plans.ls()[0].state == "refused"


def test_one_built_anew_that_is_damaged_or_cannot_be_opened_gives_way_too(plans: Plans) -> None:
    for spoil in ("damaged", "bad"):
        key = put(plans, body=b"good")
        plans.serve(key)
        put(plans, body=b"evil")
        if spoil == "damaged":
            (plans.path / f"{key}.plan").write_bytes(b"EVIL")
            with pytest.raises(PartFailed, match="thrown away"):
                plans.read(key)
        else:
            assert plans.discard(key, "no plan of this library")
        assert plans.read(key) == b"good"
    assert not plans.discard(key, "nor this one")
    assert (plans.find(key), [*plans.path.glob("*.plan")]) == (None, [])


def test_a_swap_of_files_that_was_cut_short_hands_out_nothing_wrong(plans: Plans) -> None:
    key = put(plans, body=b"good")
    plans.serve(key)
    put(plans, body=b"evil")
    (plans.path / f"{key}.last.plan").replace(plans.path / f"{key}.plan")  # and then killed
    with pytest.raises(PartFailed, match="thrown away"):
        plans.read(key)
    assert plans.ls() == []


def test_the_oldest_go_and_the_serving_and_last_good_stay(plans: Plans) -> None:
    keys = []
    for number in range(6):
        keys.append(put(plans, numbered(number)))
        if number < 2:
            plans.serve(keys[number])

    left = {plan.key: plan.state for plan in plans.ls()}
    assert left == {keys[0]: "last_good", keys[1]: "serving", keys[5]: "kept"}
    assert len([*plans.path.glob("*.plan")]) == 3


def test_the_plan_that_was_just_built_is_kept_until_it_serves(tmp_path: Path) -> None:
    plans = Plans(tmp_path / "plans", keep=0)
    one, two = put(plans, numbered(1)), put(plans, numbered(2))
    plans.serve(one)
    plans.serve(two)

    three = put(plans, numbered(3))

    assert plans.read(three) == b"plan"


def test_what_a_killed_builder_left_goes_after_a_day(plans: Plans) -> None:
    put(plans)
    old, young = plans.fresh(FACTS.key), plans.fresh(FACTS.key)
    orphan = plans.path / f"{'0' * 24}.plan"
    for path in (old, young, orphan):
        path.write_bytes(b"half")
    for path in (old, orphan):
        os.utime(path, (time.time() - 90_000,) * 2)

    plans.prune()

    assert (old.exists(), orphan.exists(), young.exists()) == (False, False, True)
    assert len(plans.ls()) == 1


def test_one_process_builds_at_a_time(plans: Plans, tmp_path: Path) -> None:
    other = Plans(tmp_path / "plans")
    with plans.alone(), pytest.raises(Rejected) as busy, other.alone():
        pass
    assert busy.value.reason == "busy"
    with other.alone():
        assert plans.ls() == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PartFailed) as failed:
        Plans(tmp_path / "file" / "plans").fresh(FACTS.key)
    assert failed.value.reason == "not_writable"


def test_a_jetson_says_its_power_mode_and_release(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("pmode:0002\n")
    places = {"power_mode": tmp_path / "status", "release": tmp_path / "none"}

    assert jetson(places) == {"power_mode": "pmode:0002", "release": ""}
