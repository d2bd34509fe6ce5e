from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge.stages.engines.suppress import suppress

Floats = NDArray[np.float32]


def crowd(seed: int, people: int = 300) -> tuple[Floats, Floats]:
    """Return boxes in heaps, and falling scores."""
    dice = np.random.default_rng(seed)
    centre = dice.choice(dice.uniform(0, 400, (people // 10, 2)), people) + dice.normal(
        0, 6, (people, 2)
    )
    half = dice.uniform(5, 40, (people, 2))
    boxes = np.concatenate([centre - half, centre + half], 1).astype(np.float32)
    return boxes, np.sort(dice.uniform(0, 1, people).astype(np.float32))[::-1].copy()


def by_onnx(boxes: Floats, scores: Floats, iou: float, floor: float) -> list[int]:
    """Ask ONNX Runtime's own NonMaxSuppression."""
    constants: dict[str, NDArray[Any]] = {
        "most": np.array([1000], np.int64),
        "iou": np.array([iou], np.float32),
        "floor": np.array([floor], np.float32),
    }
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", *constants], ["kept"])
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "nms",
        [
            value("boxes", TensorProto.FLOAT, [1, "k", 4]),
            value("scores", TensorProto.FLOAT, [1, 1, "k"]),
        ],
        [value("kept", TensorProto.INT64, ["m", 3])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed: dict[str, Any] = {"boxes": boxes[None], "scores": scores[None, None]}
    kept: NDArray[np.int64] = session.run(["kept"], feed)[0]
    return sorted(kept[:, 2].tolist())


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("iou", [0.3, 0.5, 0.6])
def test_it_keeps_whom_onnx_runtime_keeps(seed: int, iou: float) -> None:
    boxes, scores = crowd(seed)
    keep = suppress(boxes, scores, np.zeros(len(boxes), np.int32), iou, 0.01)
    assert np.flatnonzero(keep).tolist() == by_onnx(boxes, scores, iou, 0.01)


def test_a_higher_floor_changes_nothing_above_it() -> None:
    boxes, scores = crowd(7)
    labels = np.zeros(len(boxes), np.int32)
    low = suppress(boxes, scores, labels, 0.5, 0.01)
    assert np.array_equal(suppress(boxes, scores, labels, 0.5, 0.4), low & (scores >= 0.4))


def test_people_of_different_labels_do_not_silence_each_other() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    keep = suppress(boxes, scores, np.array([0, 1, 0], np.int32), 0.5, 0.01)
    assert keep.tolist() == [True, True, False]


def test_who_was_silenced_silences_nobody() -> None:
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    keep = suppress(boxes, scores, np.zeros(3, np.int32), 0.4, 0.01)
    assert keep.tolist() == [True, False, True]


def test_a_box_without_an_area_silences_nobody_and_stays() -> None:
    boxes = np.array([[5, 5, 5, 5], [0, 0, 10, 10], [5, 5, 5, 5]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    assert suppress(boxes, scores, np.zeros(3, np.int32), 0.1, 0.01).all()


def test_nobody_is_kept_of_nobody() -> None:
    empty = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32)
    assert suppress(*empty, 0.5, 0.01).shape == (0,)


def test_a_box_that_is_no_number_stays_for_the_engine_to_refuse() -> None:
    boxes = np.array([[0, 0, 10, 10], [np.nan, 0, 10, 10]], np.float32)
    keep = suppress(boxes, np.array([0.9, 0.8], np.float32), np.zeros(2, np.int32), 0.1, 0.01)
    assert keep.tolist() == [True, True]
