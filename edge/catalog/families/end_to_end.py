"""Networks with their NMS inside: boxes ``[k, 4]``, scores ``[k]``, labels ``[k]``; k may be 0.

They judge one picture a run, so the canonical graph keeps a batch of one.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from edge.catalog.families.family import Family, Found, Network
from edge.catalog.glue import Glue

_ROOM = 300
"""Empty rows behind the network's own, so that the number of results is the same every time."""


def _classes(network: Network) -> int | None:
    ranks = [len(shape) for shape in network.shapes]
    if ranks != [2, 1, 1] or network.shapes[0][1] != 4:
        return None
    # The labels are numbers: how many classes there are, nobody can tell.
    return 1 << 15


def _decode(_: Network, glue: Glue, outputs: list[str], wanted: list[int]) -> Found:
    boxes = glue.op("Concat", outputs[0], glue.const(np.zeros((_ROOM, 4), np.float32)), axis=0)
    classes = glue.op("Unsqueeze", glue.op("Cast", outputs[2], to=TensorProto.INT64), glue.ints(1))
    own = glue.op("Equal", classes, glue.ints(*wanted))
    scores = glue.op("Unsqueeze", outputs[1], glue.ints(1))
    chosen = glue.op("Where", own, scores, glue.number(0))
    padded = glue.op(
        "Concat", chosen, glue.const(np.zeros((_ROOM, len(wanted)), np.float32)), axis=0
    )
    return Found(
        boxes=glue.op("Unsqueeze", boxes, glue.ints(0)),
        scores=glue.op("Unsqueeze", padded, glue.ints(0)),
    )


END_TO_END = Family(
    name="end_to_end",
    looks="boxes [k, 4] in pixels, scores [k], labels [k], in this order",
    classes=_classes,
    decode=_decode,
    threshold=0.25,
)
