"""YOLOX, not decoded: ``[n, a, 5 + c]``, columns x y w h, objectness, classes.

Ge et al., "YOLOX", 2021: ``xy`` is relative to the cell, ``wh`` is a logarithm, both in strides.
"""

from __future__ import annotations

from edge.catalog.families.family import Family, Found, Network, grid, pick
from edge.catalog.glue import Glue

_STRIDES = (8, 16, 32)


def _classes(network: Network) -> int | None:
    if len(network.shapes) != 1 or len(network.shapes[0]) != 3:
        return None
    _, cells, columns = network.shapes[0]
    if cells != network.cells(_STRIDES) or columns is None or columns < 6:
        return None
    return columns - 5


def _decode(network: Network, glue: Glue, outputs: list[str], wanted: list[int]) -> Found:
    raw = outputs[0]
    cells, strides = grid(network.size, _STRIDES)
    stride = glue.const(strides)
    moved = glue.op("Add", glue.columns(raw, 0, 2, 2), glue.const(cells))
    centre = glue.op("Mul", moved, stride)
    size = glue.op("Mul", glue.op("Exp", glue.columns(raw, 2, 4, 2)), stride)
    scores = glue.op(
        "Mul", glue.columns(raw, 4, 5, 2), pick(glue, raw, [5 + index for index in wanted])
    )
    return Found(boxes=glue.corners(centre, size), scores=scores)


YOLOX = Family(
    name="yolox",
    looks="1 output [n, a, 5 + classes], not decoded, strides 8 to 32",
    classes=_classes,
    decode=_decode,
    usual={"resize": "letterbox", "pad": 114, "colour": "BGR"},
    threshold=0.25,
)
