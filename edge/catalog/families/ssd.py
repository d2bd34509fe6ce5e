"""SSD with its prior boxes decoded inside: boxes ``[n, a, 4]`` of 0 to 1, scores ``[n, a, c]``.

One class is the background, and which one differs from network to network.
"""

from __future__ import annotations

import numpy as np

from edge.catalog.families.family import Family, Found, Network, pick
from edge.catalog.glue import Glue


def _classes(network: Network) -> int | None:
    shapes = network.shapes
    if len(shapes) != 2 or any(len(shape) != 3 for shape in shapes):
        return None
    boxes, scores = shapes
    if boxes[2] != 4 or boxes[1] is None or boxes[1] != scores[1]:
        return None
    return scores[2]


def _decode(network: Network, glue: Glue, outputs: list[str], wanted: list[int]) -> Found:
    width, height = network.size
    size = glue.const(np.array([width, height, width, height], np.float32))
    return Found(boxes=glue.op("Mul", outputs[0], size), scores=pick(glue, outputs[1], wanted))


SSD = Family(
    name="ssd",
    looks="boxes [n, a, 4] of 0 to 1 and scores [n, a, classes], in this order",
    classes=_classes,
    decode=_decode,
    person={},
    nms_iou=0.45,
)
