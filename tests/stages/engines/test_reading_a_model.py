"""What both engines that read a model's file do with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge.errors import PartFailed
from edge.stages.engines.onnx import OnnxEngine
from edge.stages.engines.openvino import OpenVinoEngine
from tests.catalog import tiny

Kind = type[OnnxEngine] | type[OpenVinoEngine]


@pytest.fixture(params=[OnnxEngine, OpenVinoEngine], ids=["onnx", "openvino"])
def kind(request: pytest.FixtureRequest) -> Kind:
    engine: Kind = request.param
    return engine


def test_a_bright_picture_shows_one_person_and_a_dark_one_nobody(
    kind: Kind, tmp_path: Path
) -> None:
    engine = kind.open(tiny.write(tmp_path / "model.onnx"))
    batch = np.concatenate([tiny.picture(255), tiny.picture(0), tiny.picture(255)])
    bright, dark, again = engine.infer(batch, [None] * 3)
    assert bright.boxes.tolist() == [list(tiny.MIDDLE)] == again.boxes.tolist()
    assert bright.scores == pytest.approx(1.0)
    assert len(dark) == 0


def test_it_describes_itself_by_what_the_graph_says(kind: Kind, tmp_path: Path) -> None:
    path = tiny.write(tmp_path / "model.onnx", labels={"worker": 0}, threshold=0.4)
    info = kind.open(path).info
    name = "onnx" if kind is OnnxEngine else "openvino"
    assert (info.name, info.model, info.labels) == (name, "tiny", ("worker",))
    assert (info.input_size, info.resize, info.threshold) == ((32, 32), "stretch", 0.4)
    assert len(info.digest) == 64


def test_the_operators_threshold_wins_over_the_models(kind: Kind, tmp_path: Path) -> None:
    path = tiny.write(tmp_path / "model.onnx", threshold=0.9)
    grey = tiny.picture(128)
    assert len(kind.open(path).infer(grey, [None])[0]) == 0
    assert len(kind.open(path, threshold=0.3).infer(grey, [None])[0]) == 1


def _poisoned(value: float) -> onnx.ModelProto:
    """Return a tiny network one of whose weights is broken."""
    model = tiny.network()
    tensor = next(t for t in model.graph.initializer if t.name == "weights")
    weights = numpy_helper.to_array(tensor).copy()
    # the last cell: TopK must not be able to hide it
    weights.reshape(5, tiny.CELLS, 3)[4, -1] = value
    tensor.CopyFrom(numpy_helper.from_array(weights, "weights"))
    return model


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_network_that_answers_nan_or_infinity_fails_and_never_sees_nobody(
    kind: Kind, tmp_path: Path, value: float
) -> None:
    path = tiny.write(tmp_path / "model.onnx", _poisoned(value))
    with pytest.raises(PartFailed, match="finite"):
        kind.open(path).infer(tiny.picture(200), [None])


def _raw(path: Path) -> None:
    onnx.save(tiny.network(), path)


def _cut(path: Path) -> None:
    path.write_bytes(tiny.write(path).read_bytes()[:-200])


def _text(path: Path) -> None:
    path.write_text("not a model")


def _nothing(_: Path) -> None: ...


def _strange(path: Path) -> None:
    model = onnx.load(tiny.write(path))
    model.graph.node[3].op_type = "Unheard"
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_raw, "not imported by Edge"),
        (_cut, "cannot be loaded"),
        (_text, "cannot be loaded"),
        (_nothing, "cannot be read"),
        (_strange, "Unheard"),
    ],
)
def test_a_foreign_broken_or_missing_file_is_named_with_what_to_do(
    kind: Kind, tmp_path: Path, make: Callable[[Path], None], says: str
) -> None:
    path = tmp_path / "model.onnx"
    make(path)
    with pytest.raises(PartFailed, match=says) as caught:
        kind.open(path)
    assert "edge model" in caught.value.hint


def test_a_closed_engine_fails_and_does_not_answer(kind: Kind, tmp_path: Path) -> None:
    engine = kind.open(tiny.write(tmp_path / "model.onnx"))
    engine.close()
    with pytest.raises(PartFailed, match="closed"):
        engine.infer(tiny.picture(), [None])
