from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edge.errors import PartFailed
from edge.stages.engines.openvino import OpenVinoEngine, installed, precisions, said
from tests.catalog import tiny
from tests.places import ROOT


def test_answers_outlive_the_pictures_that_come_after(tmp_path: Path) -> None:
    engine = OpenVinoEngine.open(tiny.write(tmp_path / "model.onnx"))
    (before,) = engine.infer(tiny.picture(255), [None])
    engine.infer(tiny.picture(128), [None])
    assert before.scores == pytest.approx(1.0)


def test_what_openvino_refuses_while_it_runs_is_a_failure_of_the_engine(tmp_path: Path) -> None:
    engine = OpenVinoEngine.open(tiny.write(tmp_path / "model.onnx"))
    engine.info = type(engine.info)(
        **{name: getattr(engine.info, name) for name in engine.info.__slots__}
        | {"input_size": (64, 64)}
    )
    with pytest.raises(PartFailed, match="failed on OpenVINO") as caught:
        engine.infer(np.zeros((1, 64, 64, 3), np.uint8), [None])
    assert caught.value.reason == "engine_failed"


def test_workers_get_their_own_answers(tmp_path: Path) -> None:
    engine = OpenVinoEngine.open(tiny.write(tmp_path / "model.onnx"), streams=2)
    levels = [int(level) for level in np.linspace(160, 255, 60)]
    with ThreadPoolExecutor(4, thread_name_prefix="ask") as pool:
        seen = pool.map(lambda level: engine.infer(tiny.picture(level), [None])[0], levels)
        scores = [float(one.scores[0]) for one in seen]
    assert scores == pytest.approx([level / 255 for level in levels], abs=1e-3)


def test_a_precision_that_the_cpu_lacks_is_refused_and_others_answer(tmp_path: Path) -> None:
    path = tiny.write(tmp_path / "model.onnx")
    for precision in precisions():
        engine = OpenVinoEngine.open(path, precision=precision)
        assert engine.precision == precision
        assert len(engine.infer(tiny.picture(255), [None])[0]) == 1
    with pytest.raises(PartFailed, match="got f7"):
        OpenVinoEngine.open(path, precision="f7")  # type: ignore[arg-type]


def test_of_what_openvino_says_the_reason_is_kept() -> None:
    text = "Exception from src/core.cpp:117:\nCheck 'a' failed at src/b.cpp:1:\n[GPU] no device\n\n"
    assert said(RuntimeError(text)) == "[GPU] no device"
    assert said(RuntimeError("Exception from src/core.cpp:117:\n")).startswith("Exception")
    assert "RuntimeError" in said(RuntimeError())


def run(code: str, home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "HOME": str(home), "CI": "", "TF_BUILD": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_it_tells_nobody_that_it_is_used(tmp_path: Path) -> None:
    """As it comes, OpenVINO writes a client id to ~/intel and sends "import" to its makers."""
    model = tiny.write(tmp_path / "model.onnx")
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys, threading\nfrom pathlib import Path\n"
        "from edge.stages.engines.openvino import OpenVinoEngine\n"
        "assert 'openvino' not in sys.modules\n"
        f"OpenVinoEngine.open(Path({str(model)!r}))\n"
        "print([name for name, one in sys.modules.items() if 'telemetry' in name and one])\n"
        "print([thread.name for thread in threading.enumerate()])\n"
    )
    assert run(code, home).splitlines() == ["[]", "['MainThread']"]
    assert list(home.iterdir()) == []


def test_without_the_library_it_says_how_to_get_it(tmp_path: Path) -> None:
    code = (
        "import sys, importlib.metadata as m\n"
        "class Without:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'openvino': raise ModuleNotFoundError(name)\n"
        "    def find_distributions(self, context=None):\n"
        "        return iter(())\n"
        "sys.meta_path[:] = [Without(), *sys.meta_path]\n"
        "m.version = lambda name: (_ for _ in ()).throw(m.PackageNotFoundError(name))\n"
        "from edge.errors import PartFailed\n"
        "from edge.stages.engines import openvino\n"
        "print(repr(openvino.installed()))\n"
        "try: openvino.precisions()\n"
        "except PartFailed as error: print(error, '|', error.hint, '|', error.reason)\n"
    )
    first, second = run(code, tmp_path).splitlines()
    assert first == "''"
    assert second.startswith("OpenVINO is not installed | pip install")
    assert second.endswith("no_library")


def test_the_version_is_known_without_an_import() -> None:
    assert installed() == importlib.metadata.version("openvino")
    code = "import sys\nfrom edge.stages.engines.openvino import installed\n"
    code += "print(bool(installed()), 'openvino' in sys.modules)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"True False\n"
