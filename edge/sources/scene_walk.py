"""Where a figure of the demonstration scene is at a time: a closed walk, a pure function of time.

Distances are metres on the ground, x to the right and z away from the camera.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from dataclasses import dataclass

_START = 0.6
"""Seconds to reach walking pace, and to stop."""
_TURN = 0.9
"""Seconds to turn on the spot."""
_STRIDE = 1.45
"""Metres of two steps."""
_STOPS = 10


@dataclass(frozen=True, slots=True)
class Ground:
    """Where one may walk: between two depths, inside the view, and around the obstacles."""

    near: float
    far: float
    #: half of the visible width at a depth, divided by the depth
    spread: float
    #: ``(x0, x1, z0, z1)`` each
    obstacles: tuple[tuple[float, float, float, float], ...]

    def free(self, x: float, z: float, room: float = 0.55) -> bool:
        """Tell whether somebody can stand there with ``room`` metres around him."""
        return not any(
            x0 - room < x < x1 + room and z0 - room < z < z1 + room
            for x0, x1, z0, z1 in self.obstacles
        )

    def clear(self, a: tuple[float, float], b: tuple[float, float]) -> bool:
        """Tell whether the straight way from ``a`` to ``b`` is free."""
        steps = max(2, int(math.dist(a, b) / 0.2))
        return all(
            self.free(a[0] + (b[0] - a[0]) * i / steps, a[1] + (b[1] - a[1]) * i / steps)
            for i in range(steps + 1)
        )


@dataclass(frozen=True, slots=True)
class Stance:
    """How a figure stands at one moment."""

    x: float
    z: float
    #: radians: 0 walks away from the camera, a quarter turn walks to the right
    heading: float
    #: cycles of two steps walked so far
    phase: float
    #: 0 standing, 1 walking
    pace: float
    #: 0 to 1: how far the arms are in the gesture of this stop
    gesture: float
    #: which gesture
    kind: int


@dataclass(frozen=True, slots=True)
class _Leg:
    """A stop and the way to the next one."""

    begin: float
    start: tuple[float, float]
    end: tuple[float, float]
    pause: float
    walk: float
    before: float
    heading: float
    walked: float
    kind: int


class Walk:
    """A closed walk over the ground with pauses, made from a random generator of its own."""

    def __init__(self, chance: random.Random, ground: Ground) -> None:
        self.speed = chance.uniform(0.85, 1.35)
        stops = _stops(chance, ground)
        self._legs = self._plan(chance, stops)
        last = self._legs[-1]
        self._period = last.begin + last.pause + last.walk
        self._distance = last.walked + math.dist(last.start, last.end)
        self._lead = chance.uniform(0, self._period)
        self._begins = [leg.begin for leg in self._legs]

    def _plan(self, chance: random.Random, stops: list[tuple[float, float]]) -> list[_Leg]:
        legs: list[_Leg] = []
        begin = walked = 0.0
        way = list(zip(stops, [*stops[1:], stops[0]], strict=True))
        headings = [math.atan2(b[0] - a[0], b[1] - a[1]) for a, b in way]
        for i, (start, end) in enumerate(way):
            pause = _TURN + chance.choice((0.0, 0.0, 0.3, 1.5, 3.0, 5.0))
            walk = math.dist(start, end) / self.speed + _START
            kind = chance.randrange(4)
            legs.append(
                _Leg(begin, start, end, pause, walk, headings[i - 1], headings[i], walked, kind)
            )
            begin += pause + walk
            walked += math.dist(start, end)
        return legs

    def at(self, seconds: float) -> Stance:
        """Return the stance at a time; any time, before and after."""
        rounds, now = divmod(seconds + self._lead, self._period)
        leg = self._legs[bisect_right(self._begins, now) - 1]
        now -= leg.begin
        before = rounds * self._distance + leg.walked
        if now < leg.pause:
            return self._standing(leg, now, before)
        now -= leg.pause
        gone = min(self.speed * _eased(now, leg.walk), math.dist(leg.start, leg.end))
        share = gone / max(math.dist(leg.start, leg.end), 1e-6)
        x, z = (a + (b - a) * share for a, b in zip(leg.start, leg.end, strict=True))
        pace = max(0.0, min(now, leg.walk - now, _START) / _START)
        return Stance(x, z, leg.heading, (before + gone) / _STRIDE, pace, 0.0, leg.kind)

    @staticmethod
    def _standing(leg: _Leg, now: float, before: float) -> Stance:
        turn = (leg.heading - leg.before + math.pi) % math.tau - math.pi
        turned = _smooth((now - (leg.pause - _TURN)) / _TURN)
        stay = leg.pause - _TURN
        gesture = _smooth(min(now, stay - now) / 0.6) if stay > 0 else 0.0
        return Stance(
            *leg.start, leg.before + turn * turned, before / _STRIDE, 0.0, gesture, leg.kind
        )


def _smooth(share: float) -> float:
    share = min(1.0, max(0.0, share))
    return share * share * (3 - 2 * share)


def _eased(now: float, whole: float) -> float:
    """Seconds' worth of full pace after ``now`` of ``whole`` seconds, with both ends eased."""
    if whole < 2 * _START:
        return (whole - _START) * _smooth(now / whole)
    if now < _START:
        return now * now / (2 * _START)
    if now > whole - _START:
        return whole - _START - (whole - now) ** 2 / (2 * _START)
    return now - _START / 2


def _stops(chance: random.Random, ground: Ground) -> list[tuple[float, float]]:
    """Choose stops whose ways are free, the way back to the first included."""
    while True:
        stops = [_spot(chance, ground)]
        for _ in range(400):
            spot = _spot(chance, ground)
            closing = len(stops) >= _STOPS - 1
            near_enough = 1.5 < math.dist(stops[-1], spot) < 14
            if near_enough and ground.clear(stops[-1], spot):
                if not closing:
                    stops.append(spot)
                elif ground.clear(spot, stops[0]):
                    return [*stops, spot]


def _spot(chance: random.Random, ground: Ground) -> tuple[float, float]:
    """Choose a free spot; near ones as often as far ones in the picture, some just outside."""
    while True:
        z = 1 / chance.uniform(1 / ground.far, 1 / ground.near)
        x = chance.uniform(-1.06, 1.06) * ground.spread * z
        if ground.free(x, z):
            return x, z
