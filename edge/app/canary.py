"""The canary: three drawn pictures that an engine is shown before it serves, always.

It tells an engine that sees from one that does not, in the time of three pictures. Drawn people
are seen by every model that ships: of 15, at the models' own thresholds, LightPerson finds 7,
FastestDet 13, all others 13 to 15. A model that somebody imports may see no drawn people at all
(a thermal one), and a threshold may be high: so the floor is asked only of a model that ships, at
its own threshold or below. Of any other, what counts is what it saw before on this very box.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from edge.app.selftest import drawn
from edge.contracts import Engine
from edge.control.engine_memory import Memory
from edge.control.engines import REFERENCE
from edge.errors import PartFailed
from edge.frame import Frame, Pixels
from edge.stages.detect import detect

log = logging.getLogger(__name__)

FRAMES = (15, 20, 25)
FLOOR = 3
"""Of 15 drawn people; the least that a shipped model found at its own threshold is 7."""
KEPT = 0.5
"""Share of what an engine's reference saw before that it has to see again."""
_OVERLAP = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The model that an engine runs, as far as the canary needs it."""

    #: SHA-256 of the canonical graph
    digest: str
    #: its own threshold, if it ships with Edge; None: nobody has measured it
    measured_threshold: float | None


class Canary:
    """Shows engines drawn people, and remembers what each model saw.

    Args:
        memory: what was seen before on this box.

    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._lock = threading.Lock()
        self._pictures: list[tuple[Pixels, list[list[int]]]] = []
        #: how the newest engine did, in words
        self.said = ""

    def check(self, engine: Engine, model: Shown) -> str:
        """Show an engine the pictures. Blocks.

        Returns:
            How it did, in words.

        Raises:
            PartFailed: ``canary``: it does not see who it has to; or the engine broke.

        """
        found, people = self._look(engine)
        key = _key(engine, model)
        before = self._memory.get(key)
        if before is not None and not isinstance(before.get("found"), int):
            before = None
        least, why = _least(engine, model, before)
        name = f"{engine.info.name} with {engine.info.model}"
        if found < least:
            raise PartFailed(
                f"{name} sees {found} of {people} drawn people, expected at least {least}: {why}",
                hint=_hint(engine),
                reason="canary",
            )
        if engine.info.name == REFERENCE and (before is None or found > before["found"]):
            self._memory.keep(key, {"found": found})
        self.said = f"it sees {found} of {people} drawn people"
        if not found:
            self.said += ": whether this model sees anybody has to be tried with real ones"
            log.warning("%s: %s", name, self.said)
        return self.said

    def _look(self, engine: Engine) -> tuple[int, int]:
        with self._lock:
            if not self._pictures:
                self._pictures = [(pixels, boxes.tolist()) for pixels, boxes in drawn(FRAMES)]
        found = people = 0
        for pixels, boxes in self._pictures:
            now = datetime.now(UTC)
            frame = Frame(pixels=pixels, taken_at=now, source="", subject="canary", live=False)
            seen = detect(frame, engine).detections.boxes
            people += len(boxes)
            found += sum(_overlap(box, seen) >= _OVERLAP for box in boxes)
        return found, people


def _hint(engine: Engine) -> str:
    if engine.info.name == REFERENCE:
        return f"edge model check {engine.info.model}; edge doctor"
    return "ONNX Runtime sees with this model: another version of this engine's library may, too"


def _least(engine: Engine, model: Shown, before: Mapping[str, Any] | None) -> tuple[int, str]:
    own = model.measured_threshold
    if own is not None and engine.info.threshold <= own:
        floor = FLOOR, "every shipped model sees more"
    else:
        floor = 0, ""
    seen = 0 if before is None else int(before["found"])
    kept = round(seen * KEPT), f"ONNX Runtime saw {seen} with this model on this box"
    return max(floor, kept, key=lambda one: one[0])


def _key(engine: Engine, model: Shown) -> str:
    facts = ["canary 1", model.digest, repr(engine.info.threshold)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _overlap(box: list[int], seen: np.ndarray[Any, np.dtype[np.float32]]) -> float:
    """Return the largest IoU of a box with any that was seen."""
    if not len(seen):
        return 0.0
    x1, y1, x2, y2 = box
    wide = np.minimum(seen[:, 2], x2) - np.maximum(seen[:, 0], x1)
    high = np.minimum(seen[:, 3], y2) - np.maximum(seen[:, 1], y1)
    both = np.maximum(wide, 0) * np.maximum(high, 0)
    areas = (seen[:, 2] - seen[:, 0]) * (seen[:, 3] - seen[:, 1])
    return float((both / (areas + (x2 - x1) * (y2 - y1) - both)).max())


def memory_in(directory: Path) -> Memory:
    """Return what is remembered of engines under a state directory."""
    return Memory(directory / "engines" / "measured.json")
