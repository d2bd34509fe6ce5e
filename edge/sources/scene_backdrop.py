"""What is far away in the demonstration scene: sky, town, the house that is built, the ground."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels
from edge.sources.scene_figure import Colour
from edge.sources.scene_paint import Lens
from edge.sources.scene_props import Drafter, lit

Plane = NDArray[np.floating[Any]]

_HAZE = (216, 208, 200)


def draw_backdrop(lens: Lens, chance: np.random.Generator) -> Pixels:
    """Draw sky and ground with what stands behind the site, ``(h, w, 3)`` uint8 BGR."""
    rows = np.arange(lens.height, dtype=np.float32)[:, None, None]
    sky, earth = _sky(lens, chance, rows), _earth(lens, chance)
    picture = np.where(rows < lens.horizon, sky, earth)
    picture = np.ascontiguousarray(np.clip(picture, 0, 255), np.uint8)
    draft = Drafter(picture, lens)
    _town(draft, chance)
    _shell(draft, (1.0, 44.0))
    _hoarding(draft, 27.0, chance)
    return picture


def _noise(chance: np.random.Generator, shape: tuple[int, int], coarse: float) -> Plane:
    """Return smooth noise around nought with deviation one, ``(h, w)`` float32."""
    step = max(1, round(coarse))
    few = chance.standard_normal((shape[0] // step + 3, shape[1] // step + 3), np.float32)
    soft = cv2.GaussianBlur(few, (0, 0), 0.8 if step > 1 else coarse)
    whole = cv2.resize(soft, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(whole / max(float(whole.std()), 1e-6), np.float32)


def _sky(lens: Lens, chance: np.random.Generator, rows: Plane) -> Plane:
    share = np.clip(rows / max(lens.horizon, 1), 0, 1)
    blue = np.array((214, 178, 142)) * (1 - share) + np.array(_HAZE) * share
    small = _noise(chance, (72, 128), 7) + 0.5 * _noise(chance, (72, 128), 2.5)
    cloud = cv2.resize(np.clip(small - 0.2, 0, 1.3), (lens.width, lens.height * 2))
    cloud = cloud[: lens.height, :, None] * 0.38
    return np.asarray(blue * (1 - cloud) + np.array((238, 236, 234)) * cloud)


def _earth(lens: Lens, chance: np.random.Generator) -> Plane:
    """Draw trodden earth in perspective: one texture seen from above, laid on the ground."""
    size, metre = 1024, 24.0  # pixels; pixels a metre: the texture repeats after 43 m
    rough = 5.5 * _noise(chance, (size, size), 1.0) + 6 * _noise(chance, (size, size), 5)
    rough += 8 * _noise(chance, (size, size), 28) + 5 * _noise(chance, (size, size), 90)
    _tracks(rough, chance)
    y, x = np.mgrid[0 : lens.height, 0 : lens.width].astype(np.float32)
    away = lens.focal * lens.above / np.maximum(y - lens.horizon, 0.5)
    right = (x - lens.width / 2) * away / lens.focal
    near = _laid(rough, right * metre, away * metre)
    far = _laid(np.asarray(cv2.blur(rough, (13, 13))), right * metre, away * metre)
    share = np.clip((away - 8) / 18, 0, 1)
    relief = (near * (1 - share) + far * share) * np.clip(1.25 - away / 70, 0.1, 1)
    haze = np.clip((away - 12) / 60, 0, 0.75)[:, :, None]
    earth = np.array((104, 128, 146)) + relief[:, :, None] * np.array((0.95, 1.0, 1.05))
    return np.asarray(earth * (1 - haze) + np.array((176, 184, 190)) * haze)


def _laid(texture: Plane, x: Plane, y: Plane) -> Plane:
    """Look a texture up, mirrored at its edges for ever, so that there is no seam."""
    last = texture.shape[0] - 1
    x, y = (last - np.abs(part % (2 * last) - last) for part in (x + last / 2, y))
    return np.asarray(cv2.remap(texture, x, y, cv2.INTER_LINEAR))


def _tracks(texture: Plane, chance: np.random.Generator) -> None:
    """Press the tracks of lorries into a texture seen from above."""
    marks = np.zeros(texture.shape, np.float32)
    for _ in range(4):
        start, end = chance.integers(0, texture.shape[0], 2).tolist()
        bend = int(chance.integers(-160, 160))
        t = np.linspace(0, 1, 40)
        line = np.stack([start + (end - start) * t + bend * np.sin(t * np.pi), 1024 * t], axis=1)
        for side in (0, 44):
            points = np.round(line + np.array([side, 0])).astype(np.int32)
            cv2.polylines(marks, [points], isClosed=False, color=1.0, thickness=9)
    soft = np.asarray(cv2.GaussianBlur(marks, (0, 0), 1.5), np.float32)
    texture -= 17 * soft
    texture += 9 * np.roll(soft, 9, axis=1)


def _town(draft: Drafter, chance: np.random.Generator) -> None:
    """Draw houses on the horizon, paler the farther away."""
    for distance, pale in ((420.0, 0.80), (300.0, 0.62)):
        x, wide = -0.75 * distance, 0.0
        while x < 0.75 * distance:
            wide, high = chance.uniform(10, 30), chance.uniform(9, 34) * distance / 420
            tone = chance.uniform(0.75, 1.0)
            wall = (150 * tone, 148 * tone, 152 * tone)
            colour = _mixed(wall, pale)
            draft.rectangle((x, x + wide, 0, high), distance, colour)
            for floor in np.arange(3.0, high - 2, 4.0).tolist():
                for place in np.arange(x + 2, x + wide - 2, 4.5).tolist():
                    sides = (place, place + 2, floor, floor + 1.8)
                    draft.rectangle(sides, distance, lit(colour, 0.90))
            x += wide + float(chance.choice([0.0, 0.0, 6.0]))


def _mixed(colour: tuple[float, float, float], pale: float) -> Colour:
    b, g, r = (int(a * (1 - pale) + h * pale) for a, h in zip(colour, _HAZE, strict=True))
    return b, g, r


def _shell(draft: Drafter, at: tuple[float, float]) -> None:
    """Draw the house that is built: floors and columns of concrete behind a scaffold."""
    x0, z = at
    wide, floors, storey = 30.0, 4, 3.1
    concrete = _mixed((150, 156, 160), 0.12)
    draft.rectangle((x0, x0 + wide, 0, floors * storey), z + 6, _mixed((92, 92, 94), 0.2))
    for floor in range(floors + 1):
        y = floor * storey
        for column in range(7):
            x = x0 + column * (wide - 0.6) / 6
            if floor < floors:
                draft.rectangle((x, x + 0.6, y, y + storey), z + 4, lit(concrete, 0.72))
                draft.rectangle((x, x + 0.6, y, y + storey), z, concrete)
        draft.face(
            [(x0, y, z), (x0 + wide, y, z), (x0 + wide, y, z + 8), (x0, y, z + 8)],
            lit(concrete, 0.6 if y > draft.lens.above else 1.0),
        )
        draft.rectangle((x0, x0 + wide, y - 0.35, y), z, lit(concrete, 1.08))
    _scaffold(draft, (x0 + 8, x0 + 22), z - 2.0, floors * storey)


def _scaffold(draft: Drafter, sides: tuple[float, float], z: float, high: float) -> None:
    steel, wood = (150, 146, 142), (110, 148, 172)
    for x in np.arange(sides[0], sides[1] + 0.1, 2.0).tolist():
        draft.line((x, 0, z), (x, high, z), steel, 0.07)
        for y in np.arange(0, high - 2, 2.0).tolist():
            draft.line((x, y, z), (min(x + 2, sides[1]), y + 2, z), lit(steel, 0.9), 0.04)
    for y in np.arange(2.0, high, 2.0).tolist():
        draft.rectangle((*sides, y - 0.1, y + 0.08), z, wood)
        draft.line((sides[0], y + 1, z), (sides[1], y + 1, z), steel, 0.05)


def _hoarding(draft: Drafter, z: float, chance: np.random.Generator) -> None:
    """Draw the fence around the site: boards, some with a coloured band."""
    far = 0.62 * draft.lens.width / draft.lens.focal * z
    for x in np.arange(-far, far, 2.5).tolist():
        tone = chance.uniform(0.92, 1.04)
        draft.rectangle((x, x + 2.46, 0, 2.0), z, lit((176, 178, 170), tone))
        draft.rectangle((x, x + 2.46, 1.45, 1.75), z, lit((150, 110, 60), tone))
        draft.rectangle((x, x + 0.08, 0, 2.1), z, (120, 122, 124))
    draft.rectangle((-far, far, 0, 0.08), z, (92, 96, 98))
