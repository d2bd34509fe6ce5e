"""The canary: it tells a blind engine from one that sees, and withholds no box that worked."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.app.canary import FLOOR, FRAMES, Canary, Shown, memory_in
from edge.app.selftest import drawn
from edge.catalog.installed import Catalog, Installed
from edge.catalog.manifest import shipped_manifests
from edge.detections import Detections
from edge.errors import PartFailed
from edge.stages.engines.onnx import OnnxEngine
from tests.places import shared
from tests.stages.parts import FixedEngine

SHIPS = Shown(digest="a" * 64, measured_threshold=0.3)
IMPORTED = Shown(digest="b" * 64, measured_threshold=None)


class Sees(FixedEngine):
    """Finds the first so many drawn people of each picture."""

    def __init__(self, many: int, name: str = "onnx") -> None:
        super().__init__()
        object.__setattr__(self.info, "name", name)
        object.__setattr__(self.info, "input_size", (1280, 720))
        self._answers = [_of(boxes[:many].astype(np.float32)) for boxes in _people()]
        self._turn = 0

    def infer(self, batch: object, sources: object) -> list[Detections]:  # noqa: ARG002
        self._turn += 1
        return [self._answers[(self._turn - 1) % len(FRAMES)]]


@cache
def _people() -> list[NDArray[np.int64]]:
    return [boxes for _, boxes in drawn(FRAMES)]


def _of(boxes: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Detections:
    n = len(boxes)
    return Detections(boxes=boxes, scores=np.full(n, 0.9, np.float32), labels=np.zeros(n, np.int32))


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    return Canary(memory_in(tmp_path))


def test_a_shipped_model_that_sees_nobody_does_not_serve(canary: Canary) -> None:
    with pytest.raises(PartFailed, match="sees 0 of 15") as caught:
        canary.check(Sees(0), SHIPS)
    assert caught.value.reason == "canary"


def test_a_model_of_somebody_else_may_see_no_drawn_people(canary: Canary) -> None:
    assert "has to be tried" in canary.check(Sees(0), IMPORTED)


def test_what_the_reference_saw_here_is_asked_of_every_engine(
    canary: Canary, tmp_path: Path
) -> None:
    assert canary.check(Sees(5), IMPORTED) == "it sees 15 of 15 drawn people"
    later = Canary(memory_in(tmp_path))
    for blind, what_to_do in (
        (Sees(0, "tensorrt"), "another version of this engine's library"),
        (Sees(2, "openvino"), "another version of this engine's library"),
        (Sees(0), "edge model check"),
    ):
        with pytest.raises(PartFailed, match="ONNX Runtime saw 15") as caught:
            later.check(blind, IMPORTED)
        assert what_to_do in caught.value.hint
    assert later.said == ""
    assert later.check(Sees(4, "tensorrt"), IMPORTED) == "it sees 12 of 15 drawn people"


def test_what_another_engine_saw_is_asked_of_nobody(canary: Canary) -> None:
    canary.check(Sees(5, "tensorrt"), IMPORTED)
    assert canary.check(Sees(0), IMPORTED).startswith("it sees 0 of 15")


def test_another_threshold_is_another_thing_to_remember(canary: Canary) -> None:
    canary.check(Sees(5), IMPORTED)
    with pytest.raises(PartFailed, match="ONNX Runtime saw 15"):
        canary.check(Sees(0), IMPORTED)
    higher = Sees(0)
    object.__setattr__(higher.info, "threshold", 0.9)
    assert canary.check(higher, IMPORTED).startswith("it sees 0 of 15")
    # nor is the floor asked above the threshold at which it was measured
    above = Shown(digest="c" * 64, measured_threshold=0.3)
    assert canary.check(higher, above).startswith("it sees 0 of 15")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"x": 1}'])
def test_a_memory_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "engines" / "measured.json"
    path.parent.mkdir()
    path.write_text(text)
    assert Canary(memory_in(tmp_path)).check(Sees(3), SHIPS) == "it sees 9 of 15 drawn people"
    with pytest.raises(PartFailed, match="ONNX Runtime saw 9"):  # from here on it remembers
        Canary(memory_in(tmp_path)).check(Sees(1), SHIPS)


def models() -> list[str]:
    return sorted(shipped_manifests())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Installed]:
    """Every shipped model whose file is among the shared data."""
    catalog = Catalog(tmp_path_factory.mktemp("models"))
    known = {one.bytes for one in catalog.manifests.values()}
    files = [*shared("data/models").glob("*.onnx"), *shared("data/models/originals").glob("*.onnx")]
    for file in files:
        if file.stat().st_size in known:
            catalog.import_file(file)
    return {one.id: one for one in catalog.ls() if isinstance(one, Installed)}


@pytest.mark.parametrize("model", models())
def test_every_shipped_model_keeps_the_floor_twice_over(
    model: str, installed: dict[str, Installed], canary: Canary
) -> None:
    if model not in installed:
        pytest.skip(f"{model} is not among the shared data")
    one = installed[model]
    engine = OnnxEngine.open(one.path)
    shown = Shown(digest=one.digest, measured_threshold=one.manifest.threshold)
    seen = int(canary.check(engine, shown).split()[2])
    engine.close()
    assert seen >= 2 * FLOOR
