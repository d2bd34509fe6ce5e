"""PicoDet and NanoDet: scores and box distances a level (generalised focal loss head).

Each box side is a distribution over 8 bins; its mean times the stride is the distance from the
cell's centre. Li et al., "Generalized Focal Loss", 2020; PaddleDetection and NanoDet export it so.
"""

from __future__ import annotations

import numpy as np

from edge.catalog.families.family import Family, Found, Network, grid, pick
from edge.catalog.glue import Glue

_BINS = 8
_SIDES = 4


def _strides(levels: int) -> tuple[int, ...]:
    return tuple(8 << level for level in range(levels))


def _classes(levels: int, network: Network) -> int | None:
    """Expect ``levels`` score maps ``(n, a, c)``, then as many distance maps ``(n, a, 32)``."""
    shapes = network.shapes
    if len(shapes) != 2 * levels or any(len(shape) != 3 for shape in shapes):
        return None
    cells = [network.cells((stride,)) for stride in _strides(levels)]
    fits = all(
        scores[1] == count and distances[1:] == (count, _SIDES * _BINS)
        for scores, distances, count in zip(shapes[:levels], shapes[levels:], cells, strict=True)
    )
    return shapes[0][2] if fits else None


def _decode(
    levels: int, network: Network, glue: Glue, outputs: list[str], wanted: list[int]
) -> Found:
    picked = [pick(glue, scores, wanted) for scores in outputs[:levels]]
    scores = glue.op("Concat", *picked, axis=1)
    raw = glue.op("Concat", *outputs[levels:], axis=1)
    bins = glue.op("Reshape", raw, glue.ints(0, 0, _SIDES, _BINS))
    shares = glue.op("Softmax", bins, axis=3)
    places = glue.const(np.arange(_BINS, dtype=np.float32).reshape(_BINS, 1))
    mean = glue.op("MatMul", shares, places)
    cells, strides = grid(network.size, _strides(levels))
    distances = glue.op(
        "Mul", glue.op("Reshape", mean, glue.ints(0, 0, _SIDES)), glue.const(strides)
    )
    centre = glue.const((cells + np.float32(0.5)) * strides)
    low = glue.op("Sub", centre, glue.columns(distances, 0, 2, 2))
    high = glue.op("Add", centre, glue.columns(distances, 2, 4, 2))
    return Found(boxes=glue.op("Concat", low, high, axis=2), scores=scores)


PICODET = Family(
    name="picodet",
    looks="4 score maps [n, a, classes] and 4 distance maps [n, a, 32], strides 8 to 64",
    classes=lambda network: _classes(4, network),
    decode=lambda network, glue, outputs, wanted: _decode(4, network, glue, outputs, wanted),
    usual={
        "resize": "stretch",
        "colour": "RGB",
        "scale": 1 / 255,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
    },
    nms_iou=0.6,
)

NANODET = Family(
    name="nanodet",
    looks="3 score maps [n, a, classes] and 3 distance maps [n, a, 32], strides 8 to 32",
    classes=lambda network: _classes(3, network),
    decode=lambda network, glue, outputs, wanted: _decode(3, network, glue, outputs, wanted),
    usual={
        "resize": "letterbox",
        "colour": "BGR",
        "mean": (103.53, 116.28, 123.675),
        "std": (57.375, 57.12, 58.395),
    },
    nms_iou=0.6,
)
