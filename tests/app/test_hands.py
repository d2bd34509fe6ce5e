"""Who goes first on a box, and how many threads carry its pictures."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from edge.app.box import Box
from edge.app.hands import WAITING, fit, hands_of
from edge.config.detect import DetectConfig
from edge.config.root import Config
from tests.parts import until
from tests.stages.parts import INFO


def config(home: Path, priority: int) -> Config:
    gate = {"kind": "folder", "path": str(home), "priority": priority}
    return Config.model_validate(
        {
            "box": {"site": "s", "node": "n", "state": str(home / "state")},
            "sources": {"gate": gate, "yard": {"kind": "folder", "path": str(home)}},
            "jobs": {"priority": 5},
            "detect": {"engine": "builtin", "workers": 2},
            "store": {"kind": "folder", "path": str(home / "out")},
            "web": {"port": 0},
            "energy": {"measure": False},
        }
    )


async def test_priorities_are_those_of_the_configuration_as_it_is_now(tmp_path: Path) -> None:
    box = Box(config(tmp_path, 7))
    task = asyncio.create_task(box.run(), name="box")
    await until(lambda: task.done() or box.configured.ready, 30)
    names = ("gate", "yard", box.uploads.name, "nobody")
    assert [box._priority(name) for name in names] == [7, 0, 5, 0]
    await box.take(config(tmp_path, 9))
    assert box._priority("gate") == 9
    box.stop()
    async with asyncio.timeout(30):
        await task


def test_there_is_a_thread_for_each_core_and_for_each_picture_of_a_batch_on_the_gpu() -> None:
    cores = os.cpu_count() or 1
    detect = DetectConfig(max_batch=16)
    assert (hands_of(detect), hands_of(detect, on_gpu=True)) == (cores, cores + 16)
    said = DetectConfig(workers=3)
    assert (hands_of(said), hands_of(said, on_gpu=True)) == (3, 3)


async def test_an_engine_of_the_processor_leaves_the_threads_as_they_are(tmp_path: Path) -> None:
    box = Box(config(tmp_path, 0))
    task = asyncio.create_task(box.run(), name="box")
    await until(lambda: task.done() or box.configured.ready, 30)
    fit(box, INFO)
    assert (box.pool.workers, box.delivery.in_hand) == (2, 2 + WAITING)
    box.stop()
    async with asyncio.timeout(30):
        await task
