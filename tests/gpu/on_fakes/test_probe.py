from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge.errors import PartFailed
from edge.stages.engines import tensorrt_runtime
from edge.stages.engines.tensorrt_probe import probe
from tests.gpu import fake_tensorrt
from tests.gpu.fakes import LIBRARY_PATH
from tests.gpu.on_fakes.parts import opened


def test_everything_is_there_and_nothing_was_imported() -> None:
    before = set(sys.modules)
    facts = probe(str(LIBRARY_PATH))
    assert (facts.usable, facts.lacks, facts.hint) == (True, "", "")
    assert (facts.device, facts.capability, facts.driver) == (
        "Fake GPU (host memory)",
        (8, 7),
        "13.0",
    )
    assert (facts.library, facts.library_version) == ("tensorrt", "10.16.1.11")
    assert (facts.memory, facts.integrated, facts.pycuda) == (8 << 30, False, "2026.1")
    assert not {"tensorrt", "tensorrt_rtx", "pycuda"} & (set(sys.modules) - before)


def test_shared_memory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CUDA_INTEGRATED", "1")
    assert probe(str(LIBRARY_PATH)).integrated


@pytest.mark.parametrize(
    ("name", "value", "lacks"),
    [
        ("FAKE_CUDA_DEVICES", "0", "does not start: fake text of error 100"),
        ("FAKE_CUDA_INIT", "999", "does not start: fake text of error 999"),
        ("FAKE_CUDA_INIT", "803", "does not start"),
    ],
)
def test_a_driver_that_does_not_start_is_told_as_it_says(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, lacks: str
) -> None:
    monkeypatch.setenv(name, value)
    facts = probe(str(LIBRARY_PATH))
    assert not facts.usable
    assert lacks in facts.lacks
    assert facts.hint
    assert "TensorRT" not in facts.lacks + facts.hint
    with pytest.raises(PartFailed) as raised:
        opened()
    assert raised.value.reason == "no_gpu"


@pytest.mark.parametrize("device", [1, 63, -1])
def test_a_gpu_that_there_is_not_is_told(device: int) -> None:
    facts = probe(str(LIBRARY_PATH), device)
    assert not facts.usable
    assert facts.lacks == f"no GPU {device}: the driver has 1"


def test_what_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [place for place in sys.path if "site-packages" not in place]
    monkeypatch.setattr(sys, "path", [place for place in ours if place != str(LIBRARY_PATH)])
    facts = probe(str(tmp_path))
    assert facts.usable
    assert facts.lacks == "TensorRT is not installed"
    (tmp_path / "tensorrt_rtx").mkdir()
    (tmp_path / "tensorrt_rtx" / "__init__.py").touch()
    facts = probe(str(tmp_path))
    assert (facts.library, facts.library_version) == ("tensorrt_rtx", "unknown")
    assert facts.lacks == "pycuda is not installed"


def test_a_folder_without_a_package_in_it_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [])
    (tmp_path / "tensorrt").mkdir()
    assert probe(str(tmp_path)).library == ""


def test_a_directory_that_is_not_there_lacks_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    assert probe("/nowhere").lacks == "TensorRT is not installed"


def test_a_package_that_cannot_be_imported_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "raise ImportError('libnvinfer.so.10: cannot open shared object file')"
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(PartFailed, match=r"libnvinfer\.so\.10") as raised:
        tensorrt_runtime.without_driver(str(tmp_path))
    assert raised.value.reason == "no_library"


def test_the_operators_place_comes_after_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/first"])
    tensorrt_runtime.reach("/second")
    tensorrt_runtime.reach("/second")
    assert sys.path == ["/first", "/second"]


def test_the_library_is_the_one_of_the_operators_place() -> None:
    assert tensorrt_runtime.library(str(LIBRARY_PATH)) is fake_tensorrt


def test_the_log_keeps_the_last_errors_and_forgets_them_once_said() -> None:
    lines = tensorrt_runtime.Lines()
    hear = tensorrt_runtime.logger(fake_tensorrt, lines).log
    severity = fake_tensorrt.ILogger.Severity
    for number in range(9):
        hear(severity.ERROR, f" error {number}\n")
        hear(severity.WARNING, f"warning {number}")
    hear(severity.INTERNAL_ERROR, "worse")
    assert lines.said() == "error 5; error 6; error 7; error 8; worse"
    assert lines.said() == "TensorRT gave no reason"
