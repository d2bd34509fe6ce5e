"""The demonstration scene: a building site with people, drawn frame by frame, with its truth."""

from __future__ import annotations

import random
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels
from edge.sources.scene_figure import Look
from edge.sources.scene_paint import FigurePainter, Lens, Painted
from edge.sources.scene_site import Site
from edge.sources.scene_walk import Walk

_OPENING = 8 * 3600  # the scene's clock starts at eight in the morning


@dataclass(slots=True)
class _Person:
    walk: Walk
    painter: FigurePainter
    lead: float


class SceneDrawing:
    """Draws frames of a scene. The same seed, size and index give the same bytes.

    Not for several threads at once.
    """

    def __init__(self, seed: int, width: int, height: int, people: int) -> None:
        self._lens = Lens(width, height)
        self._site = Site(seed, self._lens)
        self._people = []
        for i in range(people):
            chance = random.Random(f"{seed}/{i}")  # noqa: S311 (a drawing)
            walk = Walk(chance, self._site.ground)
            look = Look.choose(chance)
            self._people.append(_Person(walk, FigurePainter(look), chance.uniform(0, 60)))

    def draw(
        self, index: int, fps: float
    ) -> tuple[Pixels, NDArray[np.float32], NDArray[np.float32]]:
        """Draw frame ``index`` of a stream of ``fps`` frames a second.

        Returns:
            The picture ``(h, w, 3)`` uint8 BGR; one box a figure ``(n, 4)`` float32 x1 y1 x2 y2,
            the whole figure cut at the picture's edge (without area where it is outside); and
            ``(n,)`` float32, which share of the figure can be seen, 0 to 1.

        """
        seconds = index / fps
        picture = self._site.backdrop(seconds)
        owner = np.zeros(picture.shape[:2], np.uint8)
        boxes = np.zeros((len(self._people), 4), np.float32)
        areas = np.ones(len(self._people), np.float32)
        stances = [person.walk.at(seconds) for person in self._people]
        figures = [
            person.painter.pose(self._lens, stance, seconds + person.lead)
            for person, stance in zip(self._people, stances, strict=True)
        ]
        for person, posed in zip(self._people, figures, strict=True):
            person.painter.shadow(picture, self._lens, posed)
        todo = [(stance.z, i) for i, stance in enumerate(stances)]
        todo += [(cover.z, -1 - i) for i, cover in enumerate(self._site.covers)]
        for _, i in sorted(todo, reverse=True):
            if i < 0:
                self._site.covers[-1 - i].restore(picture, self._site.still, owner)
            else:
                painted = self._people[i].painter.paint(figures[i], stances[i].heading)
                boxes[i], areas[i] = _place(painted, picture, owner, i + 1)
        self._label(picture, seconds)
        self._site.grain(picture, index)
        seen = [_seen(owner, box, i + 1) for i, box in enumerate(boxes)]
        shares = np.minimum(np.array(seen, np.float32) / areas, 1)
        return picture, boxes, shares.astype(np.float32)

    def _label(self, picture: Pixels, seconds: float) -> None:
        now = int(seconds + _OPENING)
        text = f"DEMO  {now // 3600 % 24:02}:{now // 60 % 60:02}:{now % 60:02}"
        scale = picture.shape[0] / 720
        thick = max(1, round(2 * scale))
        at = (round(20 * scale), round(38 * scale))
        for colour, width in (((20, 20, 20), thick + 2), ((245, 245, 245), thick)):
            cv2.putText(
                picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.9 * scale, colour, width, cv2.LINE_AA
            )


def _seen(owner: NDArray[np.uint8], box: NDArray[np.float32], mark: int) -> int:
    """Count the pixels that are a figure's in the end."""
    x0, y0, x1, y1 = box.astype(int)
    if x1 <= x0 or y1 <= y0:
        return 0
    return cv2.countNonZero(cv2.inRange(owner[y0:y1, x0:x1], mark, mark))


def _place(
    painted: Painted, picture: Pixels, owner: NDArray[np.uint8], mark: int
) -> tuple[tuple[float, float, float, float], float]:
    """Lay a figure over the picture; return its box and its area in pixels."""
    height, width = picture.shape[:2]
    solid = cv2.inRange(painted.pixels[:, :, 3], 110, 255)
    area = float(max(1, cv2.countNonZero(solid)))
    x, y, w, h = cv2.boundingRect(solid)
    x, y = x + painted.left, y + painted.top
    x0, x1 = (float(min(max(edge, 0), width)) for edge in (x, x + w))
    y0, y1 = (float(min(max(edge, 0), height)) for edge in (y, y + h))
    left, top = max(painted.left, 0), max(painted.top, 0)
    right = min(painted.left + painted.pixels.shape[1], width)
    bottom = min(painted.top + painted.pixels.shape[0], height)
    if right > left and bottom > top:
        rows = slice(top - painted.top, bottom - painted.top)
        columns = slice(left - painted.left, right - painted.left)
        b, g, r, cover = cv2.split(painted.pixels[rows, columns])
        let = 255 - cover
        view = picture[top:bottom, left:right]
        under = cv2.multiply(view, cv2.merge([let, let, let]), scale=1 / 255)
        cv2.add(under, cv2.merge([b, g, r]), dst=under)
        view[:] = under
        cv2.copyTo(np.full_like(cover, mark), solid[rows, columns], owner[top:bottom, left:right])
    return (x0, y0, x1, y1), area
