"""Blackout: areas that a camera must never show, burned in before anything looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from edge.config.privacy import Point
from edge.frame import Frame

_SHIFT = 4
"""Fractional bits that OpenCV is told of: a corner is placed to a sixteenth of a pixel."""
_BLACK = (0, 0, 0)


def blackout(frame: Frame, polygons: Sequence[Sequence[Point]]) -> Frame:
    """Return the frame with ``polygons`` black; the same frame where there are none.

    A point is (x, y) in fractions of width and height, and (1, 1) is the outer corner of the last
    pixel. Every pixel that a polygon or its border touches is black, so that a polygon without
    any area blackens a line. A polygon that crosses itself is filled on both sides.
    """
    if not polygons:
        return frame
    pixels = frame.pixels.copy()
    height, width = pixels.shape[:2]
    for polygon in polygons:
        # The centre of pixel 0 is at 0 for OpenCV, and at half a pixel for us.
        corners = np.array(polygon, np.float64) * (width, height) - 0.5
        points = np.round(corners * (1 << _SHIFT)).astype(np.int32)
        # One contour at a time: several in one call would cancel where they overlap.
        cv2.fillPoly(pixels, [points], _BLACK, cv2.LINE_8, _SHIFT)
        # Three pixels wide, so that rounding leaves nothing that the true border touches.
        cv2.polylines(pixels, [points], isClosed=True, color=_BLACK, thickness=3, shift=_SHIFT)
    return replace(frame, pixels=pixels)
