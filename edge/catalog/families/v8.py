"""The layout that YOLOv8 made common: ``[n, 4 + c, a]``, rows cx cy w h in pixels, then classes."""

from __future__ import annotations

from edge.catalog.families.family import Family, Found, Network, pick
from edge.catalog.glue import Glue

_STRIDES = (8, 16, 32)


def _classes(network: Network) -> int | None:
    if len(network.shapes) != 1 or len(network.shapes[0]) != 3:
        return None
    _, rows, cells = network.shapes[0]
    if cells != network.cells(_STRIDES) or rows is None or rows < 5:
        return None
    return rows - 4


def _decode(_: Network, glue: Glue, outputs: list[str], wanted: list[int]) -> Found:
    boxes = glue.op("Transpose", glue.columns(outputs[0], 0, 4, 1), perm=[0, 2, 1])
    scores = pick(glue, outputs[0], [4 + index for index in wanted], axis=1)
    centre, size = glue.columns(boxes, 0, 2, 2), glue.columns(boxes, 2, 4, 2)
    return Found(
        boxes=glue.corners(centre, size), scores=glue.op("Transpose", scores, perm=[0, 2, 1])
    )


V8 = Family(
    name="v8",
    looks="1 output [n, 4 + classes, a], decoded to pixels",
    classes=_classes,
    decode=_decode,
    usual={"resize": "letterbox", "pad": 114, "colour": "RGB", "scale": 1 / 255},
    threshold=0.25,
)
