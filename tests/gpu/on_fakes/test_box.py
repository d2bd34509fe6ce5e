"""The whole path on the fake GPU: a box builds, tries, swaps, refuses, and leaves the GPU alone.

What this shows is Edge's own part. Nothing here was run by TensorRT or on a GPU.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge.app.box import Box
from edge.app.engine_ways import TensorRT
from edge.app.presence import troubles
from edge.catalog.installed import Catalog
from edge.config.root import Config
from edge.engine_status import EngineOption
from edge.errors import GpuLost, Rejected
from edge.ops.metrics import counts_by
from edge.stages.engines import tensorrt_cuda
from edge.web.view import Sender
from tests.gpu.fakes import LIBRARY_PATH, FakeGpu
from tests.parts import until
from tests.places import ROOT, shared


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    Catalog(path).import_file(shared("data/models/originals/picodet_s_416_coco.onnx"))
    return path


def a_box(home: Path, models: Path, *, cameras: int = 1, fps: int = 3, **detect: object) -> Box:
    camera = {"kind": "scene", "fps": fps, "width": 640, "height": 360}
    box = Box(
        Config.model_validate(
            {
                "box": {"site": "s", "node": "n", "state": str(home / "state")},
                "sources": {f"camera-{n}": camera | {"enabled": not n} for n in range(cameras)},
                "detect": {"engine": "tensorrt", "workers": 1, "max_batch": 4} | detect,
                "tensorrt": {"library_path": str(LIBRARY_PATH), "cuda_graphs": cameras == 1},
                "store": {"kind": "folder", "path": str(home / "out")},
                "models": {"path": str(models), "pull": False},
                "web": {"port": 0},
                "energy": {"measure": False},
            }
        )
    )
    gpu(box).builds._command = ([sys.executable, "-m", "tests.gpu.fake_builder"], ROOT)
    return box


def gpu(box: Box) -> TensorRT:
    way = box.engines.ways["tensorrt"]
    assert isinstance(way, TensorRT)
    return way


def option(box: Box) -> EngineOption:
    return next(one for one in box.engines.status().options if one.name == "tensorrt")


def lost(box: Box) -> dict[str, int]:
    """Pictures that were dropped, by reasons other than a newer one."""
    found = dict(counts_by(box.metrics.pictures_dropped, "reason"))
    return {reason: n for reason, n in found.items() if reason not in {"newer", "stopping"}}


@contextlib.asynccontextmanager
async def running(box: Box) -> AsyncIterator[Box]:
    task = asyncio.create_task(box.run(), name="box")
    try:
        await until(lambda: task.done() or box.holder.up, 90)
        if task.done():
            task.result()
        yield box
    finally:
        box.stop()
        await asyncio.wait({task}, timeout=90)
        if not isinstance(task.exception(), GpuLost):
            task.result()


def kill_builders() -> int:
    """End the builders of this process as ``kill -9`` does; return how many there were."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    places = {int(child): Path(f"/proc/{child}/cmdline") for child in children}
    builders = [child for child, line in places.items() if b"fake_builder" in line.read_bytes()]
    for child in builders:
        os.kill(child, signal.SIGKILL)
    return len(builders)


def serving(box: Box) -> str:
    return box.engines.status().serving


async def test_a_first_start_looks_with_the_processor_until_the_engine_is_built(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_BUILDER", "slow")
    async with running(a_box(tmp_path, models)) as box:
        assert serving(box) == "onnx"
        await until(lambda: option(box).state == "building", 90)
        await until(lambda: (box.engines.status().build.share or 0) > 0.2, 90)
        before = lost(box)
        await until(lambda: serving(box) == "tensorrt", 90)
        await until(lambda: [p.state for p in box.engines.status().plans] == ["serving"], 90)
        status = box.engines.status()
        assert status.build.state == "done"
        assert status.canary.startswith("it sees 1")
        shown = option(box)
        assert shown.state == "serving"
        assert shown.agreement is not None
        assert shown.agreement.passed
        redacted = counts_by(box.metrics.pictures_redacted, "").get("", 0)
        await until(
            lambda: counts_by(box.metrics.pictures_redacted, "").get("", 0) > redacted + 3, 90
        )
    assert lost(box) == before, "the swap cost pictures"
    assert dict(counts_by(box.metrics.pictures_withheld, "reason")) == {}

    monkeypatch.setenv("FAKE_BUILDER", "crash, were it asked")
    async with running(a_box(tmp_path, models)) as again:
        assert serving(again) == "tensorrt", "what was found out is remembered"
        assert again.engines.status().build.state == "idle"


async def test_a_plan_that_disagrees_is_refused_and_the_processor_goes_on(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_BUILDER", "blind")
    async with running(a_box(tmp_path, models)) as box:
        before = lost(box)
        await until(lambda: option(box).state == "refused", 90)
        assert "drawn people" in option(box).why or "agree" in option(box).why
        await until(lambda: [p.state for p in box.engines.status().plans] == ["refused"], 90)
        assert serving(box) == "onnx"
        assert lost(box) == before


async def test_whoever_asks_for_what_cannot_look_reads_why_and_what_to_do(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(what: str) -> Rejected:
        with pytest.raises(Rejected) as caught:
            await box.engines.use(what)
        assert (box.engines.status().wanted, serving(box)) == ("auto", "onnx")
        return caught.value

    monkeypatch.setenv("FAKE_BUILDER", "crash")
    async with running(a_box(tmp_path, models, engine="auto")) as box:
        await until(lambda: box.engines.status().build.state == "failed", 90)
        await until(lambda: "crashed" in option(box).why, 90)
        error = await refused("tensorrt")
        assert "the builder crashed" in str(error)
        assert "edge engine build tries again" in error.hint

        monkeypatch.setenv("FAKE_BUILDER", "blind")
        await box.engines.build()
        await until(lambda: option(box).state == "refused", 90)
        assert "edge engine build --force" in option(box).hint
        (plan,) = box.engines.status().plans
        error = await refused(plan.key)
        assert "drawn people" in str(error)
        assert "edge engine build --force" in error.hint

        gpu(box)._shown = [replace(plan, model="another")]
        error = await refused(plan.key)
        assert "was built for another, and picodet_s_416 looks" in str(error)
        assert error.hint == "edge ctl model.use model=another"


async def test_a_builder_that_is_killed_costs_nothing_but_the_engine(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_BUILDER", "slow")
    async with running(a_box(tmp_path, models)) as box:
        await until(lambda: (box.engines.status().build.share or 0) > 0.1, 90)
        assert kill_builders() == 1
        await until(lambda: box.engines.status().build.state == "failed", 90)
        await asyncio.sleep(1)
        assert serving(box) == "onnx"
        assert box.engines.status().plans == []
        assert option(box).state == "to_build"

        monkeypatch.setenv("FAKE_BUILDER", "")
        await box.engines.build(force=True)
        await until(lambda: serving(box) == "tensorrt", 90)


async def test_three_faults_of_the_gpu_within_an_hour_and_the_processor_looks(
    tmp_path: Path, models: Path, gpu: FakeGpu
) -> None:
    for _ in range(3):
        with pytest.raises(GpuLost):
            await until_lost(a_box(tmp_path, models), gpu)
        gpu.reset()
        lost = tensorrt_cuda._lost.copy()
        tensorrt_cuda._lost.clear()  # as a new process would have it
    async with running(a_box(tmp_path, models)) as box:
        await asyncio.sleep(2)
        status = box.engines.status()
        assert (status.serving, status.faults) == ("onnx", 3)
        await until(lambda: option(box).state == "refused", 90)
        assert "3 times within an hour" in option(box).why
        shown = troubles(box.view.status(), 2**40, 0)
        assert "gpu_fault" in {one.alarm for one in shown}
    tensorrt_cuda._lost += lost  # what lies on a lost GPU stays there


async def until_lost(box: Box, gpu: FakeGpu) -> None:
    """Run a box until its GPU looks, and then lose it."""
    task = asyncio.create_task(box.run(), name="box")
    await until(lambda: task.done() or box.holder.up, 90)
    await until(lambda: task.done() or serving(box) == "tensorrt", 90)
    gpu.fail("cuEventQuery", 700)
    async with asyncio.timeout(90):
        await task


async def test_one_built_anew_that_is_blind_leaves_the_one_before_looking(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(a_box(tmp_path, models)) as box:
        await until(lambda: serving(box) == "tensorrt", 90)
        await until(lambda: [p.state for p in box.engines.status().plans] == ["serving"], 90)
        before, (good,) = box.holder.info, box.engines.status().plans
        pictures = lost(box)
        monkeypatch.setenv("FAKE_BUILDER", "blind")
        await box.engines.build(force=True)
        assert (await gpu(box).builds.over()).state == "done"
        # at once, before anybody could have looked at it
        (fresh,) = box.engines.status().plans
        assert fresh.built_at > good.built_at
        assert "is tried beside ONNX Runtime now" in option(box).why
        assert box.engines.status().trying

        await until(lambda: "one before is back" in box.engines.status().plans[0].why, 90)
        await until(lambda: "tried beside" not in option(box).why, 90)
        (back,) = box.engines.status().plans
        assert (back.built_at, back.state) == (good.built_at, "serving")
        assert not box.engines.status().trying
        assert (option(box).state, box.holder.info) == ("serving", before)
        assert "not enough faster" not in option(box).why
        assert lost(box) == pictures
        box.engines.better()  # opened anew, it is the one before
        await until(lambda: box.holder.info is not before, 90)
        assert serving(box) == "tensorrt"


async def test_a_rebuild_is_waited_for_until_the_new_engine_looks(
    tmp_path: Path, models: Path
) -> None:
    async with running(a_box(tmp_path, models)) as box:
        await until(lambda: serving(box) == "tensorrt", 90)
        await until(lambda: not box.engines.status().trying, 90)
        before = box.holder.info
        sender = Sender(channel="local", who="tests", wait=90)
        reply = await box.view.command("engine.rebuild", {}, sender)
        assert box.holder.info is not before
        assert reply["status"] == "ok"
        assert "; tensorrt looks: it is asked for by its name" in reply["data"]["message"]


async def test_a_plan_that_the_library_refuses_is_built_once_more_and_no_more(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_BUILDER", "no plan")
    async with running(a_box(tmp_path, models)) as box:
        await until(lambda: option(box).state == "refused", 90)
        assert gpu(box).built == 2
        assert "refuses the plan" in option(box).why
        assert [one.state for one in box.engines.status().plans] == ["refused"]
        assert serving(box) == "onnx"

        monkeypatch.setenv("FAKE_BUILDER", "")
        await box.engines.build(force=True)
        await until(lambda: serving(box) == "tensorrt", 90)
