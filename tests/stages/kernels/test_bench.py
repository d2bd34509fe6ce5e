from __future__ import annotations

from pathlib import Path

import pytest

from edge.stages.kernels import nvjpeg
from tests.bench import w_kernels
from tests.bench.result import Missing
from tests.stages.kernels.emulation import StandIn


def test_the_measuring_runs_through(gpu: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvjpeg, "NAMES", ("libnowhere.so",))
    monkeypatch.setattr(w_kernels, "ROUNDS", 1)
    monkeypatch.setattr(w_kernels, "PEOPLE", [(10, 10, 40, 60)])
    rows = w_kernels.measure(None, library=gpu.library, fatbin=gpu.fatbin, size=(64, 48))
    assert [row.what for row in rows] == [
        "letterbox to half its size",
        "fill",
        "cells",
        "5 people in 1080p, stays on the GPU",
        "the same, and back to the processor",
        "a JPEG of 1080p by nvJPEG",
    ]
    assert all(row.value for row in rows[:-1])
    assert "nvJPEG cannot be loaded" in rows[-1].note
    assert "the processor: " in rows[-1].against


def test_without_a_gpu_it_says_what_is_missing(gpu: StandIn) -> None:
    with pytest.raises(Missing, match="no NVIDIA driver"):
        w_kernels.measure(None, library="libnowhere.so.1", fatbin=gpu.fatbin)


def test_without_kernels_the_rest_is_measured(
    gpu: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvjpeg, "NAMES", ("libnowhere.so",))
    rows = w_kernels.measure(None, library=gpu.library, fatbin=tmp_path / "none")
    assert [row.what for row in rows] == ["kernels", "a JPEG of 1080p by nvJPEG"]
    assert "packaging/kernels" in rows[0].note
