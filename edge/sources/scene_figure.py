"""A figure of the demonstration scene: what it wears, and its joints in metres."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.sources.scene_walk import Stance

Colour = tuple[int, int, int]
Vector = NDArray[np.floating[Any]]
_SKINS: tuple[Colour, ...] = (
    (145, 175, 222), (120, 152, 205), (96, 128, 180), (66, 92, 140), (48, 66, 104),
)  # fmt: skip
_VESTS: tuple[Colour | None, ...] = ((40, 110, 250), (60, 235, 215), (40, 120, 255), None)
_HELMETS: tuple[Colour | None, ...] = (
    (240, 240, 240), (60, 205, 250), (60, 60, 215), (200, 120, 40), (240, 240, 240), None,
)  # fmt: skip
_JACKETS: tuple[Colour, ...] = (
    (110, 70, 45), (70, 66, 62), (70, 95, 70), (150, 135, 120), (60, 55, 130), (185, 180, 176),
)  # fmt: skip
_TROUSERS: tuple[Colour, ...] = (
    (95, 65, 45), (58, 54, 52), (80, 105, 125), (110, 85, 62), (45, 42, 48),
)  # fmt: skip
_HAIRS: tuple[Colour, ...] = ((30, 32, 40), (35, 55, 85), (60, 90, 130), (140, 140, 145))


@dataclass(frozen=True, slots=True)
class Look:
    """What a figure wears. Colours are BGR."""

    tall: float
    broad: float
    skin: Colour
    hair: Colour
    jacket: Colour
    trousers: Colour
    vest: Colour | None
    helmet: Colour | None
    bare_arms: bool
    texture: int

    @classmethod
    def choose(cls, chance: random.Random) -> Look:
        """Dress a figure at random."""
        return cls(
            tall=chance.uniform(0.93, 1.06),
            broad=chance.uniform(0.93, 1.12),
            skin=chance.choice(_SKINS),
            hair=chance.choice(_HAIRS),
            jacket=chance.choice(_JACKETS),
            trousers=chance.choice(_TROUSERS),
            vest=chance.choice(_VESTS),
            helmet=chance.choice(_HELMETS),
            bare_arms=chance.random() < 0.4,
            texture=chance.randrange(1 << 16),
        )


def pose(look: Look, stance: Stance, seconds: float) -> dict[str, Vector]:
    """Return the joints in metres: right, up, forward of the point on the ground between the feet.

    Sides are ``l`` and ``r``: hip, knee, ankle, toe, shoulder, elbow, hand; and pelvis, neck, head.
    """
    swing, sway = math.tau * stance.phase, math.sin(seconds * 1.7 + look.texture)
    joints: dict[str, Vector] = {}
    for side, sign in (("l", -1.0), ("r", 1.0)):
        turn = swing + (math.pi if side == "l" else 0.0)
        thigh = 0.44 * stance.pace * math.sin(turn)
        knee = 0.06 + stance.pace * (0.10 + 0.85 * max(0.0, math.cos(turn)) ** 1.4)
        _leg(joints, side, sign * 0.10 * look.broad, thigh, knee)
    drop = 0.085 - min(joints["lankle"][1], joints["rankle"][1])
    shift = np.array([0.012 * sway * (1 - stance.pace), drop, 0.0], np.float32)
    for name, joint in joints.items():
        joints[name] = joint + shift * ([1, 1, 1] if "hip" in name else [0.4, 1, 1])
    hip = (joints["lhip"] + joints["rhip"]) / 2
    lean = 0.05 + 0.05 * stance.pace
    joints["pelvis"] = hip
    joints["neck"] = hip + np.array([0.014 * sway * (1 - stance.pace), 0.53, lean], np.float32)
    nod = np.array([0.01 * sway, 0.175, 0.035], np.float32)
    joints["head"] = joints["neck"] + nod
    for side, sign in (("l", -1.0), ("r", 1.0)):
        turn = swing + (math.pi if side == "r" else 0.0)
        _arm(joints, side, sign, _arm_angles(stance, side, math.sin(turn), sway), look.broad)
    return {name: joint * np.float32(look.tall) for name, joint in joints.items()}


def _leg(joints: dict[str, Vector], side: str, x: float, thigh: float, knee: float) -> None:
    hip = np.array([x, 0.0, 0.0], np.float32)
    below = thigh - knee
    joints[side + "hip"] = hip
    knee_at = hip + 0.44 * np.array([0, -math.cos(thigh), math.sin(thigh)], np.float32)
    ankle = knee_at + 0.43 * np.array([0, -math.cos(below), math.sin(below)], np.float32)
    joints[side + "knee"], joints[side + "ankle"] = knee_at, ankle
    tip = below * 0.8
    toe = np.array([math.copysign(0.03, x), -0.05 + 0.19 * math.sin(tip), 0.19 * math.cos(tip)])
    joints[side + "toe"] = ankle + toe.astype(np.float32)


def _arm_angles(stance: Stance, side: str, swing: float, sway: float) -> tuple[float, float, float]:
    """Shoulder forwards, elbow, and outwards, in radians."""
    rest = (0.5 * stance.pace * swing + 0.02 * sway, 0.28 + 0.2 * stance.pace, 0.10)
    gestures: tuple[dict[str, tuple[float, float, float]], ...] = (
        {"r": (0.55, 1.9, 0.15)},  # telephone or radio at the ear
        {"l": (0.35, 1.25, 0.0), "r": (0.35, 1.25, 0.0)},  # holds a board before the chest
        {"r": (1.35 + 0.05 * sway, 0.15, 0.25)},  # points
        {},
    )
    goal = gestures[stance.kind].get(side, rest)
    first, second, third = (a + (b - a) * stance.gesture for a, b in zip(rest, goal, strict=True))
    return first, second, third


def _arm(
    joints: dict[str, Vector],
    side: str,
    sign: float,
    angles: tuple[float, float, float],
    broad: float,
) -> None:
    forward, bend, out = angles
    shoulder = joints["neck"] + np.array([sign * 0.185 * broad, -0.06, -0.01], np.float32)
    down = np.array([sign * math.sin(out), -math.cos(forward), math.sin(forward)], np.float32)
    elbow = shoulder + 0.30 * down
    lower = forward + bend
    down = np.array([-sign * 0.1, -math.cos(lower), math.sin(lower)], np.float32)
    joints[side + "shoulder"], joints[side + "elbow"] = shoulder, elbow
    joints[side + "hand"] = elbow + 0.27 * down
