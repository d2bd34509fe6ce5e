"""What every engine owes its caller (``edge.contracts.Engine``). One suite, every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edge.contracts import Engine
from edge.detections import Detections
from edge.errors import PartFailed
from edge.stages.batcher import Batcher
from edge.stages.engines.builtin import BuiltinEngine
from edge.stages.engines.onnx import OnnxEngine
from tests.catalog import tiny


def _onnx(folder: Path) -> Engine:
    return OnnxEngine.open(tiny.write(folder / "model.onnx"))


def _batched(folder: Path) -> Engine:
    return Batcher(_onnx(folder), max_batch=4, max_queue_delay=0.001)


def _builtin(_: Path) -> Engine:
    return BuiltinEngine(still_for=30.0)


ENGINES: dict[str, Callable[[Path], Engine]] = {
    "onnx": _onnx,
    "batched": _batched,
    "builtin": _builtin,
}
"""Name: how to open one; the folder is for files that it needs."""


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    opened = ENGINES[request.param](tmp_path)
    yield opened
    opened.close()


def noise(engine: Engine, n: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    width, height = engine.info.input_size
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), np.uint8)


def test_its_facts_are_complete(engine: Engine) -> None:
    info = engine.info
    assert info.name
    assert info.model
    assert info.labels
    assert min(info.input_size) > 0
    assert info.resize in {"stretch", "letterbox"}
    assert 0 <= info.threshold <= 1


@pytest.mark.parametrize("n", [1, 2, 5])
def test_every_picture_gets_one_answer(engine: Engine, n: int) -> None:
    answers = engine.infer(noise(engine, n), [f"gate-{row}" for row in range(n)])
    assert len(answers) == n
    assert all(isinstance(one, Detections) for one in answers)


def test_no_pictures_get_no_answers(engine: Engine) -> None:
    assert engine.infer(noise(engine, 0), []) == []


def test_answers_stay_above_the_threshold_and_within_the_labels(engine: Engine) -> None:
    (seen,) = engine.infer(noise(engine, 1), ["gate"])
    assert (seen.scores >= engine.info.threshold).all()
    assert set(seen.labels.tolist()) <= set(range(len(engine.info.labels)))


def test_the_pictures_stay_as_they_are(engine: Engine) -> None:
    batch = noise(engine, 2)
    before = batch.copy()
    batch.flags.writeable = False
    engine.infer(batch, ["gate", "yard"])
    assert (batch == before).all()


@pytest.mark.parametrize("shape", [(1, 7, 7, 3), (1, 32, 32), (1, 3, 32, 32)])
def test_pictures_of_another_size_are_refused_not_answered(
    engine: Engine, shape: tuple[int, ...]
) -> None:
    with pytest.raises(PartFailed, match="got"):
        engine.infer(np.zeros(shape, np.uint8), ["gate"])


def test_several_threads_may_ask_at_once(engine: Engine) -> None:
    def ask(seed: int) -> int:
        return len(engine.infer(noise(engine, 1, seed), [f"gate-{seed}"]))

    with ThreadPoolExecutor(4, thread_name_prefix="ask") as pool:
        assert list(pool.map(ask, range(24))) == [1] * 24
