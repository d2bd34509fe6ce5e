"""Only names that every supported TensorRT has are used: 10.3, 10.16, 11.4 and TensorRT-RTX 1.7.

It reads the source. What a name does is not shown by this, only that it is there.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.stages.engines.tensorrt_names import PORTABLE, VERSIONS

SOURCES = sorted((ROOT / "edge" / "stages" / "engines").glob("tensorrt*.py"))
EVERY_NAME = ROOT.parent / "shared" / "gpu" / "trt_api_names.json"

OBJECTS = {
    "tensorrt_build.py": {
        "builder": "Builder",
        "network": "INetworkDefinition",
        "config": "IBuilderConfig",
        "parser": "OnnxParser",
        "profile": "IOptimizationProfile",
        "cache": "ITimingCache",
    },
    "tensorrt_runtime.py": {"runtime": "Runtime", "engine": "ICudaEngine"},
    "tensorrt_slot.py": {"engine": "ICudaEngine", "context": "IExecutionContext"},
    "tensorrt_thread.py": {"engine": "ICudaEngine", "runtime": "Runtime"},
}
"""How objects of TensorRT are called in our files, and what they are."""

FORBIDDEN = {
    # a plan for other versions carries code of its own
    "VERSION_COMPATIBLE",
    "engine_host_code_allowed",
    "EXCLUDE_LEAN_RUNTIME",
    # precision lies in the graph
    "FP16",
    "INT8",
}


def foreign(source: str, objects: Mapping[str, str]) -> list[str]:
    """Return what is not portable, as ``line: name``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            found += [f"{node.lineno}: {name}" for name in _missing(node, objects)]
    return found


def _missing(node: ast.Attribute, objects: Mapping[str, str]) -> Iterator[str]:
    if node.attr in FORBIDDEN:
        yield node.attr
    owner = node.value
    name = owner.id if isinstance(owner, ast.Name) else ""
    if isinstance(owner, ast.Attribute) and ast.unparse(owner.value) == "self":
        name = owner.attr
    kind = objects.get(name.lstrip("_"))
    if kind is not None and node.attr not in PORTABLE[kind]:
        yield f"{kind}.{node.attr}"
    if name == "trt" and node.attr not in {*PORTABLE, "__version__", "__name__"}:
        yield f"trt.{node.attr}"
    if isinstance(owner, ast.Attribute) and ast.unparse(owner.value) in {"trt", "self._trt"}:
        members = PORTABLE.get(owner.attr, frozenset())
        if members and node.attr not in members | {"__init__"}:
            yield f"trt.{owner.attr}.{node.attr}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_only_portable_names_are_used(path: Path) -> None:
    assert foreign(path.read_text(encoding="utf-8"), OBJECTS.get(path.name, {})) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("trt.BuilderFlag.FP16", ["1: FP16"]),
        ("trt.BuilderFlag.BF16", ["1: trt.BuilderFlag.BF16"]),
        ("trt.IInt8Calibrator", ["1: trt.IInt8Calibrator"]),
        ("self._engine.device_memory_size", ["1: ICudaEngine.device_memory_size"]),
        ("config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)", ["1: VERSION_COMPATIBLE"]),
        ("runtime.engine_host_code_allowed = True", ["1: engine_host_code_allowed"]),
        ("engine.device_memory_size_v2; trt.Builder(log); trt.__version__", []),
    ],
)
def test_a_name_that_some_version_lacks_is_found(source: str, found: list[str]) -> None:
    every = {name: kind for objects in OBJECTS.values() for name, kind in objects.items()}

    assert set(found) <= set(foreign(source, every))
    assert bool(foreign(source, every)) == bool(found)


def test_our_own_list_is_right_for_every_version() -> None:
    if not EVERY_NAME.exists():
        pytest.skip("the names of all versions are not kept with the source")
    every = json.loads(EVERY_NAME.read_text(encoding="utf-8"))

    assert set(every) == set(VERSIONS)
    for version, names in every.items():
        for kind, members in PORTABLE.items():
            assert members <= set(names[kind]), f"{version} lacks {members - set(names[kind])}"


def test_the_installed_library_has_the_names() -> None:
    if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
        pytest.skip("tensorrt-rtx is not installed: pip install -e .[dev]")
    # in a process of its own: the library stays loaded
    script = "import json, tensorrt_rtx_bindings as trt; print(json.dumps({k: dir(getattr(trt, k)) "
    script += f"for k in {sorted(PORTABLE)}}}))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    found = {kind: set(names) for kind, names in json.loads(said.stdout).items()}

    assert {kind: members - found[kind] for kind, members in PORTABLE.items()} == {
        kind: frozenset() for kind in PORTABLE
    }
