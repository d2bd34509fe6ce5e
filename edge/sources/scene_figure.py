"""A figure of the demonstration scene: what it wears, and its joints in metres."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from edge.sources.scene_walk import Stance

Colour = tuple[int, int, int]
Joint = tuple[float, float, float]
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


def pose(look: Look, stance: Stance, seconds: float) -> dict[str, Joint]:
    """Return the joints in metres: right, up, forward of the point on the ground between the feet.

    Sides are ``l`` and ``r``: hip, knee, ankle, toe, shoulder, elbow, hand; and pelvis, neck, head.
    """
    swing = math.tau * stance.phase
    sway = math.sin(seconds * 1.7 + look.texture)
    still = 1 - stance.pace
    body: dict[str, Joint] = {}
    for side, sign in (("l", -1.0), ("r", 1.0)):
        turn = swing + (math.pi if side == "l" else 0.0)
        thigh = 0.44 * stance.pace * math.sin(turn)
        knee = 0.06 + stance.pace * (0.10 + 0.85 * max(0.0, math.cos(turn)) ** 1.4)
        _leg(body, side, sign * 0.095 * look.broad, thigh, knee)
    lift = 0.085 - min(body["lankle"][1], body["rankle"][1])
    body["pelvis"] = _moved((0, 0, 0), (0.018 * sway * still, lift, 0))
    for name, joint in list(body.items()):
        if name != "pelvis":
            body[name] = _moved(joint, (0.018 * sway * still if "hip" in name else 0, lift, 0))
    breath = 0.004 * math.sin(seconds * 1.9 + look.texture)
    lean = 0.05 + 0.05 * stance.pace
    body["neck"] = _moved(body["pelvis"], (0.022 * sway * still, 0.53 + breath, lean))
    body["head"] = _moved(body["neck"], (0.012 * sway, 0.175, 0.035))
    for side, sign in (("l", -1.0), ("r", 1.0)):
        turn = swing + (math.pi if side == "r" else 0.0)
        angles = _arm_angles(stance, side, math.sin(turn), sway)
        _arm(body, side, sign, angles, look.broad)
    return {name: (x * look.tall, y * look.tall, z * look.tall) for name, (x, y, z) in body.items()}


def _moved(joint: Joint, by: Joint) -> Joint:
    return joint[0] + by[0], joint[1] + by[1], joint[2] + by[2]


def _leg(body: dict[str, Joint], side: str, x: float, thigh: float, knee: float) -> None:
    below = thigh - knee
    tip = below * 0.8
    body[side + "hip"] = hip = (x, 0.0, 0.0)
    body[side + "knee"] = _moved(hip, (0, -0.44 * math.cos(thigh), 0.44 * math.sin(thigh)))
    ankle = _moved(body[side + "knee"], (0, -0.43 * math.cos(below), 0.43 * math.sin(below)))
    body[side + "ankle"] = ankle
    toe = (math.copysign(0.035, x), -0.045 + 0.19 * math.sin(tip), 0.19 * math.cos(tip))
    body[side + "toe"] = _moved(ankle, toe)


def _arm_angles(stance: Stance, side: str, swing: float, sway: float) -> Joint:
    """Return the angles of the shoulder forwards, the elbow, and outwards, in radians."""
    rest = (0.5 * stance.pace * swing + 0.02 * sway, 0.28 + 0.2 * stance.pace, 0.10)
    gestures: tuple[dict[str, Joint], ...] = (
        {"r": (0.55, 1.9, 0.15)},  # telephone or radio at the ear
        {"l": (0.35, 1.25, 0.0), "r": (0.35, 1.25, 0.0)},  # holds a board before the chest
        {"r": (1.35 + 0.05 * sway, 0.15, 0.25)},  # points
        {},
    )
    goal = gestures[stance.kind].get(side, rest)
    first, second, third = (a + (b - a) * stance.gesture for a, b in zip(rest, goal, strict=True))
    return first, second, third


def _arm(body: dict[str, Joint], side: str, sign: float, angles: Joint, broad: float) -> None:
    forward, bend, out = angles
    lower = forward + bend
    shoulder = _moved(body["neck"], (sign * 0.180 * broad, -0.065, -0.01))
    reach = (sign * math.sin(out) * 0.30, -0.30 * math.cos(forward), 0.30 * math.sin(forward))
    body[side + "shoulder"] = shoulder
    body[side + "elbow"] = _moved(shoulder, reach)
    reach = (-sign * 0.027, -0.27 * math.cos(lower), 0.27 * math.sin(lower))
    body[side + "hand"] = _moved(body[side + "elbow"], reach)
