from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge.catalog.canonical import canonical
from edge.errors import PartFailed
from edge.stages.engines.onnx import OnnxEngine
from tests.catalog import tiny
from tests.places import ROOT


def test_a_batch_goes_one_by_one_through_a_graph_that_takes_one(tmp_path: Path) -> None:
    model = canonical(tiny.network(), tiny.manifest())
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    batch = np.concatenate([tiny.picture(255), tiny.picture(0)])
    assert [len(seen) for seen in OnnxEngine.open(path).infer(batch, [None] * 2)] == [1, 0]


def test_a_person_whose_box_is_not_a_number_fails(tmp_path: Path) -> None:
    model = tiny.network((tiny.Person(), tiny.Person(centre=(np.nan, 1.0))))
    path = tiny.write(tmp_path / "model.onnx", model)
    with pytest.raises(PartFailed, match="finite"):
        OnnxEngine.open(path).infer(tiny.picture(255), [None])


def test_a_box_with_its_corners_swapped_fails(tmp_path: Path) -> None:
    model = tiny.network((tiny.Person(size=(-4.0, 8.0)),))
    with pytest.raises(PartFailed, match="x1 <= x2"):
        OnnxEngine.open(tiny.write(tmp_path / "m.onnx", model)).infer(tiny.picture(255), [None])


def _reshaped(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give scores one axis too many."""
    axes = numpy_helper.from_array(np.array([2], np.int64), "axes")
    model.graph.initializer.append(axes)
    last = next(node for node in model.graph.node if node.output[0] == "scores")
    last.output[0] = "flat"
    model.graph.node.append(onnx.helper.make_node("Unsqueeze", ["flat", "axes"], ["scores"]))
    model.graph.output[1].type.tensor_type.ClearField("shape")
    return model


def test_outputs_of_another_shape_fail(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    graph = _reshaped(canonical(tiny.network(), tiny.manifest()))
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(PartFailed, match="expected boxes"):
        OnnxEngine.open(path)


@pytest.mark.parametrize("larger_than", [0, 2**30])
def test_workers_get_the_same_answers_with_a_session_each_and_with_one_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, larger_than: int
) -> None:
    monkeypatch.setattr("edge.stages.engines.onnx.SHARED_BYTES", larger_than)
    engine = OnnxEngine.open(tiny.write(tmp_path / "model.onnx"))
    begun = threading.Barrier(3)

    def work() -> list[int]:
        begun.wait(5)
        return [len(engine.infer(tiny.picture(255 * (n % 2)), [None])[0]) for n in range(50)]

    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(work) for _ in range(3)]
    assert [answer.result() for answer in answers] == [[0, 1] * 25] * 3
    engine.close()
    with pytest.raises(PartFailed, match="closed"):
        engine.infer(tiny.picture(), [None])


def test_a_thread_that_comes_later_runs_the_session_that_another_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = OnnxEngine.open(tiny.write(tmp_path / "model.onnx"))
    made: list[object] = []
    another = engine._another
    assert another is not None

    def counted() -> object:
        made.append(1)
        return another()

    monkeypatch.setattr(engine, "_another", counted)
    for name in ("warm-up", "canary", "worker"):
        with ThreadPoolExecutor(1, name) as pool:
            pool.submit(engine.infer, tiny.picture(), [None]).result()
    assert made == []


def test_no_telemetry_is_written_by_a_real_inference(tmp_path: Path) -> None:
    """The wheel's telemetry is on by default, and CI=1 would hide it."""
    path = tiny.write(tmp_path / "model.onnx")
    home = tmp_path / "home"
    home.mkdir()
    hidden = {"CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}
    environment = {k: v for k, v in os.environ.items() if k not in hidden} | {"HOME": str(home)}
    code = (
        "import sys, pathlib, numpy as np\n"
        "from edge.stages.engines.onnx import OnnxEngine\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "engine = OnnxEngine.open(pathlib.Path(sys.argv[1]))\n"
        "print(len(engine.infer(np.full((1, 32, 32, 3), 255, np.uint8), [None])[0]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "1"
    assert [str(left.relative_to(home)) for left in home.rglob("*")] == []
