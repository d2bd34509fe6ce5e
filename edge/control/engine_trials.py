"""Trying engines: how fast each is on this box, and whether it agrees with ONNX Runtime.

A trial is made once for a model, an engine and a box, and remembered. Pace is measured in turns,
and each engine's quickest picture counts: what else the machine does then slows all of them, and
so none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.contracts import Engine
from edge.engine_status import Agreement

ROUNDS, EACH = 6, 3
"""Turns that each engine is timed in, and pictures of each thread in a turn."""
WORTH = 0.9
"""An engine takes over from ONNX Runtime if it needs less than this share of its time: what is
gained has to be more than what two measurements differ by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How an engine did beside ONNX Runtime."""

    agreement: Agreement
    #: for a picture, while as many are brought as the box has workers
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
    hands: int = 1,
    more: int = 0,
) -> Trial:
    """Try an engine beside its reference. Blocks for seconds.

    Args:
        engine: the one to be tried.
        reference: ONNX Runtime with the same model.
        agree: compares reference and engine over the parity pictures.
        hands: threads that bring pictures at the same time.
        more: threads besides that the box has while the one to be tried serves.

    Raises:
        PartFailed: one of them broke.

    """
    agreement = agree(reference, engine)
    slow, fast = paces({reference: hands, engine: hands + more})
    return Trial(agreement=agreement, milliseconds=fast, reference=slow)


def paces(engines: Mapping[Engine, int], rounds: int = ROUNDS) -> list[float]:
    """Return how many milliseconds each engine takes for a picture, at its best. Blocks.

    Args:
        engines: they take turns; each with the threads that bring pictures at the same time, as
            the box has workers while it serves.
        rounds: turns of each; the quickest counts.

    """
    best = [float("inf")] * len(engines)
    with contextlib.ExitStack() as held:
        pools = [
            held.enter_context(ThreadPoolExecutor(hands, thread_name_prefix="trial"))
            for hands in engines.values()
        ]
        for _ in range(rounds):
            for number, (engine, hands) in enumerate(engines.items()):
                best[number] = min(best[number], _turn(engine, pools[number], hands))
    return best


def _turn(engine: Engine, pool: ThreadPoolExecutor, hands: int) -> float:
    picture, many = _noise(engine), hands * EACH
    started = time.perf_counter()
    for answer in [pool.submit(engine.infer, picture, (None,)) for _ in range(many)]:
        answer.result()
    return (time.perf_counter() - started) * 1000 / many


def _noise(engine: Engine) -> NDArray[np.uint8]:
    width, height = engine.info.input_size
    chance = np.random.default_rng(1)
    return chance.integers(0, 256, (1, height, width, 3), np.uint8)


def trial_key(*facts: str) -> str:
    """Return the name under which a trial is remembered: everything that it depends on."""
    return hashlib.sha256(json.dumps(["trial 2", *facts]).encode()).hexdigest()


def written(one: Trial) -> dict[str, Any]:
    """Write a trial down."""
    return asdict(one)


def read(facts: Mapping[str, Any] | None) -> Trial | None:
    """Read a trial that was written down; None where there is none, or it cannot be read."""
    if facts is None:
        return None
    try:
        agreement = Agreement(**facts["agreement"])
        exact = isinstance(facts["agreement"]["passed"], bool)
        paces = float(facts["milliseconds"]), float(facts["reference"])
    except (KeyError, TypeError, ValueError):
        return None
    # whatever is not exactly what a trial writes shows nothing
    if not exact or not all(0 < one < math.inf for one in paces):
        return None
    return Trial(agreement=agreement, milliseconds=paces[0], reference=paces[1])
