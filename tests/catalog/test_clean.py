from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge.catalog.clean import OPSET, clean, opset_of, shape_of
from edge.errors import PartFailed
from tests.catalog import tiny
from tests.catalog.conftest import Published

SIZE = (tiny.SIDE, tiny.SIDE)


def run(model: onnx.ModelProto, value: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs: list[NDArray[np.float32]] = session.run(None, {session.get_inputs()[0].name: value})
    return outputs


def noise(n: int, size: tuple[int, int]) -> NDArray[np.float32]:
    shape = (n, 3, size[1], size[0])
    return np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


def kinds(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


def test_what_an_engine_cannot_fold_is_gone() -> None:
    before = tiny.network()
    after = clean(before, SIZE)
    assert {value.name for value in before.graph.input} == {"images", "weights"}
    assert {value.name for value in after.graph.input} == {"images"}
    assert kinds(before) >= {"Constant", "Cast"}
    assert not kinds(after) & {"Constant", "Cast"}
    assert not any(t.data_type == TensorProto.FLOAT16 for t in after.graph.initializer)
    assert opset_of(after) == OPSET


def test_the_network_given_stays_as_it_is() -> None:
    model = tiny.network()
    before = model.SerializeToString()
    clean(model, SIZE)
    assert model.SerializeToString() == before


def test_the_batch_is_opened_and_every_picture_gets_its_own_answer() -> None:
    model = clean(tiny.network(), SIZE)
    assert shape_of(model.graph.input[0]) == [None, 3, 32, 32]
    three = noise(3, SIZE)
    (together,) = run(model, three)
    alone = [run(model, three[row : row + 1])[0][0] for row in range(3)]
    assert together == pytest.approx(np.array(alone), abs=1e-6)


def test_a_batch_that_cannot_be_opened_stays_one() -> None:
    model = tiny.network()
    # the last reshape now mixes the batch into another axis
    shape = numpy_helper.from_array(np.array([5, 1, tiny.CELLS], np.int64), "shape")
    model.graph.node[0].attribute[0].t.CopyFrom(shape)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert shape_of(clean(model, SIZE).graph.input[0]) == [1, 3, 32, 32]


def test_prelu_becomes_what_runs_fast_and_means_the_same() -> None:
    slope = numpy_helper.from_array(np.array([0.25, -0.5, 2.0], np.float32).reshape(3, 1, 1), "s")
    graph = helper.make_graph(
        [helper.make_node("PRelu", ["x", "s"], ["y"])],
        "prelu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 32, 32])],
        [slope],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    after = clean(model, SIZE)
    assert "PRelu" not in kinds(after)
    value = noise(1, SIZE)
    assert run(after, value)[0] == pytest.approx(run(model, value)[0], abs=1e-6)


def _spelt_out(third: float = 3.0, *, turned: bool = False) -> onnx.ModelProto:
    """Build ``x * clip(x + 3, 0, 6) / 6`` in four operators."""
    numbers = {"three": third, "low": 0.0, "high": 6.0, "six": 6.0}
    factors = ["gate", "x"] if turned else ["x", "gate"]
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["x", "three"], ["moved"]),
            helper.make_node("Clip", ["moved", "low", "high"], ["gate"]),
            helper.make_node("Mul", factors, ["product"]),
            helper.make_node("Div", ["product", "six"], ["y"]),
        ],
        "swish",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 32, 32])],
        [numpy_helper.from_array(np.array(n, np.float32), name) for name, n in numbers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)


@pytest.mark.parametrize("turned", [False, True])
def test_a_spelt_out_hard_swish_becomes_what_engines_fuse(*, turned: bool) -> None:
    model = _spelt_out(turned=turned)
    after = clean(model, SIZE)
    assert [node.op_type for node in after.graph.node] == ["HardSigmoid", "Mul"]
    assert len(after.graph.initializer) == 0
    value = noise(1, SIZE) * 4
    assert run(after, value)[0] == pytest.approx(run(model, value)[0], abs=1e-6)


def test_what_only_looks_like_a_hard_swish_stays_as_it_is() -> None:
    model = _spelt_out(third=2.5)
    after = clean(model, SIZE)
    assert kinds(after) == {"Add", "Clip", "Mul", "Div"}


def test_what_only_a_branch_uses_is_kept() -> None:
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    branches = {
        f"{which}_branch": helper.make_graph(
            [helper.make_node("Add", ["x", which], ["y"])], which, [], [y]
        )
        for which in ("then", "else")
    }
    graph = helper.make_graph(
        [helper.make_node("If", ["yes"], ["z"], **branches)],
        "branches",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3, 32, 32])],
        [
            numpy_helper.from_array(np.array(True), "yes"),
            *(numpy_helper.from_array(np.ones(1, np.float32), name) for name in ("then", "else")),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    value = noise(1, SIZE)
    assert run(clean(model, SIZE), value)[0] == pytest.approx(value + 1)


def test_a_network_of_another_size_is_named_with_both_sizes() -> None:
    with pytest.raises(PartFailed, match=r"\[1, 3, 32, 32\], expected float32 \[n, 3, 48, 64\]"):
        clean(tiny.network(), (64, 48))


@pytest.mark.parametrize(
    "model", ["picodet_s_416", "yolox_nano_416", "nanodet_m_416", "fastestdet_352"]
)
def test_a_cleaned_network_answers_as_published(model: str, published: Published) -> None:
    size = (352, 352) if model == "fastestdet_352" else (416, 416)
    _agree(published(model), size, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("light_person_192", (192, 192)),
        ("person_detection_0202", (512, 512)),
        ("person_detection_retail_0013", (544, 320)),
        ("yolox_nano_640_e2e", (640, 640)),
    ],
)
def test_a_cleaned_network_with_small_weights_answers_as_published(
    model: str, size: tuple[int, int], published: Published
) -> None:
    _agree(published(model), size, atol=2e-5)


def _agree(file: Path, size: tuple[int, int], atol: float) -> None:
    before = onnx.load(file)
    value = noise(1, size)
    for one, other in zip(run(before, value), run(clean(before, size), value), strict=True):
        assert one.shape == other.shape
        # distances reach 20 before they are decoded, so their rounding is relative
        assert other == pytest.approx(one, abs=atol, rel=atol)
