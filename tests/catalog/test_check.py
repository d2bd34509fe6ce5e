from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edge.catalog.check import check
from edge.catalog.installed import Catalog
from edge.errors import PartFailed
from edge.stages.engines.onnx import OnnxEngine
from tests.catalog import tiny


def catalog(tmp_path: Path, model: onnx.ModelProto) -> Catalog:
    body = model.SerializeToString()
    (tmp_path / "tiny.onnx").write_bytes(body)
    found = Catalog(tmp_path / "models", manifests={"tiny": tiny.manifest(body, threshold=0.6)})
    found.import_file(tmp_path / "tiny.onnx")
    return found


def test_a_sound_model_passes(tmp_path: Path) -> None:
    report = check(catalog(tmp_path, tiny.network()), "tiny", OnnxEngine.open)
    assert report.model.id == "tiny"
    assert report.milliseconds > 0
    assert len(report.passed) == 4


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PartFailed, match="not installed"):
        check(catalog(tmp_path, tiny.network()), "huge", OnnxEngine.open)


def test_a_damaged_model_fails_before_it_is_loaded(tmp_path: Path) -> None:
    models = catalog(tmp_path, tiny.network())
    (models.path / "tiny" / "model.onnx").write_bytes(b"damaged")

    def never(_: Path) -> OnnxEngine:
        raise AssertionError("a damaged file was loaded")

    with pytest.raises(PartFailed, match="damaged"):
        check(models, "tiny", never)


def test_a_model_that_sees_a_crowd_in_nothing_fails(tmp_path: Path) -> None:
    crowd = tuple(
        tiny.Person(centre=(3.0 + 6 * (n % 5), 3.0 + 6 * (n // 5)), size=(2.0, 2.0), share=1.9)
        for n in range(20)
    )
    with pytest.raises(PartFailed, match="20 people in a flat grey picture"):
        check(catalog(tmp_path, tiny.network(crowd)), "tiny", OnnxEngine.open)
