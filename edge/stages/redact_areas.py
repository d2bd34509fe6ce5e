"""Where a picture must be covered: detections grown by the margin, as areas of whole pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.config.privacy import Margin
from edge.detections import Detections

LEAST = 8
"""No area is narrower or lower than this many pixels, unless the picture is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """A rectangle inside the picture, never empty."""

    x1: int
    y1: int
    x2: int
    y2: int
    #: ``(y2 - y1, x2 - x1)`` uint8, not 0 where it is covered; None: the whole rectangle is
    mask: NDArray[np.uint8] | None = None

    @property
    def pixels(self) -> int:
        """How many pixels the rectangle has."""
        return (self.x2 - self.x1) * (self.y2 - self.y1)


def areas(seen: Detections, size: tuple[int, int], margin: Margin) -> list[Area]:
    """Return what must be covered in a picture of ``size`` (width, height), largest first.

    A detection with a mask is covered where its mask is, grown by the margin. One without, or
    whose mask is empty, is covered all over its box. Boxes that do not touch the picture, margin
    included, are left out.
    """
    found = []
    by_box = np.ones(len(seen), np.bool_)
    for n, mask in enumerate(seen.masks if seen.masks is not None else ()):
        if mask.any():
            found.append(_of_mask(mask.view(np.uint8), margin))
            by_box[n] = False
    found += _of_boxes(seen.boxes[by_box], size, margin)
    return sorted(found, key=lambda area: -area.pixels)


def _of_boxes(boxes: NDArray[np.float32], size: tuple[int, int], margin: Margin) -> list[Area]:
    """Return the areas of ``(n, 4)`` boxes: grown, rounded outwards, cut at the picture's edge."""
    width, height = size
    x1, y1, x2, y2 = boxes.astype(np.float64).T
    wide, high = x2 - x1, y2 - y1
    x1, x2 = x1 - margin.left * wide, x2 + margin.right * wide
    y1, y2 = y1 - margin.top * high, y2 + margin.bottom * high
    touches = (x2 >= 0) & (y2 >= 0) & (x1 <= width) & (y1 <= height)
    left, right = _span(x1[touches], x2[touches], width)
    top, bottom = _span(y1[touches], y2[touches], height)
    rows = np.column_stack((left, top, right, bottom)).tolist()
    return [Area(x1=a, y1=b, x2=c, y2=d) for a, b, c, d in rows]


def _span(
    low: NDArray[np.float64], high: NDArray[np.float64], limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Round spans outwards, cut them to 0..limit, and widen them to LEAST where there is room."""
    start = np.floor(low).clip(0, limit).astype(np.int64)
    end = np.ceil(high).clip(0, limit).astype(np.int64)
    least = min(LEAST, limit)
    short = end - start < least
    widened = ((start + end - least) // 2).clip(0, limit - least)
    return np.where(short, widened, start), np.where(short, widened + least, end)


def _of_mask(mask: NDArray[np.uint8], margin: Margin) -> Area:
    """Return the area of one mask (the picture's size, not empty), grown by the margin."""
    x, y, wide, high = cv2.boundingRect(mask)
    spare_x, spare_y = max(0, LEAST - wide + 1) // 2, max(0, LEAST - high + 1) // 2
    left, right = (math.ceil(part * wide) + spare_x for part in (margin.left, margin.right))
    top, bottom = (math.ceil(part * high) + spare_y for part in (margin.top, margin.bottom))
    height, width = mask.shape
    x1, x2 = max(0, x - left), min(width, x + wide + right)
    y1, y2 = max(0, y - top), min(height, y + high + bottom)
    # A pixel is covered if the mask has one up to ``left`` to its right, ``right`` to its left …
    kernel = np.ones((top + bottom + 1, left + right + 1), np.uint8)
    grown = cv2.dilate(mask[y1:y2, x1:x2], kernel, anchor=(right, bottom))
    return Area(x1=x1, y1=y1, x2=x2, y2=y2, mask=grown.astype(np.uint8, copy=False))
