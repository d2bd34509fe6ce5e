"""The self-test: the engine that serves now is shown drawn people, and has to have them covered.

The people are those of the drawn scene, so that no picture of anybody is needed, and everybody
knows where they are. It tells an engine that sees from one that does not; how well it sees real
people, ``models/*.toml`` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from edge.config.privacy import Policy
from edge.contracts import Engine
from edge.control.commands.results import SelfTested
from edge.errors import Withheld
from edge.frame import Frame, Pixels
from edge.sources.scene_drawing import SceneDrawing
from edge.stages.detect import detect
from edge.stages.redact import redact

FLOOR = 0.6
"""Share of people who have to be covered. Measured over three scenes: PicoDet-S 0.92 to 0.94,
YOLOX-nano 0.79 to 0.86; an engine that sees nobody has 0."""
_SEED, _SIZE, _PEOPLE = 1, (1280, 720), 5
_FRAMES = range(0, 40, 5)
_IN_SIGHT = 0.7
"""Who is hidden for more than the rest of it need not be seen."""
_TALL = 60
"""Pixels; smaller people are not asked for."""
_COVERED = 0.7
"""Share of a person's box that has to be covered."""


def selftest(engine: Engine, policy: Policy) -> SelfTested:
    """Show an engine known people, and look whether they would be covered.

    Args:
        engine: the one that serves.
        policy: how people are covered.

    Raises:
        PartFailed: the engine broke.

    """
    people = covered = withheld = 0
    for pixels, boxes in drawn(_FRAMES):
        people += len(boxes)
        now = datetime.now(UTC)
        frame = Frame(pixels=pixels, taken_at=now, source="", subject="selftest", live=False)
        try:
            redaction = redact(detect(frame, engine), policy)
        except Withheld:
            withheld += len(boxes)
            continue
        mask = np.zeros(pixels.shape[:2], np.bool_)
        for x1, y1, x2, y2 in redaction.covered.tolist():
            mask[y1:y2, x1:x2] = True
        covered += sum(mask[y1:y2, x1:x2].mean() >= _COVERED for x1, y1, x2, y2 in boxes.tolist())
    safe = (covered + withheld) / people
    return SelfTested(
        passed=safe >= FLOOR,
        people=people,
        covered=covered,
        withheld=withheld,
        floor=FLOOR,
        engine=engine.info.name,
        model=engine.info.model,
        safe_mode=engine.info.safe_mode,
    )


def drawn(frames: Iterable[int]) -> Iterator[tuple[Pixels, NDArray[np.int64]]]:
    """Draw frames of the scene, 1280 x 720, each with a box for every person who has to be seen."""
    drawing = SceneDrawing(_SEED, *_SIZE, _PEOPLE)
    for index in frames:
        pixels, boxes, shares = drawing.draw(index, 1.0)
        tall = boxes[:, 3] - boxes[:, 1] >= _TALL
        yield pixels, boxes[tall & (shares >= _IN_SIGHT)].astype(np.int64)
