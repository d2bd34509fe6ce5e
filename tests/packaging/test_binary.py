"""The built program works on a machine without Python, with libraries that lie outside of it.

The GPU and its library are fakes (``tests/gpu/README.md``); the builder of plans is the real one of
TensorRT-RTX, and so is OpenVINO.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.catalog.engine_form import engine_form
from edge.catalog.installed import Catalog
from tests.catalog import tiny
from tests.gpu.fakes import LIBRARY_PATH, environment
from tests.journeys.box import BoxProcess, until
from tests.places import ROOT, need, shared

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it once: that takes a minute, or four on a busy machine.

    ``packaging/build`` ends with ``packaging/smoke``, which fails loudly.
    """
    need("objdump", "binutils")
    need("curl", "curl")
    folder = tmp_path_factory.mktemp("dist")
    built = subprocess.run(
        [str(ROOT / "packaging" / "build"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-2000:]
    return folder / "edge" / "edge"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    Catalog(path).import_file(shared("data/models/originals/picodet_s_416_coco.onnx"))
    return path


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Return an empty directory for ``[tensorrt] library_path``."""
    path = tmp_path / "library"
    path.mkdir()
    return path


@pytest.fixture
def boxes() -> Iterator[list[BoxProcess]]:
    made: list[BoxProcess] = []
    yield made
    for box in made:
        box.close()


def lay(library: Path, *packages: str) -> None:
    """Put packages of this Python into a directory, as ``pip install --target`` does."""
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            pytest.skip(f"{package} is not installed: pip install -e .[dev]")
        path = Path(spec.origin)
        path = path.parent if path.name == "__init__.py" else path
        (library / path.name).symlink_to(path)


def lay_all_of(library: Path, folder: Path) -> None:
    for path in folder.iterdir():
        (library / path.name).symlink_to(path)


def a_box(tmp_path: Path, models: Path, program: Path, library: Path, engine: str) -> BoxProcess:
    box = BoxProcess(
        tmp_path,
        models,
        f'[sources.site]\nkind = "scene"\nfps = 2\nwidth = 320\nheight = 180\n'
        f'[store]\nkind = "folder"\npath = "{tmp_path}/store"\n'
        f'[detect]\nengine = "{engine}"\nmax_batch = 1\n'
        f'[tensorrt]\nlibrary_path = "{library}"\n',
    )
    box.program = [str(program)]
    return box


def serving(box: BoxProcess) -> str:
    return str(json.loads(box.get("/v1/engines")[1] or b"{}").get("serving"))


def test_the_built_program_answers_serves_and_stops(program: Path) -> None:
    assert os.access(program, os.X_OK)
    assert list(program.parent.rglob("picodet_s_416.toml"))


def test_it_builds_swaps_and_serves_with_a_library_and_pycuda_from_outside(
    tmp_path: Path, models: Path, program: Path, library: Path, boxes: list[BoxProcess]
) -> None:
    gpu = environment()
    del gpu["PYTHONPATH"]  # a frozen program does not read it; a Python that it would start does
    lay_all_of(library, LIBRARY_PATH)
    lay(library, "pytools", "platformdirs", "siphash24", "typing_extensions")
    (library / "tests").symlink_to(ROOT / "tests")  # what the fake library is made of
    box = a_box(tmp_path, models, program, library, "tensorrt")
    boxes.append(box)
    box.start(**gpu)
    until("the built engine looks", lambda: serving(box) == "tensorrt", 240)
    until("a picture is redacted", lambda: box.metric("edge_pictures_redacted_total") > 0)
    check = subprocess.run(
        [program, "engine", "check", "--config", box.config], env=gpu, check=False
    )
    assert check.returncode == 0
    assert box.stop() == 0


def test_it_looks_with_an_openvino_from_outside(
    tmp_path: Path, models: Path, program: Path, library: Path, boxes: list[BoxProcess]
) -> None:
    version = importlib.metadata.version("openvino")
    lay(library, "openvino")
    (library / f"openvino-{version}.dist-info").symlink_to(
        importlib.metadata.distribution("openvino")._path  # type: ignore[attr-defined]
    )
    box = a_box(tmp_path, models, program, library, "openvino")
    boxes.append(box)
    box.start()
    until("OpenVINO looks", lambda: serving(box) == "openvino", 240)
    check = subprocess.run(
        [program, "engine", "check", "--config", box.config],
        capture_output=True,
        text=True,
        check=False,
    )
    assert version in check.stdout
    assert box.stop() == 0


def test_its_child_builds_a_plan_with_the_real_builder_from_outside(
    tmp_path: Path, program: Path, library: Path
) -> None:
    lay(library, "tensorrt_rtx_bindings", "tensorrt_rtx_libs")
    # The package tensorrt_rtx has no wheel, and these are its only two lines.
    names = "".join(f"from tensorrt_rtx_bindings import {name}\n" for name in ("*", "__version__"))
    (library / "tensorrt_rtx").mkdir()
    (library / "tensorrt_rtx" / "__init__.py").write_text(names)
    form = engine_form(tiny.network(), tiny.manifest())
    (tmp_path / "form.onnx").write_bytes(form.SerializeToString(deterministic=True))
    request = {
        "onnx": str(tmp_path / "form.onnx"),
        "plan": str(tmp_path / "plan"),
        "library": "tensorrt_rtx",
        "library_version": importlib.metadata.version("tensorrt_rtx_cu13_bindings"),
        "library_path": str(library),
    }
    child = subprocess.run(
        [program, "engine", "build-child"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert child.returncode == 0, child.stdout[-500:] + child.stderr[-2000:]
    last = json.loads(child.stdout.splitlines()[-1])
    assert last["library"] == f"tensorrt_rtx {request['library_version']}"
    assert (tmp_path / "plan").stat().st_size > 10_000
