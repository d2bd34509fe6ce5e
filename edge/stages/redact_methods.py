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
_FOUR_BITS = ((np.arange(256) >> 4) * 17).astype(np.uint8)


def cells(patch: Pixels, mask: NDArray[np.uint8] | None) -> Pixels:
    """Draw the patch from at most 384 bits of it: a grid of mean colours, smoothed for looks."""
    return _drawn(_FOUR_BITS[_means(patch, mask, grid_shape(*patch.shape[:2]))], patch)


def blur(patch: Pixels, mask: NDArray[np.uint8] | None) -> Pixels:
    """Blur the patch in proportion to its size: shrunk, Gaussian, drawn large again.

    More of a person is left than by ``cells``: posture, and sometimes who it was.
    """
    rows, columns = patch.shape[:2]
    side = max(_LEAST_CELL, max(rows, columns) / _BLUR_CELLS)
    shape = (math.ceil(rows / side), math.ceil(columns / side))
    means = _means(patch, mask, shape)
    grid = cv2.GaussianBlur(means, (5, 5), 1.0, borderType=cv2.BORDER_REPLICATE)
    return _drawn(grid.astype(np.uint8, copy=False), patch)


def grid_shape(rows: int, columns: int) -> tuple[int, int]:
    """Return rows and columns of the grid for a patch: nearly square cells, at most 32 of them."""
    across = round(math.sqrt(CELLS * columns / rows))
    across = min(max(1, across), CELLS, max(1, columns // _LEAST_CELL))
    down = min(CELLS // across, max(1, rows // _LEAST_CELL))
    return down, across


def _means(patch: Pixels, mask: NDArray[np.uint8] | None, shape: tuple[int, int]) -> Pixels:
    """Return the mean colour of the covered pixels of each cell, ``(*shape, 3)`` uint8."""
    size = (shape[1], shape[0])
    if mask is None:
        return cv2.resize(patch, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    weight = (mask != 0).astype(np.float32)
    share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA).reshape(*shape, 1)
    total = cv2.resize(patch * weight[..., np.newaxis], size, interpolation=cv2.INTER_AREA)
    total = total.reshape(*shape, 3)
    # Cells without a covered pixel only show in what is drawn between cells.
    everywhere = total.sum((0, 1)) / share.sum()
    means: Pixels = np.where(share > 0, total / np.maximum(share, 1e-6), everywhere)
    return means.round().clip(0, 255).astype(np.uint8)


def _drawn(grid: NDArray[np.uint8], patch: Pixels) -> Pixels:
    """Return the grid at the patch's size, one colour flowing into the next."""
    size = (patch.shape[1], patch.shape[0])
    return cv2.resize(grid, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
