"""Things that stand about on the demonstration site, drawn in metres: blocks, and flat outlines."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge.frame import Pixels
from edge.sources.scene_brush import Vector
from edge.sources.scene_figure import Colour
from edge.sources.scene_paint import SHADOW, Lens

_SHIFT = 4
Box = tuple[float, float, float, float, float, float]
"""``x0, x1, z0, z1, y0, y1`` in metres."""
Flat = Sequence[tuple[float, float]]
"""An outline in metres, right and up of a point on the ground."""


class Drafter:
    """Draws props into a picture through a lens, those farther away first."""

    def __init__(self, picture: Pixels, lens: Lens) -> None:
        self.picture, self.lens = picture, lens

    def face(self, points: Sequence[tuple[float, float, float]], colour: Colour) -> None:
        """Fill a polygon given in metres: right, up, away."""
        flat = self.lens.project(np.array(points, np.float64))
        fixed = np.round(flat * (1 << _SHIFT)).astype(np.int32, order="C")
        cv2.fillPoly(self.picture, [fixed], colour, cv2.LINE_AA, _SHIFT)

    def line(
        self,
        a: tuple[float, float, float],
        b: tuple[float, float, float],
        colour: Colour,
        thick: float,
    ) -> None:
        """Draw a line between two points in metres, ``thick`` metres thick."""
        (x0, y0), (x1, y1) = (self._fixed(*point) for point in (a, b))
        width = max(1, round(thick * self.lens.focal / a[2]))
        cv2.line(self.picture, (x0, y0), (x1, y1), colour, width, cv2.LINE_AA, _SHIFT)

    def _fixed(self, x: float, y: float, z: float) -> tuple[int, int]:
        """Project one point; numpy would be slow for so few."""
        scale, unit = self.lens.focal / z, 1 << _SHIFT
        right = self.lens.width / 2 + x * scale
        down = self.lens.horizon + (self.lens.above - y) * scale
        return round(right * unit), round(down * unit)

    def block(self, box: Box, colour: Colour) -> None:
        """Draw a block with its front, the side that can be seen, and its top."""
        x0, x1, z0, z1, y0, y1 = box
        if y1 < self.lens.above:
            self.face([(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)], lit(colour, 1.12))
        if x0 > 0:
            self.face([(x0, y0, z0), (x0, y1, z0), (x0, y1, z1), (x0, y0, z1)], lit(colour, 0.92))
        elif x1 < 0:
            self.face([(x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)], lit(colour, 0.55))
        self.rectangle((x0, x1, y0, y1), z0, lit(colour, 0.82))

    def rectangle(self, sides: tuple[float, float, float, float], z: float, colour: Colour) -> None:
        """Fill an upright rectangle ``x0, x1, y0, y1`` that faces the camera."""
        x0, x1, y0, y1 = sides
        self.face([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], colour)

    def outline(self, at: tuple[float, float], shape: Flat, colour: Colour) -> None:
        """Fill an upright outline at ``x, z``."""
        self.face([(at[0] + x, y, at[1]) for x, y in shape], colour)

    def wheel(
        self, at: tuple[float, float], centre: tuple[float, float, float], colour: Colour
    ) -> None:
        """Draw a disc that faces the camera: ``centre`` is right, up, radius."""
        angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        x, y, radius = centre
        ring = zip(x + radius * np.cos(angles), y + radius * np.sin(angles), strict=True)
        self.outline(at, [(float(a), float(b)) for a, b in ring], colour)

    def shadow(self, box: Box) -> None:
        """Darken the ground where a block keeps the sun off."""
        x0, x1, z0, z1, _, high = box
        corners = [(x, z) for x in (x0, x1) for z in (z0, z1)]
        thrown = [(x + high * SHADOW[0], z + high * SHADOW[1]) for x, z in corners]
        ground = np.array([(x, 0.0, z) for x, z in corners + thrown])
        hull = cv2.convexHull(self.lens.project(ground).astype(np.float32))
        mask = np.zeros(self.picture.shape[:2], np.uint8)
        cv2.fillConvexPoly(mask, np.round(hull).astype(np.int32), 105, cv2.LINE_AA)
        self.darken(mask)

    def darken(self, mask: Vector | Pixels) -> None:
        """Take light away where ``mask`` ``(h, w)`` uint8 says, softly; 255 would be black."""
        let = 255 - cv2.GaussianBlur(np.asarray(mask, np.uint8), (0, 0), 1.5)
        self.picture[:] = cv2.multiply(self.picture, cv2.merge([let, let, let]), scale=1 / 255)


def lit(colour: Colour, light: float) -> Colour:
    """Return a colour under some light."""
    b, g, r = (min(255, int(part * light)) for part in colour)
    return b, g, r


def container(draft: Drafter, box: Box, colour: Colour) -> None:
    """Draw a site container: corrugated, with a door and a window."""
    draft.block(box, colour)
    x0, x1, z0, _, y0, y1 = box
    for x in np.arange(x0 + 0.2, x1, 0.28).tolist():
        draft.rectangle((x, x + 0.09, y0 + 0.1, y1 - 0.12), z0, lit(colour, 0.70))
    draft.rectangle((x0, x1, y1 - 0.12, y1), z0, lit(colour, 0.62))
    draft.rectangle((x0, x1, y0, y0 + 0.12), z0, lit(colour, 0.50))
    door = x0 + 0.25 * (x1 - x0)
    draft.rectangle((door, door + 0.95, y0 + 0.1, y0 + 2.15), z0, lit(colour, 0.95))
    draft.rectangle((door + 0.8, door + 0.86, y0 + 1.0, y0 + 1.2), z0, (60, 60, 60))
    window = x0 + 0.58 * (x1 - x0)
    draft.rectangle((window - 0.06, window + 1.36, y0 + 0.99, y0 + 2.06), z0, (225, 228, 230))
    draft.rectangle((window, window + 1.3, y0 + 1.05, y0 + 2.0), z0, (112, 96, 82))
    draft.face(
        [(window + 0.2, y0 + 1.05, z0), (window + 0.7, y0 + 1.05, z0),
         (window + 1.1, y0 + 2.0, z0), (window + 0.6, y0 + 2.0, z0)],
        (140, 122, 106),
    )  # fmt: skip


def toilet(draft: Drafter, box: Box) -> None:
    """Draw a portable toilet."""
    colour = (165, 105, 40)
    draft.block(box, colour)
    x0, x1, z0, _, _, y1 = box
    draft.rectangle((x0 - 0.05, x1 + 0.05, y1 - 0.14, y1 + 0.04), z0, (205, 205, 200))
    draft.rectangle((x0 + 0.16, x1 - 0.16, 0.12, y1 - 0.24), z0, lit(colour, 0.98))
    draft.rectangle((x0 + 0.30, x1 - 0.30, y1 - 0.62, y1 - 0.50), z0, lit(colour, 0.6))
    draft.rectangle((x1 - 0.26, x1 - 0.20, 0.95, 1.15), z0, (215, 215, 215))


def barrier(draft: Drafter, box: Box) -> None:
    """Draw a row of concrete barriers with red and white boards."""
    x0, x1, z0, _, _, y1 = box
    draft.block(box, (165, 172, 176))
    for i, x in enumerate(np.arange(x0, x1 - 0.3, 0.4).tolist()):
        board = (60, 60, 200) if i % 2 else (232, 234, 236)
        draft.rectangle((x, min(x + 0.4, x1), y1 - 0.34, y1 - 0.12), z0, board)
    for x in (x0 + (x1 - x0) / 2, x1):
        draft.rectangle((x - 0.02, x + 0.02, 0, y1), z0, (112, 118, 122))


def bricks(draft: Drafter, box: Box) -> None:
    """Draw a stack of bricks on a pallet, in courses."""
    x0, x1, z0, z1, _, y1 = box
    draft.block((x0, x1, z0, z1, 0.0, 0.12), (70, 110, 140))
    draft.block((x0, x1, z0, z1, 0.12, y1), (92, 108, 176))
    for row, y in enumerate(np.arange(0.12, y1, 0.11).tolist()):
        draft.line((x0, y, z0), (x1, y, z0), (88, 100, 132), 0.012)
        for x in np.arange(x0 + 0.14 * (row % 2), x1, 0.28).tolist():
            draft.line((x, y, z0), (x, min(y + 0.11, y1), z0), (88, 100, 132), 0.012)


def digger(draft: Drafter, at: tuple[float, float]) -> None:
    """Draw an excavator from its side."""
    for colour, shape in _DIGGER[:2]:
        draft.outline(at, shape, colour)
    for i in range(6):
        draft.wheel(at, (0.4 + 0.48 * i, 0.36, 0.17), (40, 40, 42))
        draft.wheel(at, (0.4 + 0.48 * i, 0.36, 0.08), (95, 96, 98))
    for colour, shape in _DIGGER[2:]:
        draft.outline(at, shape, colour)
    for i in range(5):
        x = 2.4 + 0.2 * i
        slot = [(x, 1.2), (x + 0.1, 1.2), (x + 0.1, 1.5), (x, 1.5)]
        draft.outline(at, slot, lit(_YELLOW, 0.5))


_YELLOW, _RUBBER = (40, 175, 235), (48, 48, 50)
_DIGGER: tuple[tuple[Colour, Flat], ...] = (
    # tracks
    (_RUBBER, [(0.1, 0.05), (3.1, 0.05), (3.35, 0.4), (3.1, 0.8), (0.1, 0.8), (-0.15, 0.4)]),
    ((78, 80, 84), [(0.2, 0.2), (3.0, 0.2), (3.1, 0.4), (3.0, 0.64), (0.2, 0.64), (0.1, 0.4)]),
    # body and its grille
    (
        _YELLOW,
        [(0.5, 0.85), (3.5, 0.85), (3.5, 1.7), (3.2, 1.95), (1.6, 1.95), (1.5, 1.2), (0.5, 1.1)],
    ),
    (lit(_YELLOW, 0.8), [(2.3, 1.1), (3.4, 1.1), (3.4, 1.6), (2.3, 1.6)]),
    # cabin, its windows and roof
    (lit(_YELLOW, 0.9), [(0.45, 1.0), (1.7, 1.0), (1.7, 2.75), (0.75, 2.75), (0.45, 1.9)]),
    ((120, 104, 88), [(0.58, 1.6), (1.1, 1.6), (1.1, 2.6), (0.82, 2.6), (0.58, 1.88)]),
    ((104, 90, 76), [(1.18, 1.3), (1.6, 1.3), (1.6, 2.6), (1.18, 2.6)]),
    (_RUBBER, [(0.72, 2.75), (1.75, 2.75), (1.75, 2.85), (0.72, 2.85)]),
    # boom, arm, cylinder, bucket
    (lit(_YELLOW, 0.95), [(0.55, 1.3), (0.75, 1.15), (-0.9, 3.5), (-1.3, 3.45), (-1.2, 3.2)]),
    (lit(_YELLOW, 0.82), [(-1.3, 3.5), (-1.0, 3.3), (-1.75, 1.15), (-1.95, 1.2)]),
    ((150, 155, 158), [(-0.2, 1.9), (-0.1, 1.98), (-1.0, 3.2), (-1.12, 3.15)]),
    (
        (66, 66, 70),
        [(-2.1, 1.25), (-1.6, 1.2), (-1.35, 0.75), (-1.55, 0.4), (-2.2, 0.45), (-2.0, 0.8)],
    ),
)
"""An excavator's outlines in metres, in the order in which they are drawn."""


def cone(draft: Drafter, at: tuple[float, float]) -> None:
    """Draw a traffic cone."""
    draft.outline(at, [(-0.2, 0), (0.2, 0), (0.2, 0.05), (-0.2, 0.05)], (30, 60, 150))
    draft.outline(at, [(-0.14, 0.05), (0.14, 0.05), (0.03, 0.65), (-0.03, 0.65)], (40, 95, 240))
    draft.outline(
        at, [(-0.105, 0.24), (0.105, 0.24), (0.075, 0.40), (-0.075, 0.40)], (235, 236, 238)
    )


def sand(draft: Drafter, at: tuple[float, float], chance: np.random.Generator) -> None:
    """Draw a heap of sand."""
    x = np.linspace(-2.0, 2.0, 24)
    y = 1.25 * np.exp(-((x / 1.05) ** 2)) + chance.normal(0, 0.02, 24) * (np.abs(x) < 1.8)
    shape = [(float(a), max(0.0, float(b))) for a, b in zip(x, y, strict=True)]
    draft.outline(at, [(-2.0, 0.0), *shape, (2.0, 0.0)], (108, 150, 182))
    dark = [(a, b * 0.96) for a, b in shape if a >= 0.0]
    draft.outline(at, [(0.15, 0.0), *dark, (2.0, 0.0)], (92, 130, 160))
