from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edge.catalog.installed import Catalog, Installed
from edge.catalog.wishes import Wishes
from edge.cli.engine_bench import Candidate, measure
from edge.cli.main import main
from edge.contracts import Engine
from edge.engine_status import Agreement
from edge.errors import PartFailed
from edge.stages.engines.onnx import OnnxEngine
from tests.catalog import tiny
from tests.catalog.conftest import published

__all__ = ["published"]


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    path = tmp_path / "site.onnx"
    onnx.save(tiny.network(), path)
    given = {"resize": "stretch", "colour": "BGR", "scale": 1.0}
    wishes = Wishes(id="site", threshold=0.6, input=given)
    return Catalog(tmp_path / "models").import_file(path, wishes)


def missing() -> Engine:
    raise PartFailed("it is not installed", hint="install it")


def alike(reference: Engine, engine: Engine) -> Agreement:
    assert reference is not engine
    return Agreement(passed=True, text=f"{engine.info.name} as {reference.info.name}")


def test_each_engine_is_measured_at_each_size_and_compared_with_the_first(
    installed: Installed,
) -> None:
    def opened() -> Engine:
        return OnnxEngine.open(installed.path)

    names = {"onnx": opened, "other": opened, "absent": missing}
    engines = [Candidate(name=name, open=way) for name, way in names.items()]
    first, second, third = measure(engines, (1, 4), 0.0, alike)
    assert set(first.milliseconds) == set(second.milliseconds) == {1, 4}
    assert min(*first.milliseconds.values(), *second.milliseconds.values()) > 0
    assert first.agreement is None
    assert second.agreement is not None
    assert (third.milliseconds, third.why, third.hint) == ({}, "it is not installed", "install it")


def test_an_engine_that_breaks_while_it_is_measured_does_not_end_the_others(
    installed: Installed,
) -> None:
    def broken() -> Engine:
        engine = OnnxEngine.open(installed.path)
        engine.close()
        return engine

    engines = [
        Candidate(name="broken", open=broken),
        Candidate(name="onnx", open=lambda: OnnxEngine.open(installed.path)),
    ]
    first, second = measure(engines, (1,), 0.0, alike)
    assert "is closed" in first.why
    assert second.milliseconds[1] > 0


def test_a_model_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engine", "bench", "nobody", "--models", str(tmp_path)]) == 1
    assert "nobody is not installed" in capsys.readouterr().err
    assert main(["engine", "bench", "--batch", "1,none"]) == 2
    assert "1,4,8" in capsys.readouterr().err
