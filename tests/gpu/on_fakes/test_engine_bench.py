"""``edge engine bench`` with an engine on the fake GPU; its milliseconds mean nothing."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import onnx
import pytest

from edge.app.engine_ways import TensorRT
from edge.catalog.installed import Catalog, Installed
from edge.catalog.wishes import Wishes
from edge.cli.main import main
from edge.config.load import load
from edge.config.root import state_directory
from tests.catalog import tiny
from tests.gpu import fake_tensorrt
from tests.gpu.fakes import LIBRARY_PATH
from tests.parts import until
from tests.places import ROOT


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    path = tmp_path / "site.onnx"
    onnx.save(tiny.network(), path)
    given = {"resize": "stretch", "colour": "BGR", "scale": 1.0}
    wishes = Wishes(id="site", threshold=0.2, input=given)
    return Catalog(tmp_path / "models").import_file(path, wishes)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(
        f'[box]\nsite = "s"\nnode = "n"\nstate = "{tmp_path}/state"\n'
        f'[models]\npath = "{tmp_path}/models"\npull = false\n'
        f'[store]\nkind = "folder"\npath = "{tmp_path}/out"\n'
        f'[tensorrt]\nlibrary_path = "{LIBRARY_PATH}"\n'
    )
    return path


async def build(config: Path, installed: Installed) -> None:
    settings = load(config)
    way = TensorRT(settings, state_directory(settings.box), lambda: None)
    way.builds._command = ([sys.executable, "-m", "tests.gpu.fake_builder"], ROOT)
    assert way.lacks() is None
    await way.build(installed, force=False, asked=True)
    await until(lambda: way.build_status().state != "running", 60)
    assert way.build_status().state == "done", way.build_status()
    await way.close()


async def test_an_engine_of_the_gpu_is_measured_once_it_is_built(
    config: Path, installed: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["engine", "bench", "site", "--config", str(config), "--seconds", "0"]
    assert main([*asked, "--batch", "1"]) == 0
    said = capsys.readouterr().out
    assert re.search("tensorrt +- +it is not built yet", said), said
    assert "tensorrt: edge engine build" in said

    await build(config, installed)
    fake_tensorrt.ran.clear()
    assert main([*asked, "--batch", "1,4,12", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["engines"]}
    tensorrt = found["tensorrt"]
    assert set(tensorrt["milliseconds"]) == set(found["onnx"]["milliseconds"]) == {"1", "4", "12"}
    assert min(tensorrt["milliseconds"].values()) > 0
    assert tensorrt["agreement"]["passed"], tensorrt["agreement"]["text"]
    assert tensorrt["agreement"]["compared"] > 0
    assert max(fake_tensorrt.ran) == 8, "a larger batch than max_batch is cut"
