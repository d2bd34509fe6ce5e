"""A camera on a box that has a driver, and a PyNvVideoCodec that decodes with the processor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.config.sources import CameraConfig
from edge.ops.metrics import Metrics
from edge.sources.camera import Camera
from edge.sources.capture_pynvvideocodec import why_not
from edge.sources.gpu_ways import Gpu
from tests.servers.rtsp import StartRtsp, start_rtsp
from tests.sources.conftest import MakeVideo, Viewer, make_video
from tests.sources.pynv_rig import a_library, a_package

__all__ = ["make_video", "start_rtsp"]


@pytest.fixture
async def viewer(
    start_rtsp: StartRtsp, make_video: MakeVideo, tmp_path: Path
) -> AsyncIterator[Viewer]:
    url = start_rtsp(make_video("gop1.mp4")).url()
    section = CameraConfig.model_validate({"kind": "camera", "url": url, "decode": "gpu"})
    metrics = Metrics()
    gpu = Gpu(a_library(tmp_path))
    camera = Camera("gate", section, metrics=metrics, origin="/site/box", gpu=gpu)
    watching = Viewer(camera, metrics)
    yield watching
    await watching.end()


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = a_library(tmp_path)
    assert not why_not(library)
    assert why_not(str(tmp_path / "none")) == "PyNvVideoCodec is not installed"
    assert why_not(library, 3) == "no GPU 3: the driver has 1"
    text = "raise RuntimeError('Failed to load NVENC library\\n\\nmore')"
    want = "PyNvVideoCodec cannot be imported: Failed to load NVENC library"
    assert why_not(a_package(tmp_path, text)) == want
    aborts = a_package(tmp_path, "import os; os.abort()")
    assert why_not(aborts) == "the process that tries PyNvVideoCodec died of SIGABRT"
    monkeypatch.setenv("FAKE_CUDA_INIT", "999")
    fresh = a_library(tmp_path)
    assert why_not(fresh) == "the NVIDIA driver does not start (999)"
    monkeypatch.delenv("FAKE_CUDA_INIT")
    assert why_not(fresh) == "the NVIDIA driver does not start (999)"  # asked once


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "decoded by" in record.getMessage()]


async def test_the_gpu_decodes_it_and_the_log_says_by_what(
    viewer: Viewer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    viewer.begin()
    await viewer.frames(15)
    assert set(viewer.sizes) == {(640, 360)}
    assert said(caplog) == ["camera gate is decoded by the GPU, by PyNvVideoCodec"]
    assert viewer.camera.status().counts["reconnects"] == 0


@pytest.mark.parametrize("fault", ["crash:6", "raise:6", "other"])
async def test_what_fails_costs_one_opening_and_the_processor_goes_on(
    viewer: Viewer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    monkeypatch.setenv("FAKE_NVDEC", fault)
    caplog.set_level("INFO")
    viewer.begin()
    await viewer.frames(40)
    lines = said(caplog)
    assert lines[-1].startswith("camera gate is decoded by the processor: the GPU's decoder failed")
    assert len(lines) == (1 if fault == "other" else 2)
    assert viewer.camera.status().counts["reconnects"] <= 1
