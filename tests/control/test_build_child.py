"""The builder's process: what it says, how it is started, and that it never outlives its box."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.control.build_child import child_environment, resident
from edge.control.builds import Builds
from tests.control.test_builds import Bench, children, until
from tests.places import ROOT


async def test_a_builder_that_cannot_be_started_is_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.builds = Builds(bench.config, bench.plans, command=(["/nowhere/edge"], Path("/")))
    await bench.builds.begin(bench.order())

    end = await bench.builds.over()

    assert (end.state, "cannot be started" in end.reason) == ("failed", True)


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"phase": 7, "share": "x"}',
        '{"phase": "a", "share": NaN}',
        '{"phase": "a", "share": 1' + "0" * 400 + "}",
        '{"plan": "/elsewhere", "seconds": 1' + "0" * 400 + "}",
        '{"plan": {}, "seconds": "x", "library": 3}',
        "x" * 1_000_000,
    ],
)
async def test_garbage_for_an_answer_is_no_engine(tmp_path: Path, line: str) -> None:
    bench = Bench(tmp_path)
    script = f"import sys; sys.stdin.read(); sys.stdout.write({line!r} + chr(10))"
    bench.builds = Builds(
        bench.config, bench.plans, command=([sys.executable, "-c", script], Path("/"))
    )
    await bench.builds.begin(bench.order())

    async with asyncio.timeout(60):
        end = await bench.builds.over()

    assert end.state == "failed"
    assert "bug" not in end.reason
    assert bench.plans.ls() == []


async def test_what_the_builder_started_does_not_outlive_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    script = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True)"
    bench.builds = Builds(
        bench.config, bench.plans, command=([sys.executable, "-c", script], Path("/"))
    )
    await bench.builds.begin(bench.order())

    async with asyncio.timeout(60):
        end = await bench.builds.over()

    assert (end.state, "no answer" in end.reason) == ("failed", True)


async def test_a_killed_box_leaves_no_builder(tmp_path: Path) -> None:
    script = f"""
import asyncio, os, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.control.test_builds import Bench
async def main():
    bench = Bench(Path({str(tmp_path)!r}))
    await bench.builds.begin(bench.order())
    while "Building" not in bench.builds.now.phase:
        await asyncio.sleep(0.05)
    print("building", flush=True)
    await bench.builds.over()
asyncio.run(main())
"""
    box = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        env=os.environ | {"ODD_TENSORRT": "hang"},
        stdout=asyncio.subprocess.PIPE,
    )
    assert box.stdout is not None
    async with asyncio.timeout(60):
        assert await box.stdout.readline() == b"building\n"
        (builder,) = children(box.pid)
        box.kill()
        await box.wait()
        await until(lambda: not resident(builder))

    bench = Bench(tmp_path)  # and nothing is locked
    with bench.plans.alone():
        assert bench.plans.ls() == []


def test_the_child_of_a_frozen_program_gets_the_systems_libraries() -> None:
    frozen = {"LD_LIBRARY_PATH": "/opt/edge/_internal", "A": "b"}

    own = child_environment(0, frozen | {"LD_LIBRARY_PATH_ORIG": "/usr/x"}, frozen=True)
    assert own["LD_LIBRARY_PATH"] == "/usr/x"
    assert "LD_LIBRARY_PATH" not in child_environment(0, frozen, frozen=True)
    assert child_environment(0, frozen, frozen=False)["LD_LIBRARY_PATH"] == "/opt/edge/_internal"


@pytest.mark.parametrize(
    ("device", "seen", "child"),
    [(0, "", "0"), (2, "", "2"), (1, "4, 6", "6"), (0, "GPU-a", "GPU-a")],
)
def test_the_child_sees_the_chosen_gpu_only(device: int, seen: str, child: str) -> None:
    own = child_environment(device, {"CUDA_VISIBLE_DEVICES": seen} if seen else {}, frozen=False)

    assert own["CUDA_VISIBLE_DEVICES"] == child


def test_the_builder_gives_way_to_the_box(tmp_path: Path) -> None:
    """It is nice, and the kernel takes it first when memory runs out."""
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.py").write_text(
        "import os\n__version__ = '1'\n"
        "raise ImportError(f'{os.nice(0)} {open(\"/proc/self/oom_score_adj\").read().strip()}')\n"
    )
    request = {"onnx": "", "plan": "", "library": "tensorrt", "library_version": "1"}
    said = subprocess.run(
        [sys.executable, "-m", "edge", "engine", "build-child"],
        input=json.dumps(request | {"library_path": str(tmp_path)}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )

    *_, last = said.stdout.splitlines()
    nice, score = json.loads(last)["error"].split()[-2:]
    assert (said.returncode, int(nice) >= 10, score) == (1, True, "1000")
