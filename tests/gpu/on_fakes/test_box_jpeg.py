"""A box whose JPEGs a GPU encodes: what it says, what it stores, and how it loses the GPU."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from PIL import Image

from edge.app.box import Box
from edge.config.root import Config
from edge.errors import GpuLost
from edge.ops.metrics import counts_by
from edge.stages.engines import tensorrt_cuda
from tests.gpu.fakes import FakeGpu, FakeNvJpeg
from tests.parts import until


@pytest.fixture(autouse=True)
def nvjpeg() -> Iterator[FakeNvJpeg]:
    fake = FakeNvJpeg()
    fake.reset()
    yield fake
    fake.reset()


def a_box(home: Path) -> Box:
    """A camera, safe mode, a folder: nothing but JPEGs has to do with the GPU."""
    return Box(
        Config.model_validate(
            {
                "box": {"site": "s", "node": "n", "state": str(home / "state")},
                "sources": {
                    "camera": {"kind": "scene", "fps": 10, "width": 640, "height": 360},
                },
                "detect": {"engine": "builtin", "workers": 1},
                "privacy": {"encoder": "gpu"},
                "store": {"kind": "folder", "path": str(home / "out")},
                "web": {"port": 0},
                "energy": {"measure": False},
            }
        )
    )


@contextlib.asynccontextmanager
async def running(box: Box) -> AsyncIterator[Box]:
    task = asyncio.create_task(box.run(), name="box")
    try:
        await until(lambda: task.done() or stored(box) > 0, 60)
        yield box
    finally:
        box.stop()
        await asyncio.wait({task}, timeout=60)
    task.result()


def stored(box: Box) -> int:
    return int(sum(counts_by(box.metrics.pictures_redacted, "").values()))


def lost(box: Box) -> dict[str, int]:
    found = dict(counts_by(box.metrics.pictures_dropped, "reason"))
    return {reason: n for reason, n in found.items() if reason not in {"newer", "stopping"}}


def pictures(home: Path) -> list[bytes]:
    """Return what was stored; every one is whole."""
    found = [path.read_bytes() for path in sorted((home / "out").rglob("*.jpg"))]
    assert found
    for body in found:
        picture = Image.open(io.BytesIO(body))
        picture.load()
        assert picture.size == (640, 360)
        assert picture.getexif()[0x010E] == "camera"
    return found


async def test_a_box_says_who_encodes(
    tmp_path: Path, nvjpeg: FakeNvJpeg, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(a_box(tmp_path)) as box:
        await until(lambda: "encoded by" in caplog.text, 60)
        assert "pictures are encoded by nvJPEG 13.3.2; each JPEG is checked" in caplog.text
        assert box.engines.status().encoder == "nvJPEG 13.3.2"
        before = nvjpeg.pictures()
        await until(lambda: nvjpeg.pictures() > before + 5, 60)
    assert nvjpeg.left() == 0
    assert any(b"\xff\xdd\x00\x04" in body for body in pictures(tmp_path)), "nvJPEG's have it"


async def test_what_is_encoded_wrongly_is_encoded_again_and_the_box_goes_on(
    tmp_path: Path, nvjpeg: FakeNvJpeg, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(a_box(tmp_path)) as box:
        await until(lambda: box.engines.status().encoder == "nvJPEG 13.3.2", 60)
        nvjpeg.fault("shifted")
        await until(lambda: "the processor: " in box.engines.status().encoder, 60)
        before = stored(box)
        await until(lambda: stored(box) > before + 3, 60)
        assert lost(box) == {}
    assert (
        caplog.text.count("by the processor from now on: nvJPEG 13.3.2 failed: a JPEG shows") == 1
    )
    pictures(tmp_path)


async def test_a_lost_gpu_stops_the_box_in_order_and_the_third_time_it_is_left_alone(
    tmp_path: Path, gpu: FakeGpu, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        with pytest.raises(GpuLost):
            await until_lost(a_box(tmp_path), gpu)
        gpu.reset()
    async with running(a_box(tmp_path)) as box:
        await until(lambda: "failed 3 times" in box.engines.status().encoder, 60)
        assert box.engines.status().faults == 3
    assert "encoded by the processor: the GPU failed 3 times within the last hour" in caplog.text
    pictures(tmp_path)
    tensorrt_cuda.lost("what is left on the GPU is left on purpose")


async def until_lost(box: Box, gpu: FakeGpu) -> None:
    """Run a box until the GPU encodes, and then lose it."""
    async with running(box):
        await until(lambda: box.engines.status().encoder == "nvJPEG 13.3.2", 60)
        gpu.fail("cuMemcpyHtoDAsync_v2", 700)
        await until(lambda: box.engines.lost is not None, 60)
        assert lost(box) == {}
