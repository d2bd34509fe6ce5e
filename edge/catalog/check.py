"""Check an installed model: it is what was installed, it loads, it answers sensibly."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.catalog.installed import Catalog, Installed
from edge.contracts import Engine
from edge.detections import Detections
from edge.errors import PartFailed

_ROUNDS = 5
_MOST_IN_NOTHING = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check found."""

    model: Installed
    #: time of one picture on this machine now, the fastest of five
    milliseconds: float
    #: what was checked, in words
    passed: tuple[str, ...]


def check(catalog: Catalog, model: str, open_engine: Callable[[Path], Engine]) -> Report:
    """Check an installed model.

    Args:
        catalog: where it is installed.
        model: its id.
        open_engine: opens a canonical graph (``OnnxEngine.open``).

    Raises:
        PartFailed: it is not installed, is damaged, does not run, or answers nonsense.

    """
    installed = catalog.find(model)
    if installed is None:
        raise PartFailed(
            f"{model} is not installed",
            hint=f"edge model pull {model}, or edge model import FILE",
            reason="not_installed",
        )
    engine = open_engine(installed.path)
    try:
        return Report(
            model=installed,
            milliseconds=_try(engine, installed),
            passed=(
                "the file is what was installed",
                "it loads and answers",
                "a flat picture shows nobody",
                "the same picture gives the same answer, alone and among others",
            ),
        )
    finally:
        engine.close()


def _try(engine: Engine, installed: Installed) -> float:
    if engine.info.digest != installed.digest:
        raise _failed(installed, "the file changed while it was read")
    width, height = engine.info.input_size
    flat = np.full((1, height, width, 3), 128, np.uint8)
    # Deterministic, and full of edges at every scale.
    noisy = np.random.default_rng(0).integers(0, 256, flat.shape, np.uint8)
    (nobody,) = engine.infer(flat, [None])
    if len(nobody) > _MOST_IN_NOTHING:
        raise _failed(installed, f"it sees {len(nobody)} people in a flat grey picture")
    (alone,) = engine.infer(noisy, [None])
    together = engine.infer(np.concatenate([flat, noisy, noisy]), [None] * 3)
    if not all(_same(alone, other) for other in together[1:]) or not _same(nobody, together[0]):
        raise _failed(installed, "the same picture gives other answers in a batch")
    return min(_seconds(engine, noisy) for _ in range(_ROUNDS)) * 1000


def _same(one: Detections, other: Detections) -> bool:
    """Tell whether two answers agree within rounding."""
    return len(one) == len(other) and bool(
        np.allclose(one.scores, other.scores, atol=1e-3)
        and np.allclose(one.boxes, other.boxes, atol=0.5)
    )


def _seconds(engine: Engine, batch: NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    engine.infer(batch, [None])
    return time.perf_counter() - start


def _failed(installed: Installed, what: str) -> PartFailed:
    return PartFailed(
        f"{installed.id} failed its check: {what}",
        hint="is its manifest right (colour order, scale, mean, std)?",
        reason="check_failed",
    )
