"""Trying engines: how fast each is on this box, and whether it agrees with ONNX Runtime.

A trial is made once for a model, an engine and a box, and remembered. Pace is measured in turns,
and each engine's quickest picture counts: what else the machine does then slows all of them, and
so none.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.contracts import Engine
from edge.engine_status import Agreement

ROUNDS = 12
"""Pictures that each engine is timed with."""
WORTH = 0.9
"""An engine takes over from ONNX Runtime if it needs less than this share of its time: what is
gained has to be more than what two measurements differ by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How an engine did beside ONNX Runtime."""

    agreement: Agreement
    #: for one picture alone
    milliseconds: float
    #: of ONNX Runtime, measured in turns with it
    reference: float

    @property
    def worth_it(self) -> bool:
        """Whether it is enough faster to take over."""
        return self.agreement.passed and self.milliseconds < WORTH * self.reference


def trial(
    engine: Engine,
    reference: Engine,
    agree: Callable[[Engine, Engine], Agreement],
    *,
    rounds: int = ROUNDS,
) -> Trial:
    """Try an engine beside its reference. Blocks for seconds.

    Args:
        engine: the one to be tried.
        reference: ONNX Runtime with the same model.
        agree: compares reference and engine over the parity pictures.
        rounds: pictures that each is timed with.

    Raises:
        PartFailed: one of them broke.

    """
    agreement = agree(reference, engine)
    slow, fast = paces((reference, engine), rounds)
    return Trial(agreement=agreement, milliseconds=fast, reference=slow)


def paces(engines: Sequence[Engine], rounds: int = ROUNDS) -> list[float]:
    """Return how many milliseconds each engine takes for one picture, at its best. Blocks."""
    best = [float("inf")] * len(engines)
    pictures = [_noise(engine) for engine in engines]
    for _ in range(rounds):
        for number, engine in enumerate(engines):
            started = time.perf_counter()
            engine.infer(pictures[number], (None,))
            best[number] = min(best[number], (time.perf_counter() - started) * 1000)
    return best


def _noise(engine: Engine) -> NDArray[np.uint8]:
    width, height = engine.info.input_size
    chance = np.random.default_rng(1)
    return chance.integers(0, 256, (1, height, width, 3), np.uint8)


def trial_key(*facts: str) -> str:
    """Return the name under which a trial is remembered: everything that it depends on."""
    return hashlib.sha256(json.dumps(["trial 1", *facts]).encode()).hexdigest()


def written(one: Trial) -> dict[str, Any]:
    """Write a trial down."""
    return asdict(one)


def read(facts: Mapping[str, Any] | None) -> Trial | None:
    """Read a trial that was written down; None where there is none, or it cannot be read."""
    if facts is None:
        return None
    try:
        agreement = Agreement(**facts["agreement"])
        return Trial(
            agreement=agreement,
            milliseconds=float(facts["milliseconds"]),
            reference=float(facts["reference"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
