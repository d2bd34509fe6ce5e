"""The building site of the demonstration scene: what stands still, what hides people, the crane."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels
from edge.sources.scene_paint import Lens
from edge.sources.scene_walk import Ground


@dataclass(frozen=True, slots=True)
class Cover:
    """Something that hides who is behind it: its depth, its place in the picture, its shape."""

    z: float
    left: int
    top: int
    #: ``(h, w)`` uint8, 255 where it is
    mask: NDArray[np.uint8]

    def restore(self, picture: Pixels, still: Pixels, owner: NDArray[np.uint8]) -> None:
        """Put it back in front of what was drawn so far."""
        h, w = self.mask.shape
        rows, columns = slice(self.top, self.top + h), slice(self.left, self.left + w)
        cv2.copyTo(still[rows, columns], self.mask, picture[rows, columns])
        owner[rows, columns][self.mask > 0] = 0


class Site:
    """The site: ``still`` is drawn once."""

    def __init__(self, seed: int, lens: Lens) -> None:
        self._lens = lens
        self._chance = np.random.default_rng(seed)
        self.covers: list[Cover] = []
        spread = 0.5 * lens.width / lens.focal
        self.ground = Ground(5.4, 21.0, spread, ())
        self.still = self._draw_still()
        grain = self._chance.normal(3.0, 1.6, (lens.height + 64, lens.width + 64, 3))
        self._grain = np.clip(np.round(grain), 0, 12).astype(np.uint8)

    def backdrop(self) -> Pixels:
        """Return a new picture of the site without people."""
        return self.still.copy()

    def grain(self, picture: Pixels, index: int) -> None:
        """Add the sensor's noise to a picture, another each frame."""
        down, right = (index * 37) % 64, (index * 23) % 64
        h, w = picture.shape[:2]
        cv2.add(picture, self._grain[down : down + h, right : right + w], dst=picture)

    def _draw_still(self) -> Pixels:
        lens = self._lens
        h, w = lens.height, lens.width
        rows = np.arange(h, dtype=np.float32)[:, None]
        horizon = lens.horizon
        sky = np.array([225, 205, 185]) + (rows / horizon)[..., None] * np.array([5, 22, 35])
        earth = np.array([88, 112, 132]) + ((h - rows) / h)[..., None] * np.array([40, 30, 25])
        still = np.where((rows < horizon)[..., None], sky, earth)
        still = np.broadcast_to(still, (h, w, 3)).astype(np.float32)
        rough = self._chance.normal(0, 14, (h, w)).astype(np.float32)
        rough = cv2.GaussianBlur(rough, (0, 0), 1.2) + 2 * cv2.GaussianBlur(rough, (0, 0), 6)
        still = still + (rough * (rows >= horizon))[..., None]
        return np.ascontiguousarray(np.clip(still, 0, 250), np.uint8)
