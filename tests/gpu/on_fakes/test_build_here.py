"""``edge engine build`` on a machine where no box runs: it is prepared for its first start."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.app.box import Box
from edge.catalog.plans import Plans
from edge.cli.main import main
from edge.config.load import load
from edge.engine_status import Plan
from tests.gpu.fakes import LIBRARY_PATH
from tests.gpu.on_fakes.test_box import models, option, running, serving
from tests.parts import until
from tests.places import ROOT

__all__ = ["models"]


@pytest.fixture(autouse=True)
def nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EDGE_URL", "EDGE_CONFIG", "EDGE_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def config(tmp_path: Path, models: Path) -> Path:
    """The file of a box that was never started, without the secrets that it will have."""
    path = tmp_path / "edge.toml"
    path.write_text(
        f'[box]\nsite = "s"\nnode = "n"\nstate = "{tmp_path}/state"\n'
        '[sources.camera]\nkind = "scene"\nfps = 3\nwidth = 640\nheight = 360\n'
        '[detect]\nengine = "tensorrt"\nworkers = 1\nmax_batch = 2\n'
        f'[models]\npath = "{models}"\npull = false\n'
        f'[store]\nkind = "folder"\npath = "{tmp_path}/out"\n'
        f'[tensorrt]\nlibrary_path = "{LIBRARY_PATH}"\n'
        "[energy]\nmeasure = false\n"
        '[web]\nport = 1\ntoken = "${env:WEB_TOKEN}"\n'
    )
    return path


def build(config: Path, *more: str) -> int:
    return main(["engine", "build", "--config", str(config), *more])


def plans(config: Path) -> list[Plan]:
    return Plans(config.parent / "state" / "engines" / "plans").ls()


def leftovers(config: Path) -> list[Path]:
    return list((config.parent / "state" / "engines" / "plans").glob(".new-*"))


def test_a_box_starts_with_what_was_built_before_and_tries_it_first(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build(config) == 0
    told = capsys.readouterr()
    assert "building here, into" in told.err
    assert told.out.startswith("picodet_s_416: built in ")
    assert "tries it beside ONNX Runtime when it starts" in told.out
    assert build(config) == 0
    assert "built already" in capsys.readouterr().out
    (built,) = plans(config)
    assert built.state == "kept"

    monkeypatch.setenv("WEB_TOKEN", "w" * 32)
    settings = load(config)
    settings = settings.model_copy(update={"web": settings.web.model_copy(update={"port": 0})})

    async def first_start() -> None:
        async with running(Box(settings)) as box:
            assert serving(box) == "onnx", "nothing looks that was not tried"
            await until(lambda: serving(box) == "tensorrt", 90)
            await until(lambda: [one.state for one in plans(config)] == ["serving"], 90)
            status = box.engines.status()
            assert status.build.state == "idle"
            assert [one.built_at for one in status.plans] == [built.built_at]
            assert status.canary.startswith("it sees 1")
            agreement = option(box).agreement
            assert agreement is not None
            assert agreement.passed

    asyncio.run(first_start())


def test_what_stops_the_builder_is_said(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_BUILD_FAILS", "no tactic for node 7")
    assert build(config) == 1
    told = capsys.readouterr().err
    assert "picodet_s_416 could not be built" in told
    assert "no tactic for node 7" in told
    assert not plans(config)
    assert not leftovers(config)
    assert build(config, "nothing_like_it") == 1
    assert "hint: edge model pull nothing_like_it --models" in capsys.readouterr().err


def test_one_process_builds_at_a_time(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Plans(config.parent / "state" / "engines" / "plans").alone():
        assert build(config) == 1
    assert "another process of this box builds an engine now" in capsys.readouterr().err
    assert plans(config) == []


def test_what_the_box_would_not_take_is_not_built(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid():
        pytest.skip("only root can give a directory away")
    state = config.parent / "state"
    state.mkdir()
    os.chown(state, 1, 1)
    assert build(config) == 4
    told = capsys.readouterr().err
    assert f"{state} belongs to daemon" in told
    assert "hint: sudo -u daemon edge engine build" in told
    assert list(state.iterdir()) == []


def test_an_interrupt_ends_the_builder(config: Path) -> None:
    command = [sys.executable, "-m", "edge", "engine", "build", "--config", str(config)]
    environ = {**os.environ, "FAKE_BUILD_S": "300"}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE) as process:
        builder = wait_for_child(process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert not Path(f"/proc/{builder}").exists()
    assert not plans(config)
    assert not leftovers(config)


def wait_for_child(process: subprocess.Popen[bytes]) -> int:
    """Return the builder that a command has started."""
    until_then = time.monotonic() + 90
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while time.monotonic() < until_then:
        for child in children.read_text().split():
            if b"build-child" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        time.sleep(0.1)
    raise AssertionError("it builds nothing")
