"""The self-test tells an engine that sees from one that does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.app.selftest import FLOOR, selftest
from edge.catalog.installed import Catalog
from edge.config.privacy import Policy
from edge.detections import Detections, EngineInfo
from edge.errors import PartFailed
from edge.stages.engines.onnx import OnnxEngine
from tests.places import shared


class Blind:
    """An engine that sees nobody, whatever it is shown."""

    info = EngineInfo(
        name="blind",
        model="none",
        digest="0" * 64,
        labels=("person",),
        input_size=(416, 416),
        threshold=0.3,
        resize="stretch",
        pad=114,
    )

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:  # noqa: ARG002
        empty = np.empty((0,), np.float32)
        return [
            Detections(
                boxes=np.empty((0, 4), np.float32), scores=empty, labels=empty.astype(np.int32)
            )
            for _ in batch
        ]

    def close(self) -> None:
        """Nothing is held here."""


class Broken(Blind):
    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:  # noqa: ARG002
        raise PartFailed("it burns")


@pytest.mark.parametrize("model", ["picodet_s_dyn.onnx", "yolox_nano_dyn.onnx"])
def test_a_trained_model_covers_drawn_people(tmp_path: Path, model: str) -> None:
    installed = Catalog(tmp_path).import_file(shared(f"data/models/{model}"))
    engine = OnnxEngine.open(installed.path, threshold=0.35)
    found = selftest(engine, Policy())
    engine.close()
    assert found.passed
    assert found.people > 20
    assert found.covered / found.people > FLOOR
    assert found.withheld == 0


def test_an_engine_that_sees_nobody_fails() -> None:
    found = selftest(Blind(), Policy())
    assert (found.passed, found.covered) == (False, 0)


def test_an_engine_that_breaks_says_so() -> None:
    with pytest.raises(PartFailed, match="burns"):
        selftest(Broken(), Policy())
