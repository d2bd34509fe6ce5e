"""FastestDet: one map ``[n, 5 + c, h, w]`` of objectness, four box values and classes.

The box is ``tanh`` and ``sigmoid`` of its values relative to the picture; the score is
``objectness^0.6 * class^0.4`` (github.com/dog-qiuqiu/FastestDet, example/onnx-runtime).
"""

from __future__ import annotations

import numpy as np

from edge.catalog.families.family import Family, Found, Network, pick
from edge.catalog.glue import Glue

_STRIDE = 16


def _classes(network: Network) -> int | None:
    width, height = network.size
    if len(network.shapes) != 1 or len(network.shapes[0]) != 4:
        return None
    _, rows, down, across = network.shapes[0]
    if (down, across) != (height // _STRIDE, width // _STRIDE) or rows is None or rows < 6:
        return None
    return rows - 5


def _decode(network: Network, glue: Glue, outputs: list[str], wanted: list[int]) -> Found:
    width, height = network.size
    down, across = height // _STRIDE, width // _STRIDE
    flat = glue.op("Reshape", outputs[0], glue.ints(0, 0, down * across))
    cells = glue.op("Transpose", flat, perm=[0, 2, 1])
    seen = glue.op("Pow", glue.columns(cells, 0, 1, 2), glue.number(0.6))
    kind = glue.op("Pow", pick(glue, cells, [5 + index for index in wanted]), glue.number(0.4))
    below, right = np.mgrid[:down, :across]
    corner = np.stack([right.ravel(), below.ravel()], 1).astype(np.float32)
    moved = glue.op("Add", glue.op("Tanh", glue.columns(cells, 1, 3, 2)), glue.const(corner))
    step = np.array([width / across, height / down], np.float32)
    centre = glue.op("Mul", moved, glue.const(step))
    share = glue.op("Sigmoid", glue.columns(cells, 3, 5, 2))
    size = glue.op("Mul", share, glue.const(np.array(network.size, np.float32)))
    return Found(boxes=glue.corners(centre, size), scores=glue.op("Mul", seen, kind))


FASTESTDET = Family(
    name="fastestdet",
    looks="1 output [n, 5 + classes, h, w], stride 16",
    classes=_classes,
    decode=_decode,
    usual={"resize": "stretch", "colour": "BGR", "scale": 1 / 255},
    threshold=0.5,
    nms_iou=0.45,
)
