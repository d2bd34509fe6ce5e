"""Cameras of one box share batches of the fake GPU; what a real one gains from it is not shown."""

from __future__ import annotations

from pathlib import Path

from edge.app.hands import WAITING
from tests.gpu import fake_tensorrt
from tests.gpu.fakes import FakeGpu
from tests.gpu.on_fakes.test_box import a_box, lost, models, running, serving
from tests.parts import until

__all__ = ["models"]


async def test_eight_cameras_share_batches(
    tmp_path: Path,
    models: Path,
    gpu: FakeGpu,
) -> None:
    box = a_box(tmp_path, models, cameras=8, fps=2, workers=0, max_batch=8)
    cores = box.pool.workers
    async with running(box):
        await until(lambda: serving(box) == "tensorrt", 90)
        assert (box.pool.workers, box.delivery.in_hand) == (cores + 8, cores + 8 + WAITING)
        for n in range(1, 8):
            box.sources.enable(f"camera-{n}")
        before = lost(box)
        gpu.latency(0.4)
        begun = len(fake_tensorrt.ran)
        await until(lambda: sum(fake_tensorrt.ran[begun:]) > 40, 60)
        sizes = fake_tensorrt.ran[begun:]
        gpu.latency(0)
        assert lost(box) == before
        await box.engines.use("onnx")
        assert (box.pool.workers, box.delivery.in_hand) == (cores, cores + WAITING)
    assert sum(sizes) / len(sizes) > 2, sizes
