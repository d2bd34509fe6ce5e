"""(x) of the bench, on the fake GPU: it runs to its end; its numbers mean nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import pytest

from edge.catalog.installed import Catalog
from edge.catalog.wishes import Wishes
from tests.bench import u_batching, x_tensorrt
from tests.bench.inputs import Inputs
from tests.bench.result import Missing
from tests.catalog import tiny
from tests.gpu.fakes import LIBRARY_PATH
from tests.places import ROOT

BUILDER = ([sys.executable, "-m", "tests.gpu.fake_builder"], ROOT)


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    """Have a tiny model, and two short moments of asking."""
    monkeypatch.setattr(x_tensorrt, "MODEL", "site")
    monkeypatch.setattr(u_batching, "SIDE", 32)
    for module in (x_tensorrt, u_batching):
        monkeypatch.setattr(module, "SECONDS", 0.5)
    onnx.save(tiny.network(), tmp_path / "site.onnx")
    given = {"resize": "stretch", "colour": "BGR", "scale": 1.0}
    Catalog(tmp_path).import_file(
        tmp_path / "site.onnx", Wishes(id="site", threshold=0.2, input=given)
    )
    return Inputs(tmp_path, ())


def test_an_engine_of_the_gpu_is_compared_with_another_provider(inputs: Inputs) -> None:
    rows = x_tensorrt.measure(
        inputs,
        library_path=str(LIBRARY_PATH),
        builder=BUILDER,
        provider="CPUExecutionProvider",
        rounds=3,
    )
    assert [row.unit for row in rows] == ["times as fast"] * 3 + ["of full batches"]
    assert all(row.value and row.value > 0 for row in rows)


def test_without_the_other_provider_its_own_time_is_told(inputs: Inputs) -> None:
    rows = x_tensorrt.measure(inputs, library_path=str(LIBRARY_PATH), builder=BUILDER, rounds=3)
    assert [row.unit for row in rows] == ["ms a picture"] * 3 + ["of full batches"]
    assert "onnxruntime-gpu" in rows[0].note


def test_what_a_gpu_lacks_is_said(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(Missing, match="tensorrt"):
        x_tensorrt.measure(inputs, library_path=str(tmp_path))
