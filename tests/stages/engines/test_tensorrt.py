"""TensorRT on a machine that has no GPU. The rest is in ``tests/gpu/on_fakes``."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from edge.config.detect import DetectConfig
from edge.config.tensorrt import TensorRTConfig
from edge.detections import EngineInfo
from edge.errors import PartFailed
from edge.stages.engines.tensorrt import TensorRTEngine
from edge.stages.engines.tensorrt_probe import DRIVER, probe


def _no_gpu() -> None:
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return
    pytest.skip("this machine has an NVIDIA driver")


def test_a_machine_without_a_gpu_is_not_told_of_tensorrt() -> None:
    _no_gpu()
    facts = probe()
    assert not facts.usable
    assert facts.lacks == "no NVIDIA driver on this box"
    assert "TensorRT" not in facts.hint


def test_nothing_is_imported_where_there_is_no_driver() -> None:
    _no_gpu()
    info = EngineInfo(
        name="tensorrt",
        model="tiny",
        digest="",
        input_size=(32, 32),
        resize="stretch",
        pad=0,
        threshold=0.3,
        labels=("person",),
    )
    with pytest.raises(PartFailed, match="no NVIDIA driver") as raised:
        TensorRTEngine.open(b"", info, config=TensorRTConfig(), detect=DetectConfig(), nms_iou=0.5)
    assert raised.value.reason == "no_gpu"
    assert "pycuda" not in sys.modules


def test_the_module_itself_imports_no_library() -> None:
    script = (
        "import sys, edge.stages.engines.tensorrt as t; "
        "sys.exit(bool({'pycuda', 'tensorrt', 'tensorrt_rtx'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
