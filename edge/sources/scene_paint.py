"""Paints one figure of the demonstration scene: from joints to a small picture with its cover.

Every limb is a tapered cylinder of a few strips, each lit by Lambert's law, drawn larger and
shrunk. Cheap, and near enough to a person that a detector trained on photographs finds it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels
from edge.sources.scene_brush import Brush, Vector
from edge.sources.scene_figure import Colour, Look, pose
from edge.sources.scene_walk import Stance

_FINE = 2
"""Figures are drawn this much larger, then shrunk."""
SHADOW = (0.50, 0.42)
"""How far right and away a metre of height throws its shadow, in metres."""

#: along the spine, half width, half depth, in metres (a man of 1.8 m)
_TORSO = np.array(
    [
        (-0.17, 0.140, 0.105), (0.02, 0.168, 0.122), (0.34, 0.150, 0.108),
        (0.66, 0.182, 0.130), (0.90, 0.172, 0.105), (1.0, 0.085, 0.070),
    ],
    np.float32,
)  # fmt: skip

#: part, joints, radii in metres, what it is made of, whether its ends are round
_LIMBS: tuple[tuple[str, str, str, float, float, str, bool], ...] = (
    ("leg", "ankle", "toe", 0.050, 0.038, "shoes", True),
    ("leg", "knee", "ankle", 0.068, 0.055, "trousers", False),
    ("leg", "hip", "knee", 0.096, 0.071, "trousers", True),
    ("arm", "elbow", "hand", 0.046, 0.034, "forearm", False),
    ("arm", "shoulder", "elbow", 0.063, 0.049, "jacket", True),
)
_SHOES: Colour = (38, 40, 48)
_DARK: Colour = (40, 42, 58)
_LIPS: Colour = (80, 80, 140)
_SILVER: Colour = (205, 212, 214)


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
        return np.stack([x, y], axis=1)


@dataclass(frozen=True, slots=True)
class Posed:
    """A figure's joints, by name, where they are."""

    #: ``(n, 3)`` metres: right, up, away
    world: Vector
    #: ``(n, 2)`` pixels of the picture
    flat: Vector
    names: dict[str, int]
    #: pixels a metre where it stands
    scale: float


@dataclass(frozen=True, slots=True)
class Painted:
    """A figure as a small picture: premultiplied BGR and cover, at ``left``, ``top``."""

    left: int
    top: int
    #: ``(h, w, 4)`` uint8, premultiplied
    pixels: NDArray[np.uint8]


class FigurePainter:
    """Paints one figure with its look."""

    def __init__(self, look: Look) -> None:
        self.look = look
        rough = np.random.default_rng(look.texture).normal(1.0, 0.16, (24, 16, 1))
        folds = cv2.GaussianBlur(rough.astype(np.float32), (0, 0), 0.9)
        even = np.full((24, 16, 1), 128, np.float32)
        tint = np.clip(folds[:, :, None] * 128, 92, 158)
        self._folds = np.concatenate([tint, tint, tint, even], axis=2).astype(np.uint8)
        cloth = {
            "shoes": _SHOES,
            "trousers": look.trousers,
            "jacket": look.jacket,
            "forearm": look.skin if look.bare_arms else look.jacket,
        }
        self._colours = np.array([cloth[limb[5]] for _ in "lr" for limb in _LIMBS], np.float32)
        self._radii = np.array([limb[3:5] for _ in "lr" for limb in _LIMBS], np.float32)

    def pose(self, lens: Lens, stance: Stance, seconds: float) -> Posed:
        """Place its joints in the site and in the picture."""
        joints = pose(self.look, stance, seconds)
        body = np.array(list(joints.values()), np.float32)
        cos, sin = math.cos(stance.heading), math.sin(stance.heading)
        world = np.empty_like(body)
        world[:, 0] = stance.x + body[:, 0] * cos + body[:, 2] * sin
        world[:, 1] = body[:, 1]
        world[:, 2] = stance.z - body[:, 0] * sin + body[:, 2] * cos
        names = {name: i for i, name in enumerate(joints)}
        return Posed(world, lens.project(world), names, lens.focal / stance.z)

    def shadow(self, picture: Pixels, lens: Lens, posed: Posed) -> None:
        """Darken the ground of a picture where the figure keeps the sun off."""
        fallen = posed.world.copy()
        fallen[:, 0] += posed.world[:, 1] * SHADOW[0]
        fallen[:, 2] += posed.world[:, 1] * SHADOW[1]
        fallen[:, 1] = 0
        flat = lens.project(fallen)
        pad = 0.25 * posed.scale
        left, top = np.maximum(np.floor(flat.min(axis=0) - pad).astype(int), 0)
        right, bottom = np.ceil(flat.max(axis=0) + pad).astype(int)
        view = picture[top:bottom, left:right]
        if view.size == 0:
            return
        mask = np.zeros(((view.shape[0] + 1) // 2, (view.shape[1] + 1) // 2), np.uint8)
        at = ((flat - (left, top)) / 2 * 8).astype(int).tolist()
        for one, other, metres in _BONES:
            thick = max(1, round(metres * posed.scale))
            ends = at[posed.names[one]], at[posed.names[other]]
            cv2.line(mask, ends[0], ends[1], 110, thick, cv2.LINE_8, 3)
        soft = cv2.blur(mask, (3, 3))
        let = 255 - cv2.resize(soft, (view.shape[1], view.shape[0]))
        view[:] = cv2.multiply(view, cv2.merge([let, let, let]), scale=1 / 255)

    def paint(self, posed: Posed, heading: float) -> Painted:
        """Paint it as it stands; cropped to the figure, never to the picture."""
        scale = posed.scale * self.look.tall
        low = np.floor(posed.flat.min(axis=0) - 0.20 * scale).astype(int)
        high = np.ceil(posed.flat.max(axis=0) + 0.20 * scale).astype(int)
        width, height = (high - low).tolist()
        canvas = np.zeros((height * _FINE, width * _FINE, 4), np.uint8)
        brush = Brush(canvas, 3 if scale < 60 else 4 if scale < 110 else 5)
        at = (posed.flat - low) * _FINE
        _Body(self.look, brush, at, posed, heading).draw(self._radii, self._colours)
        small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(small, (3, 3), 0.6)
        folds = cv2.resize(self._folds, (width, height), interpolation=cv2.INTER_LINEAR)
        folded = np.asarray(cv2.multiply(soft, folds, scale=1 / 128), np.uint8)
        return Painted(int(low[0]), int(low[1]), folded)


_BONES: tuple[tuple[str, str, float], ...] = (
    ("pelvis", "neck", 0.17), ("neck", "head", 0.08), ("head", "head", 0.12),
    *((side + a, side + b, wide) for side in "lr" for a, b, wide in (
        ("hip", "knee", 0.08), ("knee", "ankle", 0.06), ("ankle", "toe", 0.05),
        ("shoulder", "elbow", 0.05), ("elbow", "hand", 0.04),
    )),
)  # fmt: skip
"""What throws a shadow: joints and half of the thickness in metres."""


class _Body:
    """One figure while it is being drawn on a canvas."""

    def __init__(self, look: Look, brush: Brush, at: Vector, posed: Posed, heading: float) -> None:
        self.look, self.brush = look, brush
        self.at, self.posed = at, posed
        self.scale = posed.scale * _FINE * look.tall
        self.cos, self.sin = math.cos(heading), math.sin(heading)

    def _spot(self, name: str) -> Vector:
        spot: Vector = self.at[self.posed.names[name]]
        return spot

    def _far(self, name: str) -> float:
        return float(self.posed.world[self.posed.names[name], 2])

    def draw(self, radii: Vector, colours: Vector) -> None:
        """Draw all parts, the farthest first."""
        names = self.posed.names
        ends = np.array([(names[s + limb[1]], names[s + limb[2]]) for s in "lr" for limb in _LIMBS])
        a, b = self.at[ends[:, 0]], self.at[ends[:, 1]]
        limbs = self.brush.limbs(a, b, radii * self.scale, colours)
        order = [(self._far("pelvis") + 0.02, "torso", 0), (self._far("head"), "head", 0)]
        for i, side in enumerate("lr"):
            leg = (self._far(side + "knee") + self._far(side + "ankle")) / 2 + 0.04
            arm = (self._far(side + "elbow") + self._far(side + "shoulder")) / 2 - 0.05
            order += [(leg, "leg", i), (arm, "arm", i)]
        for _, part, side_at in sorted(order, reverse=True):
            if part == "torso":
                self._torso()
            elif part == "head":
                self._head()
            else:
                self._limb(part, side_at, (a, b, radii * self.scale), colours, limbs)

    def _limb(
        self,
        part: str,
        side: int,
        shape: tuple[Vector, Vector, Vector],
        colours: Vector,
        limbs: list[tuple[Vector, Vector]],
    ) -> None:
        if part == "arm":
            elbow, hand = self._spot("lr"[side] + "elbow"), self._spot("lr"[side] + "hand")
            palm = hand + (hand - elbow) * 0.13
            self.brush.ball(palm, 0.040 * self.scale, 0.048 * self.scale, self.look.skin)
        for k, limb in enumerate(_LIMBS):
            if limb[0] != part:
                continue
            i = side * len(_LIMBS) + k
            b, g, r = colours[i].tolist()
            if limb[6]:
                for end, radius in zip((shape[0][i], shape[1][i]), shape[2][i], strict=True):
                    self.brush.knob(end, float(radius), (b, g, r))
            self.brush.strips(*limbs[i])

    def _torso(self) -> None:
        look = self.look
        low, high = self._spot("pelvis"), self._spot("neck")
        middles = low + (high - low) * _TORSO[:, :1]
        deep = np.hypot(_TORSO[:, 1] * self.cos, _TORSO[:, 2] * self.sin)
        reaches = deep * look.broad * self.scale
        self.brush.slabs(middles[:2], reaches[:2], look.trousers)
        self.brush.slabs(middles[1:], reaches[1:], look.vest or look.jacket)
        if look.vest:
            self._stripes(middles, reaches)

    def _stripes(self, middles: Vector, reaches: Vector) -> None:
        """Draw a vest's reflecting bands: two around, one over each shoulder."""
        base, spine = middles[1], middles[-1] - middles[1]
        corners = np.array([(-1, 1), (1, 1), (1, -1), (-1, -1)], np.float32)
        bands = []
        for share in (0.14, 0.36):
            reach = float(np.interp(share, (0, 0.32, 0.64), reaches[1:4]))
            bands.append(base + spine * share + corners * (reach, 0.022 * self.scale))
        if abs(self.cos) > 0.35:
            wide = 0.019 * self.scale * abs(self.cos)
            for side in (-1, 1):
                out = (side * 0.095 * self.cos * self.look.broad * self.scale, 0)
                long = spine * (0.66 - 0.26 * corners[:, 1:])
                bands.append(base + out + long + corners * (wide, 0))
        self.brush.strips(np.array(bands), np.array([(*_SILVER, 255)] * len(bands)))

    def _head(self) -> None:
        look, brush, scale = self.look, self.brush, self.scale
        head, neck = self._spot("head"), self._spot("neck")
        side, below = np.array([0.058 * scale, 0]), np.array([0, 0.03 * scale])
        throat = np.array([neck - side + below, neck + side + below, head + side, head - side])
        brush.polygon(throat, look.skin, 0.74)
        seen = -self.cos  # 1 looks at the camera, -1 away
        ahead = np.array([self.sin, 0.0]) * scale
        wide = math.hypot(0.078 * self.cos, 0.098 * self.sin) * scale
        brush.ball(head, wide, 0.118 * scale, look.hair)
        if seen > -0.75:
            face = head + ahead * 0.030 + np.array([0, 0.012 * scale])
            narrow = wide * min(1.0, 0.62 + 0.36 * max(seen, 0.0))
            brush.ball(face, narrow, 0.104 * scale, look.skin)
            if seen > -0.1:
                self._features(face + ahead * 0.045, seen)
        if look.helmet:
            self._helmet(look.helmet, head - np.array([0, 0.042 * scale]), ahead, wide)

    def _features(self, face: Vector, seen: float) -> None:
        brush, scale = self.brush, self.scale
        for side in (-1, 1):
            eye = face + np.array([side * 0.033 * seen, -0.018]) * scale
            brush.disc(eye, 0.014 * scale, 0.010 * scale, _DARK, 1)
        nose = face + np.array([0.008, 0.014]) * scale
        brush.disc(nose, 0.010 * scale, 0.022 * scale, self.look.skin, 0.72)
        mouth = face + np.array([0, 0.050]) * scale
        brush.disc(mouth, (0.012 + 0.014 * seen) * scale, 0.008 * scale, _LIPS, 1)

    def _helmet(self, colour: Colour, rim: Vector, ahead: Vector, wide: float) -> None:
        brush, scale = self.brush, self.scale
        angles = np.linspace(math.pi, math.tau, 14)
        for share, light in ((1.0, 0.68), (0.82, 0.88), (0.55, 1.03), (0.28, 1.15)):
            x = np.cos(angles) * wide * 1.16 * share - wide * 0.22 * (1 - share)
            y = np.sin(angles) * 0.115 * scale * share - 0.02 * scale * (1 - share)
            brush.polygon(np.stack([x, y], axis=1) + rim, colour, light)
        front = max(-self.cos, 0.0)
        brim = rim + ahead * 0.045 + np.array([0, 0.012 * front * scale])
        brush.disc(brim, wide * 1.2, (0.016 + 0.012 * front) * scale, colour, 0.74)
