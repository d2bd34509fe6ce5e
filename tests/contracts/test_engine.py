"""What every engine owes its caller (``edge.contracts.Engine``). One suite, every engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.contracts import Engine
from edge.detections import Detections
from edge.errors import PartFailed
from edge.stages.engines.builtin import BuiltinEngine
from edge.stages.engines.onnx import OnnxEngine
from edge.stages.engines.openvino import OpenVinoEngine
from tests.catalog import tiny
from tests.gpu.fakes import ON
from tests.gpu.on_fakes import parts


def _onnx(folder: Path) -> Engine:
    return OnnxEngine.open(tiny.write(folder / "model.onnx"))


def _openvino(folder: Path) -> Engine:
    return OpenVinoEngine.open(tiny.write(folder / "model.onnx"))


def _tensorrt(_: Path) -> Engine:
    return parts.opened()


def _builtin(_: Path) -> Engine:
    return BuiltinEngine(still_for=30.0)


ENGINES: dict[str, Callable[[Path], Engine]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "builtin": _builtin,
}
"""Name: how to open one; the folder is for files that it needs."""

# only in a child that has the fake GPU: tests/gpu/test_on_fakes.py starts it
if os.environ.get(ON):
    ENGINES["tensorrt"] = _tensorrt


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


def test_pictures_of_another_type_are_refused_not_answered(engine: Engine) -> None:
    batch: Any = noise(engine, 1).astype(np.float32)
    with pytest.raises(PartFailed, match="got"):
        engine.infer(batch, ["gate"])


def test_as_many_names_as_pictures_or_none_is_answered(engine: Engine) -> None:
    with pytest.raises(PartFailed, match="got"):
        engine.infer(noise(engine, 2), ["gate"])


def test_each_picture_is_judged_by_itself(engine: Engine) -> None:
    """What stands beside a picture in a batch changes nothing of its answer."""
    if engine.info.safe_mode:
        pytest.skip("it judges by what came before")
    width, height = engine.info.input_size
    shades = np.arange(0, 256, 32, dtype=np.uint8).reshape(-1, 1, 1, 1)
    batch = np.broadcast_to(shades, (len(shades), height, width, 3)).copy()
    together = engine.infer(batch, [None] * len(batch))
    alone = [engine.infer(row[np.newaxis], [None])[0] for row in batch]
    assert {len(one) for one in alone} == {0, 1}
    for one, other in zip(together, alone, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)
        assert one.boxes == pytest.approx(other.boxes, abs=1e-3)


def test_answers_do_not_change_afterwards(engine: Engine) -> None:
    (first,) = engine.infer(noise(engine, 1), ["gate"])
    before = first.scores.copy(), first.boxes.copy()
    for seed in range(3):
        engine.infer(noise(engine, 1, seed), ["gate"])
    assert (first.scores == before[0]).all()
    assert (first.boxes == before[1]).all()


def test_pictures_that_lie_apart_in_memory_are_answered(engine: Engine) -> None:
    width, height = engine.info.input_size
    wide = np.zeros((4, height, width * 2, 3), np.uint8)
    assert len(engine.infer(wide[::2, :, ::2], ["gate", "yard"])) == 2


def test_closed_it_fails_and_does_not_answer(engine: Engine) -> None:
    engine.infer(noise(engine, 1), ["gate"])
    engine.close()
    if engine.info.safe_mode:
        return  # it holds nothing that could be gone
    with pytest.raises(PartFailed, match="closed"):
        engine.infer(noise(engine, 1), ["gate"])
