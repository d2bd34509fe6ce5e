"""What a covered area looks like: a coarse grid (cells), one colour (fill), a strong blur (blur).

Each function takes the area's pixels, ``(h, w, 3)`` uint8, and where it is covered, ``(h, w)``
uint8 or None for all over, and returns ``(h, w, 3)`` uint8. What it returns depends on the covered
pixels alone, so that one person's pixels never show in another's area.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels

CELLS = 32
"""Cells of a grid at most. With 3 channels of 4 bits that is 384 bits an area."""
_LEAST_CELL = 4
"""A cell is never smaller than this many pixels: a small person is a few colours."""
_BLUR_CELLS = 20
"""Cells along the longer side from which a blur is drawn, before its Gaussian."""
SAMPLES = 8
"""A cell's mean is taken from so many rows and columns of samples."""
_FOUR_BITS = ((np.arange(256) + 8) // 17 * 17).astype(np.uint8)
"""The nearest of 16 levels, 0 to 255, for each value of a byte."""


def cells(patch: Pixels, mask: NDArray[np.uint8] | None) -> Pixels:
    """Draw the patch from at most 384 bits of it: a grid of mean colours, smoothed for looks."""
    return draw(cell_grid(patch, mask), *patch.shape[:2])


def cell_grid(patch: Pixels, mask: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Return all that ``cells`` keeps: at most 32 colours of three times 16 levels."""
    return _FOUR_BITS[_means(patch, mask, grid_shape(*patch.shape[:2]))]


def draw(grid: NDArray[np.uint8], rows: int, columns: int) -> Pixels:
    """Return the grid as ``(rows, columns, 3)``, one colour flowing into the next."""
    drawn = cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return drawn.astype(np.uint8, copy=False)


def blur(patch: Pixels, mask: NDArray[np.uint8] | None) -> Pixels:
    """Blur the patch in proportion to its size: shrunk, Gaussian, drawn large again.

    More of a person is left than by ``cells``: posture, and sometimes who it was.
    """
    rows, columns = patch.shape[:2]
    side = max(_LEAST_CELL, max(rows, columns) / _BLUR_CELLS)
    shape = (math.ceil(rows / side), math.ceil(columns / side))
    means = _means(patch, mask, shape)
    grid = cv2.GaussianBlur(means, (5, 5), 1.0, borderType=cv2.BORDER_REPLICATE)
    return draw(grid.astype(np.uint8, copy=False), rows, columns)


def fill(patch: Pixels, colour: tuple[int, int, int]) -> Pixels:
    """Draw the patch in one colour (blue, green, red): nothing of it is left."""
    drawn = np.empty(patch.shape, np.uint8)
    rows, columns = patch.shape[:2]
    # NumPy takes twenty times as long to repeat three bytes.
    cv2.rectangle(drawn, (0, 0), (columns - 1, rows - 1), colour, cv2.FILLED)
    return drawn


def grid_shape(rows: int, columns: int) -> tuple[int, int]:
    """Return rows and columns of the grid for a patch: nearly square cells, at most 32 of them."""
    across = round(math.sqrt(CELLS * columns / rows))
    across = min(max(1, across), CELLS, max(1, columns // _LEAST_CELL))
    down = min(CELLS // across, max(1, rows // _LEAST_CELL))
    return down, across


def _means(patch: Pixels, mask: NDArray[np.uint8] | None, shape: tuple[int, int]) -> Pixels:
    """Return the mean colour of each cell, ``(*shape, 3)`` uint8, from 8 x 8 samples of it.

    The means of all pixels (INTER_AREA) differ by a level or two and take twenty times as long.
    """
    down, across = shape
    fine = (across * SAMPLES, down * SAMPLES)
    if mask is None:
        sampled = cv2.resize(patch, fine, interpolation=cv2.INTER_LINEAR)
        means = cv2.resize(sampled, (across, down), interpolation=cv2.INTER_AREA)
        return means.astype(np.uint8, copy=False)
    # Whole pixels only: a sample between two would mix in what is not covered.
    split = (down, SAMPLES, across, SAMPLES, -1)
    values = cv2.resize(patch, fine, interpolation=cv2.INTER_NEAREST).reshape(split)
    inside = cv2.resize(mask, fine, interpolation=cv2.INTER_NEAREST).reshape(split) != 0
    total, count = np.where(inside, values, 0).sum((1, 3)), inside.sum((1, 3))
    # Cells that nothing is covered in show only in what is drawn between cells.
    everywhere = total.sum((0, 1)) // max(1, count.sum())
    means = np.where(count > 0, total // np.maximum(1, count), everywhere)
    return np.asarray(means, np.uint8)
