"""A detector small enough to be built in a test: it sees one person in a bright picture.

Its score is the picture's brightness (0 to 1); its box is always the middle of the picture. It is
written like exported networks are: opset 11, a reshape that names a batch of one, float16
weights behind a Cast, a Constant node, initialisers among the inputs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.catalog.canonical import canonical
from edge.catalog.manifest import Manifest, make_manifest

SIDE = 32
CELLS = 16 + 4 + 1
"""Strides 8, 16 and 32 over 32 x 32 pixels."""
MIDDLE = (8.0, 8.0, 24.0, 24.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A box that the network always answers with: where, which class, how bright makes it sure."""

    centre: tuple[float, float] = (16.0, 16.0)
    size: tuple[float, float] = (16.0, 16.0)
    label: int = 0
    #: score in a white picture
    share: float = 1.0


def network(
    people: tuple[Person, ...] = (Person(),), classes: int = 1, opset: int = 11
) -> onnx.ModelProto:
    """Build a network in the v8 layout, ``[1, 4 + classes, 21]``, input ``[1, 3, 32, 32]``."""
    rows = 4 + classes
    weights = np.zeros((rows, CELLS, 3), np.float32)
    bias = np.zeros((rows, CELLS), np.float32)
    for cell, person in enumerate(people):
        bias[:4, cell] = (*person.centre, *person.size)
        weights[4 + person.label, cell] = person.share / (3 * 255)
    tensors = [
        numpy_helper.from_array(weights.reshape(-1, 3, 1, 1), "weights"),
        numpy_helper.from_array(bias.reshape(-1).astype(np.float16), "bias16"),
    ]
    shape = numpy_helper.from_array(np.array([1, rows, CELLS], np.int64), "shape")
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("Cast", ["bias16"], ["bias"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
        helper.make_node("Conv", ["mean", "weights", "bias"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["output0"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    inputs = [
        images,
        helper.make_tensor_value_info(
            "weights",
            TensorProto.FLOAT,
            [
                rows * CELLS,
                3,
                1,
                1,
            ],
        ),
    ]
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, rows, CELLS])
    graph = helper.make_graph(nodes, "tiny", inputs, [output], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)


def manifest(body: bytes = b"tiny", **changes: object) -> Manifest:
    """Say how the tiny network is fed and read."""
    table: dict[str, object] = {
        "id": "tiny",
        "about": "sees a person where it is bright",
        "family": "v8",
        "licence": "Apache-2.0",
        "sha256": hashlib.sha256(body).hexdigest(),
        "bytes": len(body),
        "labels": {"person": 0},
        "threshold": 0.5,
        "nms_iou": 0.5,
        "input": {"width": SIDE, "height": SIDE, "resize": "stretch", "colour": "BGR"},
    }
    return make_manifest(table | changes, "the tiny manifest")


def write(path: Path, model: onnx.ModelProto | None = None, **changes: Any) -> Path:
    """Write the canonical graph of a tiny network; return its path."""
    model = model or network()
    path.write_bytes(canonical(model, manifest(**changes)).SerializeToString())
    return path


def picture(brightness: int = 255, n: int = 1) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return ``(n, 32, 32, 3)`` pictures of one grey."""
    return np.full((n, SIDE, SIDE, 3), brightness, np.uint8)
