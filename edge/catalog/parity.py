"""Parity: does an engine see what its reference sees? Nothing serves that was not asked.

The reference is the model on ONNX Runtime. Each of its detections is one person who must be found
by the engine, at the same place and under the same label. Those that lie so close to the threshold
that rounding decides are not asked for; all others are, one by one: an engine that finds them on
average only has somebody uncovered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.contracts import Engine
from edge.detections import Detections
from edge.engine_status import Agreement
from edge.errors import PartFailed

Pictures = Sequence[NDArray[np.uint8]]
"""``(h, w, 3)`` uint8 BGR, at the engine's input size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an engine may be off.

    Measured on the 82 labelled pictures (people-dev), R recall, C80 share of people covered:

    - half precision, every value rounded, eight detectors: nobody is lost, R and C80 stay; scores
      differ by 0.001 (median) and 0.019 at most, boxes overlap by 0.89 or more
    - 8-bit convolutions, on the 41 pictures that calibrated nothing: of those who are clearly
      above the threshold, 0.96 to 1.00 are found where C80 stays within 0.014 (YOLOX-nano 416,
      NanoDet, FastestDet, light-person, person-detection-0202), 0.92 where it falls by 0.026
      (YOLOX-nano 640), 0.78 by 0.11 (retail-0013), 0.16 to 0.43 by 0.43 and more (PicoDet).
      A score of somebody who is found moves by up to 0.48: it says little of who is covered.
    """

    #: nobody is asked for whose score is not this far above the threshold
    near: float
    #: largest difference of a score
    score: float
    #: smallest overlap (IoU) of two boxes that belong together
    overlap: float
    #: share of the reference's detections that must be found
    found: float
    #: the engine may see this many more, as a share of the reference's detections
    more: float


CLOSE = Tolerance(near=0.05, score=0.05, overlap=0.8, found=1.0, more=0.05)
"""The same network in float32, bfloat16 or half precision, on another engine."""

EIGHT_BIT = Tolerance(near=0.05, score=0.5, overlap=0.5, found=0.95, more=0.15)
"""A network with 8-bit convolutions against itself in float32."""

_SAME_PLACE = 0.5
"""Boxes that overlap less are not of one person."""
_FEW = 2
"""So many more detections are never too many."""
_BATCHES = (1, 2, 4)


@dataclass(slots=True)
class _Tally:
    compared: int = 0
    found: int = 0
    more: int = 0
    score: float = 0.0
    overlap: float = 1.0
    lost: list[str] = field(default_factory=list)


def agreement(
    reference: Engine, engine: Engine, pictures: Pictures, tolerance: Tolerance = CLOSE
) -> Agreement:
    """Compare what two engines see.

    The engine gets the pictures in batches of 1, 2 and 4, the reference one by one.

    Args:
        reference: the model as it is known to be right. A lower threshold compares more.
        engine: whatever wants to serve, at the same threshold or a lower one.
        pictures: of places with people; without a detection of the reference nothing is shown.
        tolerance: how far it may be off.

    Returns:
        What was found; ``passed`` only if something was compared and all of it was within the
        tolerance. It says so in ``text``.

    Raises:
        PartFailed: one of the engines failed, or they are not of one kind (``not_comparable``).

    Blocks: two looks at every picture.

    """
    _check_alike(reference, engine)
    tally = _Tally()
    for number, (here, there) in enumerate(_looks(reference, engine, pictures)):
        _compare(tally, here, there, (reference, engine), tolerance, f"picture {number + 1}")
    fault = _fault(tally, len(pictures), tolerance)
    return Agreement(
        passed=not fault,
        text=fault or _praise(tally, len(pictures)),
        pictures=len(pictures),
        compared=tally.compared,
        found=tally.found,
        score=round(tally.score, 4),
        overlap=round(tally.overlap, 4),
    )


def _check_alike(reference: Engine, engine: Engine) -> None:
    one, other = reference.info, engine.info
    if (one.input_size, one.labels) != (other.input_size, other.labels):
        raise PartFailed(
            f"{one.model} and {other.model} cannot be compared: {one.input_size} {one.labels} "
            f"against {other.input_size} {other.labels}",
            reason="not_comparable",
        )


def _looks(
    reference: Engine, engine: Engine, pictures: Pictures
) -> Iterator[tuple[Detections, Detections]]:
    """Let both look at every picture."""
    start = turn = 0
    while start < len(pictures):
        batch = np.stack(pictures[start : start + _BATCHES[turn % len(_BATCHES)]])
        answers = engine.infer(batch, [None] * len(batch))
        if len(answers) != len(batch):
            raise PartFailed(
                f"engine {engine.info.name} gave {len(answers)} answers to {len(batch)} pictures",
                reason="wrong_shape",
            )
        for row, answer in enumerate(answers):
            yield reference.infer(batch[row : row + 1], [None])[0], answer
        start, turn = start + len(batch), turn + 1


def _compare(
    tally: _Tally,
    here: Detections,
    there: Detections,
    engines: tuple[Engine, Engine],
    tolerance: Tolerance,
    where: str,
) -> None:
    """Pair the reference's detections with the engine's, the strongest first."""
    overlaps = _overlaps(here, there)
    free = np.ones(len(there), np.bool_)
    known = (overlaps >= _SAME_PLACE).any(axis=0)
    sure = engines[0].info.threshold + tolerance.near
    for row in np.argsort(-here.scores, kind="stable"):
        place = np.where(free, overlaps[row], 0.0)
        best = int(place.argmax()) if len(place) else -1
        hit = best >= 0 and place[best] >= _SAME_PLACE
        if hit:
            free[best] = False
        if here.scores[row] < sure:
            continue
        tally.compared += 1
        if not hit:
            tally.lost.append(f"score {here.scores[row]:.2f} in {where}")
            continue
        tally.found += 1
        tally.score = max(tally.score, abs(float(here.scores[row] - there.scores[best])))
        tally.overlap = min(tally.overlap, float(place[best]))
    clearly = there.scores >= engines[1].info.threshold + tolerance.near
    tally.more += int((clearly & ~known).sum())


def _fault(tally: _Tally, pictures: int, tolerance: Tolerance) -> str:
    """Say what is wrong; empty: nothing."""
    if not tally.compared:
        return f"nothing is shown: the reference sees nobody in {pictures} pictures"
    if tally.found < tolerance.found * tally.compared:
        return (
            f"it finds {tally.found} of the {tally.compared} that its reference sees, expected "
            f"{tolerance.found:.0%}; the first it misses has {tally.lost[0]}"
        )
    if tally.overlap < tolerance.overlap:
        return f"boxes overlap by {tally.overlap:.2f} only, expected {tolerance.overlap:g}"
    if tally.score > tolerance.score:
        return f"scores differ by {tally.score:.3f}, expected {tolerance.score:g} at most"
    if tally.more > _FEW + tolerance.more * tally.compared:
        return (
            f"it sees {tally.more} whom its reference does not see, beside {tally.compared} "
            "whom both should see"
        )
    return ""


def _praise(tally: _Tally, pictures: int) -> str:
    return (
        f"it finds {tally.found} of {tally.compared} in {pictures} pictures; scores differ by "
        f"{tally.score:.3f} at most, boxes overlap by {tally.overlap:.2f} or more"
    )


def _overlaps(here: Detections, there: Detections) -> NDArray[np.float32]:
    """Return IoU ``(n, m)`` of boxes; 0 where the labels differ."""
    one, other = here.boxes[:, None], there.boxes[None]
    low, high = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    common = (high - low).clip(0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (here.boxes, there.boxes)]
    union = areas[0][:, None] + areas[1][None] - common
    same = here.labels[:, None] == there.labels[None]
    return np.where(same & (union > 0), common / np.maximum(union, 1e-9), 0).astype(np.float32)
