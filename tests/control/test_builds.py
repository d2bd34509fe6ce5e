"""Engines are built in a child: whatever it does, the box goes on, and says what happened."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge.app.plan_order import facts_of, order_of
from edge.catalog.plan_facts import PlanFacts
from edge.catalog.plans import Plans
from edge.config.tensorrt import TensorRTConfig
from edge.control.builds import Builds, Order
from edge.engine_status import Build, GpuFacts
from edge.errors import Rejected
from tests.places import ROOT

ODD = ROOT / "tests" / "stages" / "engines" / "odd"
GPU = GpuFacts(
    usable=True,
    device="A GPU",
    capability=(8, 7),
    library="tensorrt",
    library_version="10.3.0.26",
)
FORM = b"an engine form"


class Bench:
    """Builds with the odd builder, and what people were told of it."""

    def __init__(self, path: Path, **settings: object) -> None:
        self.config = TensorRTConfig(library_path=str(ODD), **settings)
        self.plans = Plans(path / "plans")
        self.told: list[Build] = []
        self.builds = Builds(self.config, self.plans, changed=self.told.append)

    def facts(self, model: str = "tiny", form: bytes = FORM) -> PlanFacts:
        return facts_of(model, form, GPU, self.config, most=4)

    def order(self, model: str = "tiny", form: bytes = FORM) -> Order:
        return order_of(self.facts(model, form), form, self.config, self.plans)

    async def built(self, how: str, patch: pytest.MonkeyPatch) -> Build:
        patch.setenv("ODD_TENSORRT", how)
        begun = await self.builds.begin(self.order())
        assert begun.state == "running"
        async with asyncio.timeout(60):
            return await self.builds.over()

    def left(self) -> list[str]:
        """What lies beside the plans and has no business there."""
        return [path.name for path in self.plans.path.iterdir() if path.name.startswith(".new-")]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.builds.close()


async def test_a_built_engine_is_in_the_cache(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = await bench.built("slow", monkeypatch)

    assert (end.state, end.reason, end.share) == ("done", "", 1.0)
    assert bench.plans.read(end.key) == FORM
    assert bench.plans.timing(bench.facts()).read_bytes() == b"measured"
    assert bench.told[0].state == "running"
    assert ("Building engine", 0.5) in {(one.phase, one.share) for one in bench.told}
    assert bench.left() == []


async def test_what_is_built_already_is_not_built_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.built("well", monkeypatch)
    monkeypatch.setenv("ODD_TENSORRT", "crash")

    again = await bench.builds.begin(bench.order())
    forced = await bench.builds.begin(bench.order(), force=True)

    assert (again.state, forced.state) == ("done", "running")
    assert (await bench.builds.over()).state == "failed"
    assert bench.plans.read(again.key) == FORM  # a failed build changes nothing


async def test_a_refused_engine_is_built_again_by_force_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = await bench.built("well", monkeypatch)
    bench.plans.refuse(end.key, "it sees fewer people")

    with pytest.raises(Rejected, match="sees fewer people"):
        await bench.builds.begin(bench.order())
    await bench.builds.begin(bench.order(), force=True)

    assert (await bench.builds.over()).state == "done"
    assert bench.plans.read(end.key) == FORM


async def test_two_askers_get_one_build(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_TENSORRT", "slow")
    first, second = await asyncio.gather(
        bench.builds.begin(bench.order()), bench.builds.begin(bench.order())
    )

    assert first.key == second.key
    with pytest.raises(Rejected) as busy:
        await bench.builds.begin(bench.order("other", b"another form"))
    assert busy.value.reason == "busy"
    assert (await bench.builds.over()).state == "done"
    assert sum(one.phase == "starting" for one in bench.told) == 1


async def test_two_processes_do_not_build_at_once(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODD_TENSORRT", "slow")
    other = Bench(tmp_path)
    await bench.builds.begin(bench.order())

    with pytest.raises(Rejected) as busy:
        await other.builds.begin(other.order("other", b"another form"))

    assert busy.value.reason == "busy"
    await bench.builds.over()
    await other.builds.begin(other.order("other", b"another form"))
    assert (await other.builds.over()).state == "done"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("crash", "crashed (SIGSEGV): tactic 7"),
        ("leave", "exit code 7 and no answer: tactic 7"),
        ("none", "tactic 7 of layer conv_3 is out of memory"),
        ("raise", "std::bad_alloc"),
        ("nobuilder", "factory function returned nullptr"),
    ],
)
async def test_a_builder_that_fails_costs_the_engine_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str, said: str
) -> None:
    end = await bench.built(how, monkeypatch)

    assert end.state == "failed"
    assert said in end.reason
    assert end.phase != "starting"
    assert bench.plans.ls() == []
    assert bench.left() == []
    assert (await bench.built("well", monkeypatch)).state == "done"


async def test_what_a_crashed_builder_recalled_is_forgotten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing = bench.plans.timing(bench.facts())
    bench.plans.find("")
    timing.write_bytes(b"poison")

    await bench.built("crash", monkeypatch)

    assert not timing.exists()


async def test_what_the_library_prints_is_no_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = await bench.built("chatter", monkeypatch)

    assert end.state == "done"
    assert bench.plans.read(end.key) == FORM


async def test_a_builder_that_hangs_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, build_timeout="3s")

    end = await bench.built("hang", monkeypatch)

    assert (end.state, "stopped after 3 s" in end.reason) == ("failed", True)
    assert children() == []


async def test_a_builder_that_eats_memory_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, build_memory="200MiB")

    end = await bench.built("eat", monkeypatch)

    assert (end.state, "more than 200 MiB" in end.reason) == ("failed", True)
    assert children() == []


async def test_a_builder_that_the_kernel_kills_is_told_from_a_crash(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODD_TENSORRT", "hang")
    await bench.builds.begin(bench.order())
    await reached(bench, "Building engine")

    os.kill(children()[0], signal.SIGKILL)
    end = await bench.builds.over()

    assert (end.state, "out of memory" in end.reason) == ("failed", True)


async def test_a_cancelled_build_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODD_TENSORRT", "hang")
    assert not await bench.builds.cancel()
    await bench.builds.begin(bench.order())
    await reached(bench, "Building engine")
    before = bench.builds.now.seconds
    await asyncio.sleep(0.2)

    assert await bench.builds.cancel()

    assert bench.builds.now.state == "cancelled"
    assert "edge engine build" in bench.builds.now.hint
    assert (children(), bench.left(), bench.plans.ls()) == ([], [], [])
    took = bench.builds.now.seconds
    assert took > before > 0
    await asyncio.sleep(0.2)
    assert bench.builds.now.seconds == took
    assert (await bench.built("well", monkeypatch)).state == "done"


async def test_a_build_that_is_cancelled_at_once_does_not_stay_busy(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODD_TENSORRT", "hang")
    await bench.builds.begin(bench.order())

    assert await bench.builds.cancel()

    assert (await bench.built("well", monkeypatch)).state == "done"


async def test_another_library_than_expected_builds_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODD_TENSORRT", "well")
    order = bench.order()
    request = {**order.request, "library_version": "11.4.0.106"}
    await bench.builds.begin(replace(order, request=request))

    end = await bench.builds.over()

    assert (end.state, "10.3.0.26 now, expected 11.4.0.106" in end.reason) == ("failed", True)


@pytest.mark.parametrize(
    ("how", "form", "room"),
    [
        ("well", b"x" * 100_000, 50_000),  # none for the graph
        ("large", b"x", 50_000),  # none for the plan, which the child writes
        ("well", b"x", 300),  # none for its record
    ],
)
async def test_a_full_disk_fails_the_build_and_keeps_the_old_engine(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str, form: bytes, room: int
) -> None:
    end = await bench.built("well", monkeypatch)
    monkeypatch.setenv("ODD_TENSORRT", how)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A file that grows beyond the limit fails in write(2), as on a full disk.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, old[1]))
    try:
        await bench.builds.begin(bench.order("other", form))
        full = await bench.builds.over()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)

    assert (full.state, "room" in full.hint) == ("failed", True), full
    assert bench.left() == []
    assert [plan.key for plan in bench.plans.ls()] == [end.key]
    assert bench.plans.read(end.key) == FORM


async def reached(bench: Bench, phase: str) -> None:
    await until(lambda: bench.builds.now.phase == phase)


async def until(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        await asyncio.sleep(0.05)
    pytest.fail("it did not happen within 30 s")


def children(parent: int = 0) -> list[int]:
    """Return the builders that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            command = path.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == (parent or os.getpid()) and b"build-child" in command:
            found.append(int(path.parent.name))
    return found
