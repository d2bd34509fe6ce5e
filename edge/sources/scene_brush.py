"""Draws the shaded parts of a figure: cylinders and balls lit by Lambert's law, on a canvas."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.sources.scene_figure import Colour

Vector = NDArray[np.floating[Any]]

_LIGHT = (-0.52, -0.62, 0.59)  # right, down, towards the camera
_DARK, _LIT = 0.42, 0.74
_SHIFT = 3  # binary digits behind the point of cv2's coordinates
_UNIT = 1 << _SHIFT


class Brush:
    """Draws on a canvas ``(h, w, 4)`` uint8; coordinates are its pixels, colours become opaque.

    Args:
        canvas: where to draw.
        strips: how many strips make up the round of a cylinder.

    """

    def __init__(self, canvas: NDArray[np.uint8], strips: int) -> None:
        self.canvas = canvas
        self.edges = np.linspace(-1, 1, strips + 1, dtype=np.float32)
        self._middles = (self.edges[1:] + self.edges[:-1]) / 2
        self._depths = np.sqrt(1 - self._middles**2)

    def limbs(
        self, a: Vector, b: Vector, radii: Vector, colours: Vector
    ) -> list[tuple[Vector, Vector]]:
        """Prepare tapered cylinders, all at once because numpy is slow on small arrays.

        Args:
            a: ``(n, 2)`` where they begin.
            b: ``(n, 2)`` where they end.
            radii: ``(n, 2)`` at both ends.
            colours: ``(n, 3)`` BGR.

        Returns:
            For each its strips ``(s, 4, 2)`` and their colours ``(s, 4)``, for ``strips``.

        """
        along = b - a
        length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-3)
        across = np.stack([-along[:, 1], along[:, 0]], axis=1) / length[:, None]
        sides = across[:, None, :] * self.edges[None, :, None]
        first = a[:, None] + sides * radii[:, 0, None, None]
        second = b[:, None] + sides * radii[:, 1, None, None]
        quads = np.stack([first[:, :-1], first[:, 1:], second[:, 1:], second[:, :-1]], axis=2)
        leaning = across[:, 0] * _LIGHT[0] + across[:, 1] * _LIGHT[1]
        lit = leaning[:, None] * self._middles + self._depths * _LIGHT[2]
        return list(zip(quads, self._lit(lit, colours[:, None, :]), strict=True))

    def slabs(self, middles: Vector, reaches: Vector, colour: Colour) -> None:
        """Draw an upright round body through rows at ``middles (n, 2)``, ``reaches (n,)`` wide."""
        x = middles[:, 0, None] + self.edges * reaches[:, None]
        y = np.broadcast_to(middles[:, 1, None], x.shape)
        edges = np.stack([x, y], axis=2).transpose(1, 0, 2)
        strips = np.concatenate([edges[:-1], edges[1:, ::-1]], axis=1)
        lit = self._middles * _LIGHT[0] + self._depths * _LIGHT[2]
        self.strips(strips, self._lit(lit, np.array(colour, np.float32)))

    def strips(self, polygons: Vector, colours: Vector) -> None:
        """Fill polygons ``(n, k, 2)`` that a row crosses at most twice, each in its colour."""
        fixed = np.round(polygons * _UNIT).astype(np.int32, order="C")
        for polygon, colour in zip(fixed, colours.tolist(), strict=True):
            cv2.fillConvexPoly(self.canvas, polygon, colour, cv2.LINE_8, _SHIFT)

    def polygon(self, points: Vector, colour: Colour, light: float) -> None:
        """Fill one convex polygon ``(n, 2)`` evenly."""
        fixed = np.round(points * _UNIT).astype(np.int32)
        cv2.fillConvexPoly(self.canvas, fixed, shade(colour, light), cv2.LINE_8, _SHIFT)

    def disc(self, centre: Vector, wide: float, tall: float, colour: Colour, light: float) -> None:
        """Fill an upright ellipse with half axes ``wide`` and ``tall`` evenly."""
        at = (round(float(centre[0]) * _UNIT), round(float(centre[1]) * _UNIT))
        axes = (max(1, round(wide * _UNIT)), max(1, round(tall * _UNIT)))
        paint = shade(colour, light)
        cv2.ellipse(self.canvas, at, axes, 0, 0, 360, paint, cv2.FILLED, cv2.LINE_8, _SHIFT)

    def knob(self, centre: Vector, radius: float, colour: Colour) -> None:
        """Fill a circle evenly: the round end of a limb."""
        at = (round(float(centre[0]) * _UNIT), round(float(centre[1]) * _UNIT))
        size = max(1, round(radius * _UNIT))
        cv2.circle(self.canvas, at, size, shade(colour, 0.84), cv2.FILLED, cv2.LINE_8, _SHIFT)

    def ball(self, centre: Vector, wide: float, tall: float, colour: Colour) -> None:
        """Draw an ellipsoid as nested ellipses that move towards the light."""
        for share, light in ((1.0, 0.62), (0.82, 0.84), (0.54, 1.02)):
            drift = 0.6 * (1 - share)
            at = centre + np.array([_LIGHT[0] * wide * drift, _LIGHT[1] * tall * drift])
            self.disc(at, wide * share, tall * share, colour, light)

    @staticmethod
    def _lit(lit: Vector, colours: Vector) -> Vector:
        light = _DARK + _LIT * np.maximum(lit, 0)
        shaded = np.minimum(light[..., None] * colours, 255)
        return np.concatenate([shaded, np.full_like(shaded[..., :1], 255)], axis=-1)


def shade(colour: Colour, light: float) -> tuple[int, int, int, int]:
    """Return a colour under some light (1 is full), opaque."""
    b, g, r = colour
    return min(255, int(b * light)), min(255, int(g * light)), min(255, int(r * light)), 255
