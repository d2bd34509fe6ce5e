"""Paints one figure of the demonstration scene: from joints to a small picture with its cover.

Every limb is a tapered cylinder of a few strips, each lit by Lambert's law, drawn larger and
shrunk. Cheap, and near enough to a person that a detector trained on photographs finds it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.sources.scene_figure import Colour, Look, Vector, pose
from edge.sources.scene_walk import Stance

FINE = 2
"""Figures are drawn this much larger, then shrunk."""

_LIGHT = (-0.52, -0.62, 0.59)  # right, down, towards the camera
_STRIPS = 7
_SHIFT = 3  # binary digits behind the point of cv2's coordinates
_EDGES = np.linspace(-1, 1, _STRIPS + 1, dtype=np.float32)
_MIDDLES = (_EDGES[1:] + _EDGES[:-1]) / 2

#: along the spine, half width, half depth, in metres (a man of 1.8 m)
_TORSO = (
    (-0.16, 0.150, 0.110), (0.02, 0.172, 0.122), (0.34, 0.152, 0.108),
    (0.66, 0.185, 0.130), (0.90, 0.178, 0.105), (1.0, 0.085, 0.070),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lens:
    """A camera that looks level over the site; its picture is shifted down, not tilted."""

    width: int
    height: int
    above: float = 3.0

    @property
    def focal(self) -> float:
        """Pixels a metre at one metre."""
        return 1.25 * self.height

    @property
    def horizon(self) -> float:
        """Row of the horizon."""
        return 0.24 * self.height

    def project(self, points: Vector) -> Vector:
        """Bring ``(n, 3)`` metres (right, up, away) to ``(n, 2)`` pixels."""
        scale = self.focal / points[:, 2]
        x = self.width / 2 + points[:, 0] * scale
        y = self.horizon + (self.above - points[:, 1]) * scale
        return np.stack([x, y], axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Painted:
    """A figure as a small picture: premultiplied BGR and cover, at ``left``, ``top``."""

    left: int
    top: int
    #: ``(h, w, 4)`` uint8, premultiplied
    pixels: NDArray[np.uint8]


def shade(colour: Colour, light: float) -> tuple[int, int, int, int]:
    """Return a colour under some light (1 is full), opaque."""
    b, g, r = (min(255, int(part * light)) for part in colour)
    return b, g, r, 255


def _lambert(x: float, y: float) -> float:
    """Light on a cylinder's strip whose normal leans ``x``, ``y`` out of the view's direction."""
    depth = math.sqrt(max(0.0, 1 - x * x - y * y))
    lit = x * _LIGHT[0] + y * _LIGHT[1] + depth * _LIGHT[2]
    return 0.42 + 0.72 * max(0.0, lit)


class Brush:
    """Draws shaded parts on a canvas ``(h, w, 4)``; coordinates are canvas pixels."""

    def __init__(self, canvas: NDArray[np.uint8]) -> None:
        self.canvas = canvas

    def polygon(self, points: Vector, colour: tuple[int, int, int, int]) -> None:
        """Fill a convex polygon ``(n, 2)``."""
        fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
        cv2.fillConvexPoly(self.canvas, fixed, colour, cv2.LINE_8, _SHIFT)

    def ball(self, centre: Vector, wide: float, tall: float, colour: Colour) -> None:
        """Draw an ellipsoid as nested ellipses that move towards the light."""
        for share, light in ((1.0, 0.62), (0.86, 0.80), (0.66, 0.95), (0.40, 1.06)):
            at = centre + np.array([_LIGHT[0] * wide, _LIGHT[1] * tall], np.float32) * (
                0.55 * (1 - share)
            )
            self.ellipse(at, wide * share, tall * share, shade(colour, light))

    def ellipse(
        self, centre: Vector, wide: float, tall: float, colour: tuple[int, int, int, int]
    ) -> None:
        """Fill an upright ellipse with half axes ``wide`` and ``tall``."""
        unit = 1 << _SHIFT
        at = (round(float(centre[0]) * unit), round(float(centre[1]) * unit))
        axes = (max(1, round(wide * unit)), max(1, round(tall * unit)))
        cv2.ellipse(self.canvas, at, axes, 0, 0, 360, colour, cv2.FILLED, cv2.LINE_8, _SHIFT)

    def limb(self, a: Vector, b: Vector, radii: tuple[float, float], colour: Colour) -> None:
        """Draw a tapered cylinder with round ends."""
        along = b - a
        length = float(np.hypot(along[0], along[1]))
        for end, radius in ((a, radii[0]), (b, radii[1])):
            self.ellipse(end, radius, radius, shade(colour, 0.86))
        if length < 1:
            return
        across = np.array([-along[1], along[0]], np.float32) / length
        first = a + across * (radii[0] * _EDGES)[:, None]
        second = b + across * (radii[1] * _EDGES)[:, None]
        for i, middle in enumerate(_MIDDLES):
            light = _lambert(across[0] * middle, across[1] * middle)
            quad = np.stack([first[i], first[i + 1], second[i + 1], second[i]])
            self.polygon(quad, shade(colour, light))


class FigurePainter:
    """Paints one figure with its look."""

    def __init__(self, look: Look) -> None:
        self.look = look
        rough = np.random.default_rng(look.texture).normal(1.0, 0.16, (24, 16))
        folds = cv2.GaussianBlur(rough.astype(np.float32), (0, 0), 0.9)
        self._folds = np.clip(folds * 128, 90, 160).astype(np.uint8)

    def paint(self, lens: Lens, stance: Stance, seconds: float) -> Painted:
        """Paint it as it stands; cropped to the figure, never to the picture."""
        joints = pose(self.look, stance, seconds)
        names = list(joints)
        body = np.stack([joints[name] for name in names])
        cos, sin = math.cos(stance.heading), math.sin(stance.heading)
        world = np.empty_like(body)
        world[:, 0] = stance.x + body[:, 0] * cos + body[:, 2] * sin
        world[:, 1] = body[:, 1]
        world[:, 2] = stance.z - body[:, 0] * sin + body[:, 2] * cos
        flat = lens.project(world)
        scale = lens.focal / stance.z
        low = np.floor(flat.min(axis=0) - 0.24 * scale).astype(int)
        high = np.ceil(flat.max(axis=0) + 0.24 * scale).astype(int)
        width, height = high - low
        canvas = np.zeros((height * FINE, width * FINE, 4), np.uint8)
        at = dict(zip(names, (flat - low) * FINE, strict=True))
        depth = dict(zip(names, world[:, 2] - stance.z, strict=True))
        self._parts(Brush(canvas), at, depth, scale * FINE * self.look.tall, stance.heading)
        return Painted(int(low[0]), int(low[1]), self._finish(canvas, width, height))

    def _finish(self, canvas: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
        """Soften, shrink, and give the cloth its folds."""
        soft = cv2.GaussianBlur(canvas, (0, 0), 0.9)
        small = cv2.resize(soft, (width, height), interpolation=cv2.INTER_AREA)
        folds = cv2.resize(self._folds, (width, height), interpolation=cv2.INTER_LINEAR)
        small[:, :, :3] = cv2.multiply(
            np.ascontiguousarray(small[:, :, :3]), cv2.merge([folds] * 3), scale=1 / 128
        )
        return np.asarray(small, np.uint8)

    def _parts(
        self,
        brush: Brush,
        at: dict[str, Vector],
        depth: dict[str, float],
        scale: float,
        heading: float,
    ) -> None:
        """Draw the parts, the farthest first."""
        order = [(depth["pelvis"] + 0.02, "torso", ""), (depth["head"], "head", "")]
        for side in "lr":
            leg = (depth[side + "knee"] + depth[side + "ankle"]) / 2 + 0.04
            arm = (depth[side + "elbow"] + depth[side + "shoulder"]) / 2 - 0.05
            order += [(leg, "leg", side), (arm, "arm", side)]
        for _, part, side in sorted(order, reverse=True):
            if part == "leg":
                self._leg(brush, at, side, scale)
            elif part == "arm":
                self._arm(brush, at, side, scale)
            elif part == "torso":
                self._torso(brush, at, scale, heading)
            else:
                self._head(brush, at, scale, heading)

    def _leg(self, brush: Brush, at: dict[str, Vector], side: str, scale: float) -> None:
        hip, knee, ankle, toe = (at[side + name] for name in ("hip", "knee", "ankle", "toe"))
        cloth, shoe = self.look.trousers, (38, 40, 48)
        brush.limb(ankle, toe, (0.052 * scale, 0.038 * scale), shoe)
        brush.limb(knee, ankle, (0.070 * scale, 0.056 * scale), cloth)
        brush.limb(hip, knee, (0.098 * scale, 0.072 * scale), cloth)

    def _arm(self, brush: Brush, at: dict[str, Vector], side: str, scale: float) -> None:
        look = self.look
        shoulder, elbow, hand = (at[side + name] for name in ("shoulder", "elbow", "hand"))
        brush.ball(hand + (hand - elbow) * 0.12, 0.042 * scale, 0.050 * scale, look.skin)
        lower = look.skin if look.bare_arms else look.jacket
        brush.limb(elbow, hand, (0.047 * scale, 0.036 * scale), lower)
        brush.limb(shoulder, elbow, (0.064 * scale, 0.050 * scale), look.jacket)

    def _torso(self, brush: Brush, at: dict[str, Vector], scale: float, heading: float) -> None:
        look, cos, sin = self.look, math.cos(heading), math.sin(heading)
        low, high = at["pelvis"], at["neck"]
        rows = []
        for share, half, deep in _TORSO:
            reach = math.hypot(half * look.broad * cos, deep * look.broad * sin) * scale
            middle = low + (high - low) * share
            rows.append((share, middle, reach))
        for (share, a, wide), (_, b, wider) in pairwise(rows):
            colour = look.trousers if share < 0 else look.vest or look.jacket
            self._slab(brush, (a, wide), (b, wider), colour)
        if look.vest:
            self._stripes(brush, at, scale, heading)

    @staticmethod
    def _slab(
        brush: Brush, low: tuple[Vector, float], high: tuple[Vector, float], colour: Colour
    ) -> None:
        for i, middle in enumerate(_MIDDLES):
            quad = [
                (end[0] + edge * reach, end[1])
                for (end, reach), edges in ((low, (i, i + 1)), (high, (i + 1, i)))
                for edge in _EDGES[list(edges)]
            ]
            brush.polygon(np.array(quad, np.float32), shade(colour, _lambert(float(middle), 0.0)))

    def _stripes(self, brush: Brush, at: dict[str, Vector], scale: float, heading: float) -> None:
        """Draw a vest's reflecting bands: two around, one over each shoulder."""
        cos, sin = abs(math.cos(heading)), abs(math.sin(heading))
        spine, silver = at["neck"] - at["pelvis"], (205, 212, 214)
        for share in (0.16, 0.40):
            reach = math.hypot(0.158 * cos, 0.112 * sin) * self.look.broad * scale
            at_row = at["pelvis"] + spine * share
            band = np.array([0, 0.022 * scale], np.float32)
            self._slab(brush, (at_row + band, reach), (at_row - band, reach), silver)
        for side in (-1, 1):
            out = np.array([side * 0.10 * cos * self.look.broad * scale, 0], np.float32)
            if cos > 0.3:
                top, bottom = at["pelvis"] + spine * 0.93, at["pelvis"] + spine * 0.42
                wide = 0.02 * scale * cos
                self._slab(brush, (bottom + out, wide), (top + out * 0.9, wide), silver)

    def _head(self, brush: Brush, at: dict[str, Vector], scale: float, heading: float) -> None:
        look, head = self.look, at["head"]
        ahead = np.array([math.sin(heading), 0.0], np.float32) * scale
        seen = -math.cos(heading)  # 1 looks at the camera, -1 away
        brush.limb(at["neck"] - [0, 0.02 * scale], head, (0.058 * scale, 0.055 * scale), look.skin)
        wide = math.hypot(0.078 * math.cos(heading), 0.098 * math.sin(heading)) * scale
        brush.ball(head, wide, 0.118 * scale, look.hair)
        if seen > -0.75:
            face = head + ahead * 0.030 + np.array([0, 0.012 * scale], np.float32)
            narrow = wide * min(1.0, 0.62 + 0.36 * max(seen, 0.0))
            brush.ball(face, narrow, 0.104 * scale, look.skin)
            self._face(brush, face, ahead, scale, seen)
        if look.helmet:
            self._helmet(brush, head, ahead, (wide, scale, seen))

    @staticmethod
    def _face(brush: Brush, face: Vector, ahead: Vector, scale: float, seen: float) -> None:
        dark = (40, 42, 58, 255)
        if seen < -0.1:
            return
        for side in (-1, 1):
            eye = face + ahead * 0.045 + np.array([side * 0.033 * seen, -0.018], np.float32) * scale
            brush.ellipse(eye, 0.014 * scale, 0.010 * scale, dark)
        mouth = face + ahead * 0.045 + np.array([0, 0.050], np.float32) * scale
        brush.ellipse(mouth, (0.012 + 0.014 * seen) * scale, 0.008 * scale, (70, 70, 130, 255))

    def _helmet(
        self, brush: Brush, head: Vector, ahead: Vector, sizes: tuple[float, float, float]
    ) -> None:
        wide, scale, seen = sizes
        colour = self.look.helmet or (0, 0, 0)
        rim = head - np.array([0, 0.042 * scale], np.float32)
        angles = np.linspace(math.pi, math.tau, 14)
        for share, light in ((1.0, 0.68), (0.82, 0.88), (0.55, 1.03), (0.28, 1.15)):
            x = np.cos(angles) * wide * 1.16 * share - wide * 0.22 * (1 - share)
            y = np.sin(angles) * 0.115 * scale * (share if share == 1 else share * 0.9) - (
                0.02 * scale * (1 - share)
            )
            dome = np.stack([x, y], axis=1).astype(np.float32) + rim
            brush.polygon(dome, shade(colour, light))
        brim = rim + ahead * 0.045 + np.array([0, 0.012 * max(seen, 0) * scale], np.float32)
        brush.ellipse(brim, wide * 1.2, (0.016 + 0.012 * max(seen, 0)) * scale, shade(colour, 0.74))
