from __future__ import annotations

import pytest

from tests.bench import w_kernels
from tests.bench.result import Missing
from tests.stages.kernels.emulation import StandIn


def test_the_measuring_runs_through(gpu: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(w_kernels, "ROUNDS", 1)
    monkeypatch.setattr(w_kernels, "PEOPLE", [(10, 10, 40, 60)])
    rows = w_kernels.measure(None, library=gpu.library, fatbin=gpu.fatbin, size=(64, 48))
    assert [row.what for row in rows] == [
        "letterbox to half its size",
        "fill",
        "cells",
        "5 people in 1080p, stays on the GPU",
        "the same, and back to the processor",
    ]
    assert all(row.value for row in rows)


def test_without_a_gpu_it_says_what_is_missing(gpu: StandIn) -> None:
    with pytest.raises(Missing, match="no NVIDIA driver"):
        w_kernels.measure(None, library="libnowhere.so.1", fatbin=gpu.fatbin)
