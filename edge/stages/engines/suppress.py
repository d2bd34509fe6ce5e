"""Non-maximum suppression on a few hundred boxes, as the canonical graph does it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def suppress(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.integer],
    iou: float,
    floor: float,
) -> NDArray[np.bool_]:
    """Say which boxes stay: each stronger one silences those of its label that overlap it.

    Greedy, like ONNX ``NonMaxSuppression``, which the canonical graph uses; who goes is decided by
    stronger boxes only, so a higher ``floor`` changes nothing above it. Boxes without an area
    silence nobody.

    Args:
        boxes: ``(k, 4)`` x1 y1 x2 y2.
        scores: ``(k,)``, falling, finite.
        labels: ``(k,)``.
        iou: of two boxes that overlap more than this, the weaker goes.
        floor: scores below are nothing. An engine gives its threshold: fewer boxes, same answer.

    Returns:
        ``(k,)`` bool.

    """
    keep = scores >= np.float32(floor)
    rows = np.flatnonzero(keep)
    if not len(rows):
        return keep
    clash = _clash(boxes[rows], labels[rows], np.float32(iou))
    silent = np.zeros(len(rows), np.bool_)
    # What is in rows above the diagonal are weaker boxes: a row that is silent silences nobody.
    for row in np.flatnonzero(clash.any(axis=1)):
        if not silent[row]:
            silent |= clash[row]
    keep[rows[silent]] = False
    return keep


def _clash(
    boxes: NDArray[np.float32], labels: NDArray[np.integer], iou: np.float32
) -> NDArray[np.bool_]:
    """Return ``(m, m)``: the box of this row silences that of the column."""
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    area = (high - low).prod(axis=1)
    sides = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    common = sides.clip(0).prod(axis=2)
    union = area[:, None] + area[None] - common
    with np.errstate(divide="ignore", invalid="ignore"):
        over = common / union > iou
    real = area > 0
    over &= (union > 0) & real[:, None] & real[None] & (labels[:, None] == labels[None])
    return np.triu(over, 1)
