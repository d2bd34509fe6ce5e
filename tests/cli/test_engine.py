from __future__ import annotations

import io
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edge.cli import engine_build
from edge.cli.main import main
from edge.engine_status import Build, EngineOption, EngineStatus
from edge.stages.engines.tensorrt_probe import probe
from tests.cli.running_box import RunningBox
from tests.web.engine_parts import KEY, OLD, MadeUpEngines, plan, status_of, with_gpu


class Building(MadeUpEngines):
    """Each look at it finds the build one step further on."""

    def __init__(self, *steps: Build) -> None:
        super().__init__(with_gpu(serving="onnx", plans=()))
        self._steps = list(steps)

    def status(self) -> EngineStatus:
        if self._steps and self.now.build.state == "running":
            self.now = replace(self.now, build=self._steps.pop(0))
        return self.now


def step(state: Any, **facts: Any) -> Build:
    return Build(**{"state": state, "model": "picodet_s_416", "key": KEY, **facts})


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_build, "LOOK_EVERY", 0.01)


def test_the_engines_of_a_box_are_listed_with_what_was_built(
    box: RunningBox, capsys: pytest.CaptureFixture[str]
) -> None:
    box.have(MadeUpEngines(with_gpu()))
    assert main(["engine", "ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "tensorrt looks with picodet_s_416: 4.1 ms a picture, 9 times as fast as ONNX Runtime"
    )
    assert lines[3].split() == ["ENGINE", "STATE", "MS", "WHY"]
    assert lines[4].split()[:3] == ["tensorrt", "serving", "4.1"]
    assert "it agrees" in lines[4]
    assert lines[-1].split()[:4] == [OLD[:12], "last", "good", "picodet_s_416"]
    assert main(["engine", "ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plans"][1]["key"] == OLD


def test_a_box_without_a_gpu_names_no_library_for_one(
    box: RunningBox, capsys: pytest.CaptureFixture[str]
) -> None:
    box.have(MadeUpEngines(status_of()))
    assert main(["engine", "ls"]) == 0
    assert main(["engine", "build"]) == 4
    told = capsys.readouterr()
    assert "there is no GPU here" in told.err
    assert "edge engine check" in told.err
    assert "tensorrt" not in (told.out + told.err).lower()


def test_a_build_is_followed_to_its_end(
    box: RunningBox, capsys: pytest.CaptureFixture[str]
) -> None:
    engines = Building(
        step("running", phase="Parsing"),
        step("running", phase="Timing tactics", share=0.4),
        step("done", share=1.0, seconds=143.2),
    )
    box.have(engines)
    assert main(["engine", "build", "--force"]) == 0
    assert engines.asked == [("build", "", True)]
    assert capsys.readouterr().out.splitlines()[0] == "picodet_s_416: built in 143 s"


def test_what_was_built_is_waited_for_until_it_was_tried(
    box: RunningBox, capsys: pytest.CaptureFixture[str]
) -> None:
    class Tried(Building):
        looks = 0

        def status(self) -> EngineStatus:
            self.looks += 1
            return replace(
                super().status(), trying=self.looks <= 6, serving="tensorrt", why=f"{self.looks}"
            )

    box.have(Tried(step("done", seconds=143.2)))
    assert main(["engine", "build", "--force"]) == 0
    assert capsys.readouterr().out == (
        "picodet_s_416: built in 143 s\ntensorrt looks with picodet_s_416: 7\n"
    )


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (step("failed", reason="it needed 9 GiB", hint="build_memory"), "it needed 9 GiB"),
        (step("cancelled"), "was stopped"),
        (step("idle"), "says no more of this build"),
        (step("running", key=OLD), "builds another one"),
    ],
)
def test_a_build_that_ends_otherwise_is_a_failure_with_its_reason(
    box: RunningBox, capsys: pytest.CaptureFixture[str], end: Build, words: str
) -> None:
    box.have(Building(step("running"), end))
    assert main(["engine", "build"]) == 1
    told = capsys.readouterr().err
    assert words in told
    assert not end.hint or f"hint: {end.hint}" in told


UNFIT = "it found 3 of 212 people"


@pytest.mark.parametrize(
    "facts",
    [
        {"plans": (plan(KEY, "refused", why=UNFIT),)},
        # the one before is back, under the same key
        {"plans": (plan(KEY, "serving", why=UNFIT),)},
        {"options": (EngineOption(name="tensorrt", state="refused", why=UNFIT, hint="see it"),)},
    ],
    ids=["refused", "one-before-is-back", "could-not-look"],
)
def test_a_build_that_was_found_unfit_is_a_failure(
    box: RunningBox, capsys: pytest.CaptureFixture[str], facts: dict[str, Any]
) -> None:
    engines = Building(step("done"))
    engines.now = replace(engines.now, **facts)
    box.have(engines)
    assert main(["engine", "build", "--force"]) == 1
    told = capsys.readouterr().err
    assert "was built, and does not look: it found 3 of 212 people" in told
    assert "onnx looks with picodet_s_416" in told
    assert "hint: " in told


def test_a_build_is_begun_and_left_and_stopped(
    box: RunningBox, capsys: pytest.CaptureFixture[str]
) -> None:
    box.have(Building(step("running")))
    assert main(["engine", "build", "yolox_nano_416", "--no-wait"]) == 0
    assert capsys.readouterr().out == "yolox_nano_416: running\n"
    assert main(["engine", "build", "--stop"]) == 0
    assert main(["engine", "build", "--stop"]) == 0
    assert capsys.readouterr().out == "stopped\nnothing is built now\n"


def test_an_interrupt_leaves_the_build_to_the_box(
    box: RunningBox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = Building(step("running"))
    box.have(engines)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edge.cli.engine_build.time.sleep", interrupt)
    assert main(["engine", "build"]) == 130
    assert "the box goes on building" in capsys.readouterr().err
    assert engines.now.build.state == "running"


def test_the_bar_shows_phase_and_share(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    screen = Console(file=drawn, force_terminal=True, width=80)
    monkeypatch.setattr("rich.console.Console", lambda **_: screen)
    with engine_build.bar(show=True) as show:
        show({"phase": "[red]Timing", "share": 0.4})
        show({"phase": "", "share": None})
        show({"phase": "Writing", "share": 0.97})
    text = drawn.getvalue()
    assert "97%" in text
    assert "Writing" in text


def test_another_engine_is_chosen_by_name_or_by_the_beginning_of_its_key(
    box: RunningBox, capsys: pytest.CaptureFixture[str]
) -> None:
    engines = MadeUpEngines(with_gpu())
    box.have(engines)
    assert main(["engine", "use", "onnx"]) == 0
    assert capsys.readouterr().out.startswith("onnx looks with picodet_s_416 (wanted: onnx)")
    assert main(["engine", "use", OLD[:12]]) == 0
    assert main(["engine", "use", OLD[:3]]) == 1
    assert engines.asked == [("use", "onnx"), ("use", OLD), ("use", OLD[:3])]
    assert "hint: edge engine ls" in capsys.readouterr().err


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a box that does not run; nobody names another one."""
    for name in ("EDGE_URL", "EDGE_CONFIG", "EDGE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "edge.toml"
    path.write_text(
        f'[box]\nsite = "s"\nnode = "n"\nstate = "{tmp_path}/state"\n[web]\nport = 1\n'
        f'[store]\nkind = "folder"\npath = "{tmp_path}/out"\n'
    )
    return path


def test_where_no_box_runs_and_no_gpu_is_it_says_what_is_missing(
    workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if probe().usable:
        pytest.skip("this machine has a GPU")
    for more in ([], ["--force"], ["nobody_has_it"]):
        assert main(["engine", "build", "--config", str(workshop), *more]) == 4
        told = capsys.readouterr().err
        assert "no box answers at http://127.0.0.1:1" in told
        assert "no engine can be built on this machine: no NVIDIA driver" in told
        assert "hint: " in told
        assert "tensorrt" not in told.lower()
    assert not (workshop.parent / "state").exists()
    assert main(["engine", "check"]) == 4


def test_beside_a_box_that_runs_nothing_is_built(
    workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = workshop.parent / "state"
    state.mkdir()
    with socket.socket(socket.AF_UNIX) as box:
        box.bind(str(state / "control.sock"))
        box.listen()
        assert main(["engine", "build", "--config", str(workshop)]) == 4
    told = capsys.readouterr().err
    assert "no box answers at http://127.0.0.1:1" in told
    assert "hint: edge ctl engine.build" in told
    assert "no engine can be built" not in told
    # it is gone, and left its socket
    assert main(["engine", "build", "--config", str(workshop)]) == 4
    assert "no engine can be built on this machine" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--stop", "--no-wait", "--url=http://127.0.0.1:1"])
def test_what_needs_a_box_does_not_begin_to_build_without_one(
    workshop: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert main(["engine", "build", "--config", str(workshop), option]) == 4
    told = capsys.readouterr().err
    assert "no box answers" in told
    assert "on this machine" not in told


def test_a_box_that_does_not_run_is_a_missing_dependency(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_URL", "http://127.0.0.1:1")
    for command in (["ls"], ["build"], ["use", "onnx"]):
        assert main(["engine", *command]) == 4
    assert "no box answers" in capsys.readouterr().err
