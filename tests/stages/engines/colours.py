"""A small classifier that tells red, green and blue pictures apart, in every form there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LABELS = ("red", "green", "blue")
#: RGB, 0 to 1
RECIPE = 'colour = "RGB"\nmean = [0, 0, 0]\nstd = [255, 255, 255]\n'
SIDE = 8


def network(
    *,
    channels_first: bool = True,
    dtype: int = TensorProto.FLOAT,
    shape: Sequence[int | str | None] | None = None,
    softmax: bool = True,
    weights: Sequence[Sequence[float]] = ((9, 0, 0), (0, 9, 0), (0, 0, 9)),
    trailing: bool = False,
    outputs: Sequence[str] = ("prob",),
) -> onnx.ModelProto:
    """Return mean colour times ``weights``; its first ``n`` outputs are all the same scores.

    Args:
        channels_first: NCHW, else NHWC.
        dtype: of the input; uint8 is divided by 255 inside.
        shape: of the input, else one picture of ``SIDE``.
        softmax: whether it ends with one.
        weights: one row a class.
        trailing: answer (1, k, 1, 1), as old Caffe models do.
        outputs: names of the outputs.

    """
    usual = (1, 3, SIDE, SIDE) if channels_first else (1, SIDE, SIDE, 3)
    nodes = [helper.make_node("Cast", ["image"], ["numbers"], to=TensorProto.FLOAT)]
    nodes += [helper.make_node("Div", ["numbers", "scale"], ["scaled"])]
    axes = [2, 3] if channels_first else [1, 2]
    nodes += [helper.make_node("ReduceMean", ["scaled"], ["means"], axes=axes, keepdims=0)]
    nodes += [helper.make_node("MatMul", ["means", "weights"], ["logits"])]
    nodes += [helper.make_node("Softmax" if softmax else "Identity", ["logits"], ["scores"])]
    nodes += [helper.make_node("Reshape", ["scores", "form"], [name]) for name in outputs]
    classes = len(weights)
    form = [-1, classes, 1, 1] if trailing else [-1, classes]
    scale = 255.0 if dtype == TensorProto.UINT8 else 1.0
    constants: dict[str, Any] = {
        "scale": np.float32(scale),
        "weights": np.array(weights, np.float32).T,
        "form": np.array(form, np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("image", dtype, usual if shape is None else shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def as_many_as_bright() -> onnx.ModelProto:
    """Return a model that answers with as many equal scores as the brightest value says."""
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["brightest"], keepdims=0),
        helper.make_node("Reshape", ["brightest", "one"], ["many"]),
        helper.make_node("Cast", ["many"], ["form"], to=TensorProto.INT64),
        helper.make_node("Expand", ["unit", "form"], ["ones"]),
        helper.make_node("Div", ["ones", "many"], ["prob"]),
    ]
    constants: dict[str, Any] = {"one": np.array([1], np.int64), "unit": np.array([1], np.float32)}
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("prob", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def write(
    place: Path,
    model: onnx.ModelProto | None = None,
    *,
    labels: Sequence[str] | None = LABELS,
    recipe: str = RECIPE,
) -> Path:
    """Write a model with what lies beside it; return its path."""
    place.mkdir(parents=True, exist_ok=True)
    path = place / "colours.v1.onnx"
    path.write_bytes((model or network()).SerializeToString())
    if labels is not None:
        (place / "colours.v1.labels.txt").write_text("\n".join(labels) + "\n")
    if recipe:
        (place / "colours.v1.toml").write_text(recipe)
    return path


def picture(red: int, green: int, blue: int, width: int = SIDE, height: int = SIDE) -> Any:
    """Return a BGR picture of one colour."""
    return np.full((height, width, 3), (blue, green, red), np.uint8)
