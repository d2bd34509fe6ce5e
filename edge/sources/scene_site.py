"""The building site of the demonstration scene: what stands still, what hides people, the crane."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels
from edge.sources import scene_props as props
from edge.sources.scene_backdrop import draw_backdrop
from edge.sources.scene_paint import Lens
from edge.sources.scene_props import Box, Drafter
from edge.sources.scene_walk import Ground

_WIDE = 0.711
"""The spread of a picture of 16 to 9: positions are given for it, others are squeezed."""


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
        cv2.bitwise_and(owner[rows, columns], 255 - self.mask, dst=owner[rows, columns])


class Site:
    """The site. ``still`` is drawn once; a frame is a copy of it with what moves on top.

    Args:
        seed: the same seed draws the same site.
        lens: how it is looked at.

    """

    def __init__(self, seed: int, lens: Lens) -> None:
        self._lens = lens
        chance = np.random.default_rng(seed)
        spread = 0.5 * lens.width / lens.focal
        self._squeeze = spread / _WIDE
        self.covers: list[Cover] = []
        self._obstacles: list[tuple[float, float, float, float]] = []
        picture = draw_backdrop(lens, chance)
        self._furnish(picture, chance)
        self.ground = Ground(5.5, 21.0, spread, tuple(self._obstacles))
        rough = 5 * chance.standard_normal(picture.shape[:2], np.float32)
        soft = cv2.GaussianBlur(picture, (0, 0), 0.7 * lens.height / 720 + 0.1)
        self.still = np.ascontiguousarray(
            np.clip(soft + cv2.blur(rough, (2, 2))[:, :, None], 2, 246), np.uint8
        )
        grain = 3 + 1.5 * chance.standard_normal((lens.height + 64, lens.width + 64), np.float32)
        self._grain = np.asarray(cv2.merge([np.clip(np.rint(grain), 0, 9).astype(np.uint8)] * 3))

    def backdrop(self, seconds: float) -> Pixels:
        """Return a new picture of the site at a time, without people and without noise."""
        picture = self.still.copy()
        _crane(Drafter(picture, self._lens), seconds, self._squeeze)
        return picture

    def grain(self, picture: Pixels, index: int) -> None:
        """Add the sensor's noise to a picture, another each frame."""
        down, right = (index * 37) % 64, (index * 23) % 64
        h, w = picture.shape[:2]
        cv2.add(picture, self._grain[down : down + h, right : right + w], dst=picture)

    def _furnish(self, picture: Pixels, chance: np.random.Generator) -> None:
        """Put everything where it stands, the farthest first."""
        draft = Drafter(picture, self._lens)
        k = self._squeeze
        shift = chance.uniform(-0.4, 0.4, 8).tolist()
        office = (-11.2 * k + shift[0], -5.2 * k + shift[0], 16.6, 18.8, 0.0, 2.6)
        upper = (office[0] + 0.5, office[1] - 0.4, 16.7, 18.8, 2.6, 5.1)
        self._put(draft, office, lambda: _offices(draft, office, upper))
        if k < 0.6:  # too narrow for more: people need room to walk
            return
        heap = (8.6 * k + shift[1], 15.6)
        self._put(
            draft,
            (heap[0] - 1.9, heap[0] + 1.9, 15.2, 16.2, 0.0, 1.2),
            lambda: props.sand(draft, heap, chance),
        )
        machine = (4.1 * k + shift[2], 12.6)
        tracks = (machine[0], machine[0] + 3.3, 12.4, 13.6, 0.0, 1.9)
        self._put(draft, tracks, lambda: props.digger(draft, machine))
        stack = (-1.9 * k + shift[3], -0.1 * k + shift[3], 10.6, 11.5, 0.0, 1.05)
        self._put(draft, stack, lambda: props.bricks(draft, stack))
        booth = (-5.6 * k + shift[4], -4.5 * k + shift[4], 8.8, 9.8, 0.0, 2.3)
        self._put(draft, booth, lambda: props.toilet(draft, booth))
        wall = (1.9 * k + shift[5], 4.3 * k + shift[5], 6.9, 7.3, 0.0, 0.85)
        self._put(draft, wall, lambda: props.barrier(draft, wall))
        for x, z in ((-2.3, 6.6), (0.9, 8.9)):
            spot = (x * k + shift[6], z)
            box = (spot[0] - 0.15, spot[0] + 0.15, z - 0.1, z + 0.1, 0.0, 0.6)
            self._put(draft, box, lambda spot=spot: props.cone(draft, spot))  # type: ignore[misc]

    def _put(self, draft: Drafter, box: Box, draw: Callable[[], None]) -> None:
        """Draw a prop with its shadow; remember its shape, and that nobody walks through it."""
        draft.shadow(box)
        before = draft.picture.copy()
        draw()
        same = cv2.inRange(cv2.absdiff(draft.picture, before), (0, 0, 0), (0, 0, 0))
        mask = np.asarray(cv2.bitwise_not(same), np.uint8)
        mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)))
        x, y, w, h = cv2.boundingRect(mask)
        self._obstacles.append(box[:4])
        if w and h:
            middle = (box[2] + box[3]) / 2
            self.covers.append(Cover(middle, x, y, mask[y : y + h, x : x + w].copy()))


def _offices(draft: Drafter, lower: Box, upper: Box) -> None:
    props.container(draft, lower, (178, 140, 92))
    props.container(draft, upper, (196, 196, 190))
    x, z = lower[1] - 0.9, lower[2] - 0.02
    for step in range(2):
        draft.line((x + 0.5 * step, 0, z), (x - 1.6 + 0.5 * step, 2.6, z), (88, 92, 96), 0.06)


def _crane(draft: Drafter, seconds: float, squeeze: float) -> None:
    """Draw the tower crane far away; its jib swings to and fro."""
    x, z, high, colour = -34.0 * squeeze, 110.0, 19.5, (62, 150, 205)
    _mast(draft, (x, z), high, colour)
    angle = 0.35 + 1.1 * math.sin(seconds / 19)
    right, away = math.cos(angle), math.sin(angle)
    top = high + 1.6

    def along(metres: float, up: float) -> tuple[float, float, float]:
        return x + metres * right, up, z + metres * away

    draft.line(along(-9, high), along(28, high), colour, 0.3)
    draft.line(along(-2, top), along(27, top - 0.6), colour, 0.2)
    for metres in range(-2, 27, 2):
        draft.line(along(metres, high), along(metres + 1, top - 0.3), colour, 0.1)
        draft.line(along(metres + 1, top - 0.3), along(metres + 2, high), colour, 0.1)
    draft.line(along(0, high + 4), along(20, top), (70, 74, 78), 0.1)
    draft.line(along(0, high + 4), along(-8, high), (70, 74, 78), 0.1)
    draft.line(along(-8.5, high - 0.8), along(-6, high - 0.8), (110, 112, 115), 1.6)
    trolley = 15 + 7 * math.sin(seconds / 13)
    hook = high - 6 - 2.5 * math.sin(seconds / 7)
    draft.line(along(trolley, high), along(trolley, hook), (60, 62, 66), 0.1)
    draft.line(along(trolley - 1.5, hook), along(trolley + 1.5, hook), (75, 88, 105), 0.7)


def _mast(
    draft: Drafter, at: tuple[float, float], high: float, colour: tuple[int, int, int]
) -> None:
    x, z = at
    for side in (-0.7, 0.7):
        draft.line((x + side, 0, z), (x + side, high + 0.5, z), colour, 0.3)
    for y in range(0, int(high), 2):
        draft.line((x - 0.7, y, z), (x + 0.7, y + 2, z), colour, 0.1)
    draft.line((x, high, z), (x, high + 4, z), colour, 0.3)
    draft.line((x + 0.9, high - 0.7, z), (x + 2.1, high - 0.7, z), (120, 100, 82), 1.3)
