"""Which engine looks: tried once, remembered, and never one that disagrees or crashes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from edge.app.engine_contest import CRASHES
from edge.app.gpu_faults import WINDOW
from edge.engine_status import Build
from edge.errors import PartFailed
from tests.app.contest_parts import Bench, FakeWay, Model


def test_before_anything_was_tried_it_is_said_what_could_be(tmp_path: Path) -> None:
    for lack, state in ((None, "ready"), (("it is not installed", "pip"), "missing")):
        bench = Bench(tmp_path, FakeWay(lack=lack))
        bench.contest.look()
        option = bench.contest.options["openvino"]
        assert (option.state, option.hint) == (state, "" if lack is None else "pip")


async def test_the_fastest_that_agrees_is_best_and_is_tried_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeWay())
    state, why, best = await bench.considered()
    assert (state, best) == ("ready", "openvino")
    assert "ms a picture" in why
    again = Bench(tmp_path, FakeWay())
    assert (await again.choice.open()).info.name == "openvino"
    await again.considered()
    assert (bench.agreements, again.agreements) == (1, 0)


async def test_another_version_is_tried_anew(tmp_path: Path) -> None:
    await Bench(tmp_path, FakeWay()).considered()
    newer = Bench(tmp_path, FakeWay(version="2"))
    assert (await newer.choice.open()).info.name == "onnx"
    await newer.considered()
    assert newer.agreements == 1


@pytest.mark.parametrize(
    ("way", "passed", "state", "why"),
    [
        (FakeWay(), False, "refused", "it loses 3 of 20"),
        (FakeWay(seconds=0.0049), True, "ready", "not enough faster"),
        (FakeWay(fails="canary"), True, "refused", "does not run"),
        (FakeWay(fails="bad_plan"), True, "refused", "does not run"),
        (FakeWay(lack=("it is not installed", "pip")), True, "missing", "not installed"),
    ],
    ids=["disagrees", "slow", "blind", "broken", "missing"],
)
async def test_else_onnx_runtime_is_best_and_it_says_why(
    tmp_path: Path, way: FakeWay, passed: bool, state: str, why: str
) -> None:
    bench = Bench(tmp_path, dataclasses.replace(way), passed=passed)
    found = await bench.considered()
    assert (found[0], found[2]) == (state, "onnx")
    assert why in found[1]
    assert (await bench.choice.open()).info.name == "onnx"
    assert bool(bench.way.refusals) == (way.fails == "canary" or not passed)


@pytest.mark.parametrize(
    ("way", "passed", "what_to_do"),
    [
        (FakeWay(), False, "another version"),
        (FakeWay(on_gpu=True), False, "edge engine build --force"),
        (FakeWay(fails="canary"), True, "another version"),
        (FakeWay(fails="canary", on_gpu=True), True, "edge engine build --force"),
        (FakeWay(version=""), True, "edge engine build"),
        (FakeWay(lack=("it is not installed", "pip")), True, "pip"),
    ],
    ids=["disagrees", "disagrees-gpu", "blind", "blind-gpu", "unbuilt", "missing"],
)
async def test_whatever_does_not_look_says_what_to_do(
    tmp_path: Path, way: FakeWay, passed: bool, what_to_do: str
) -> None:
    bench = Bench(tmp_path, dataclasses.replace(way), passed=passed)
    for _ in range(2):  # when it is tried, and from memory
        assert (await bench.considered())[1], "it does not say why"
        assert what_to_do in bench.contest.options[way.name].hint
    assert bench.way.tries <= 1


async def test_who_asks_for_an_engine_by_name_gets_it_though_it_is_slower(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeWay(seconds=0.01), wanted="openvino")
    assert (await bench.considered())[2] == "openvino"
    disagrees = Bench(tmp_path / "other", FakeWay(), passed=False, wanted="openvino")
    assert (await disagrees.considered())[2] == "onnx"


async def test_the_best_that_does_not_open_any_more_gives_way_to_onnx_runtime(
    tmp_path: Path,
) -> None:
    await Bench(tmp_path, FakeWay()).considered()
    later = Bench(tmp_path, FakeWay(fails="bad_model"))
    assert (await later.choice.open()).info.name == "onnx"
    assert (await later.considered())[0] == "refused"


async def test_an_engine_under_which_the_process_ends_is_left_alone_at_last(
    tmp_path: Path,
) -> None:
    first = Bench(tmp_path, FakeWay())
    await first.considered()
    first.contest.survived()
    for _ in range(CRASHES):  # each of these processes ends without a word
        start = Bench(tmp_path, FakeWay())
        engine = await start.choice.open()
        assert engine.info.name == "openvino"
        engine.close()
    last = Bench(tmp_path, FakeWay())
    assert (await last.choice.open()).info.name == "onnx"
    assert last.way.tries == 0
    state, why, _ = await last.considered()
    assert state == "refused"
    assert "ended 3 times" in why
    last.contest.forgive("openvino")
    assert (await last.choice.open()).info.name == "openvino"


async def test_a_process_that_lived_on_or_ended_in_order_counts_for_nothing(
    tmp_path: Path,
) -> None:
    await Bench(tmp_path, FakeWay()).considered()
    for _ in range(CRASHES + 1):
        start = Bench(tmp_path, FakeWay())
        assert (await start.choice.open()).info.name == "openvino"
        start.contest.survived()


async def test_a_gpu_that_failed_too_often_is_left_alone_for_an_hour(tmp_path: Path) -> None:
    now = 1000.0
    bench = Bench(tmp_path, FakeWay(on_gpu=True))
    bench.faults._clock = lambda: now
    assert (await bench.considered())[2] == "openvino"
    for _ in range(3):
        await bench.faults.note()
    state, why, best = await bench.considered()
    assert (state, best) == ("refused", "onnx")
    assert "3 times within an hour" in why
    assert "dmesg" in bench.contest.options["openvino"].hint
    now += WINDOW + 1
    assert bench.contest.again()
    assert (await bench.considered())[2] == "openvino"


async def test_what_another_process_builds_is_looked_for_again(tmp_path: Path) -> None:
    way = FakeWay(version="", busy=True)
    bench = Bench(tmp_path, way)
    assert (await bench.considered())[:2] == ("to_build", "another process builds")
    assert bench.contest.again()
    way.version = "built there"
    assert (await bench.considered())[2] == "openvino"
    way.version, way.busy = "", False
    await bench.considered()
    assert not bench.contest.again()


async def test_an_engine_that_was_built_anew_takes_the_older_ones_place(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeWay())
    await bench.considered()
    serving = (await bench.choice.open()).info
    assert not bench.contest.outdated(serving, Model())  # type: ignore[arg-type]
    bench.way.version = "built anew"
    await bench.considered()
    assert bench.agreements == 2
    assert bench.contest.outdated(serving, Model())  # type: ignore[arg-type]


async def test_a_plan_that_the_library_refuses_is_built_once_more_and_then_refused(
    tmp_path: Path,
) -> None:
    building = Build(state="running", model="m")
    bench = Bench(tmp_path, FakeWay(fails="bad_plan", built=building))
    assert (await bench.considered())[::2] == ("building", "onnx")
    bench.way.version = "built again"
    state, why, best = await bench.considered()
    assert (state, why, best) == ("refused", "it does not run", "onnx")
    assert bench.way.renewals == ["1 bad_plan", "built again bad_plan"]


async def test_at_a_start_such_a_plan_is_built_once_more_too(tmp_path: Path) -> None:
    await Bench(tmp_path, FakeWay()).considered()
    later = Bench(tmp_path, FakeWay(fails="bad_plan", built=Build(state="running", model="m")))
    assert (await later.choice.open()).info.name == "onnx"
    assert (await later.considered())[0] == "building"
    assert later.way.tries == 1, "what is being built is not opened"


async def test_one_built_anew_that_disagrees_leaves_the_one_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeWay())
    await bench.considered()
    serving = await bench.choice.open()
    bench.way.version, bench.way.before, bench.way.blind = "2", "1", True
    state, _, best = await bench.considered()
    assert (state, best) == ("ready", "openvino")
    assert bench.way.refusals == ["2 it loses 3 of 20"]
    assert not bench.contest.outdated(serving.info, Model())  # type: ignore[arg-type]


async def test_who_is_asked_for_by_name_is_not_told_to_be_too_slow(tmp_path: Path) -> None:
    _, why, _ = await Bench(tmp_path, FakeWay(seconds=0.01), wanted="openvino").considered()
    assert "ms a picture" in why
    assert "not enough faster" not in why


# -- no engine serves that was not found to agree, whatever happens beside it


async def test_a_build_that_was_never_compared_is_not_opened_to_serve(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeWay())
    await bench.considered()
    with bench.choice.attempt("openvino"):
        assert (await bench.choice.open()).info.name == "openvino"
    bench.way.version = "built anew"  # and now the one that serves breaks, and is opened again
    assert (await bench.choice.open()).info.name == "onnx"
    with bench.choice.attempt("openvino"), pytest.raises(PartFailed, match="not compared"):
        await bench.choice.open()
    assert (await bench.considered())[::2] == ("ready", "openvino")


async def test_under_another_threshold_it_serves_only_after_it_was_compared_there(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, FakeWay())
    await bench.considered()
    with bench.choice.attempt("openvino"):
        await bench.choice.open()
    bench.choice.most_threshold = 0.1
    assert (await bench.choice.open()).info.name == "onnx"


async def test_a_build_that_changes_while_it_is_opened_does_not_serve(tmp_path: Path) -> None:
    def anew(way: FakeWay) -> None:
        way.version = "2"

    bench = Bench(tmp_path, FakeWay())
    await bench.considered()
    bench.way.meanwhile = anew
    with bench.choice.attempt("openvino"), pytest.raises(PartFailed, match="anew meanwhile"):
        await bench.choice.open()
    assert bench.way.opened
    assert all(engine.closed for engine in bench.way.opened)
    assert bench.contest.refused == {}, "nothing was found out about it"


@pytest.mark.parametrize(
    "change",
    [
        {"agreement": {"passed": "no", "text": ""}},
        {"agreement": {"passed": 1, "text": ""}},
        {"agreement": {}},
        {"milliseconds": 0},
        {"reference": 0},
        {"milliseconds": float("nan")},
        {"reference": float("inf")},
    ],
)
async def test_a_memory_that_no_trial_wrote_lets_nobody_serve(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    bench = Bench(tmp_path, FakeWay())
    await bench.considered()
    path = tmp_path / "measured.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({key: {**one, **change} for key, one in kept.items()}))
    later = Bench(tmp_path, FakeWay())
    assert (await later.choice.open()).info.name == "onnx"
    with later.choice.attempt("openvino"), pytest.raises(PartFailed, match="not compared"):
        await later.choice.open()
