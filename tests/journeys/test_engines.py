"""A box that gets a GPU: it looks with its processor, builds, swaps, and goes back when told to.

GPU, driver and library are fakes (``tests/gpu/README.md``): the way is shown, not the hardware.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.cli.main import main
from tests.gpu.fakes import LIBRARY_PATH, environment
from tests.journeys.box import BoxProcess, until
from tests.journeys.conftest import MakeBox

SCENE = '[sources.site]\nkind = "scene"\nfps = 5\nwidth = 320\nheight = 180\n'


def engines(box: BoxProcess) -> Any:
    return json.loads(box.get("/v1/engines")[1])


def store(box_home: object) -> str:
    return f'[store]\nkind = "folder"\npath = "{box_home}/store"\n'


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_engine_is_built_while_another_looks_then_takes_over(
    make_box: MakeBox,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gpu = environment(FAKE_BUILD_S="2")
    # by its name: the fake is no faster than what it fakes
    box = make_box(
        f'{SCENE}{store(tmp_path)}[detect]\nengine = "tensorrt"\nmax_batch = 1\n'
        f'[tensorrt]\nlibrary_path = "{LIBRARY_PATH}"\n'
    )
    box.start(**gpu)
    told = until("it builds", lambda: (t := engines(box))["build"]["share"] and t)
    assert told["serving"] == "onnx"
    page = box.get("/")[1].decode()
    assert "Building an engine for picodet_s_416" in page
    assert "<progress" in page
    until("the built engine looks", lambda: engines(box)["serving"] == "tensorrt", 180)
    (plan,) = until("its plan is listed", lambda: engines(box)["plans"])
    until("it is known to serve", lambda: engines(box)["plans"][0]["state"] == "serving")
    assert engines(box)["build"]["state"] == "done"
    assert "TensorRT looks with picodet_s_416" in box.get("/")[1].decode()

    monkeypatch.setenv("EDGE_URL", f"http://127.0.0.1:{box.port}")
    assert main(["engine", "use", "onnx"]) == 0
    assert engines(box)["serving"] == "onnx"
    assert main(["engine", "use", plan["key"][:12]]) == 0
    assert engines(box)["serving"] == "tensorrt"
    assert main(["engine", "build"]) == 0
    assert "tensorrt looks with picodet_s_416" in capsys.readouterr().out
    assert box.stop() == 0


@pytest.mark.slow
def test_a_box_without_a_gpu_never_names_what_would_need_one(
    make_box: MakeBox,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    box = make_box(SCENE + store(tmp_path))
    box.start()
    monkeypatch.setenv("EDGE_URL", f"http://127.0.0.1:{box.port}")
    if engines(box)["gpu"]["usable"]:
        pytest.skip("this machine has a GPU")
    assert main(["engine", "ls"]) == 0
    for code, refused in ((4, ["build"]), (1, ["use", "abacus"]), (4, ["build", "nobody"])):
        assert main(["engine", *refused]) == code
    said = "".join(capsys.readouterr()) + box.get("/")[1].decode() + box.log.read_text()
    assert "tensorrt" not in said.lower()
    assert box.stop() == 0
