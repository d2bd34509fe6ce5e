"""Promise 1: whatever the engine does, not one picture leaves that it did not judge."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.app.box import Box
from edge.config.root import Config
from edge.contracts import Engine
from edge.detections import Detections
from edge.errors import Fatal, PartFailed
from tests.places import free_port
from tests.stages.parts import FixedEngine, middle


def raises() -> list[Detections]:
    raise PartFailed("the driver is gone", reason="raised")


def a_bug() -> list[Detections]:
    raise RuntimeError("segfault in disguise")


def nan() -> list[Detections]:
    good = middle()
    boxes = good.boxes * np.float32("nan")
    return [Detections(boxes=boxes, scores=good.scores, labels=good.labels)]


def hangs() -> list[Detections]:
    time.sleep(3)
    return [middle()]


def wrong_shape() -> list[Any]:
    return [np.zeros((5, 3), np.float32)]


def a_box(folder: Path) -> Box:
    return Box(
        Config.model_validate(
            {
                "box": {"site": "s", "node": "n", "state": str(folder / "state")},
                "sources": {"site": {"kind": "scene", "fps": 20, "width": 320, "height": 180}},
                "detect": {"timeout": "300ms"},
                "store": {"kind": "folder", "path": str(folder / "store")},
                "web": {"port": free_port()},
            }
        )
    )


async def live(box: Box) -> None:
    """Run a box until its camera has shown a number of frames, and a little longer."""
    running = asyncio.create_task(box.run(), name="box")
    for _ in range(600):
        await asyncio.sleep(0.1)
        if running.done() or taken(box) > 10:
            break
    await asyncio.sleep(0.5)
    box.stop()
    await asyncio.wait_for(running, 30)


@pytest.mark.parametrize(
    "instead",
    [raises, a_bug, nan, hangs, wrong_shape, list, lambda: None, lambda: [None]],
    ids=["raises", "bug", "nan", "hangs", "wrong shape", "nothing", "none", "none inside"],
)
async def test_no_picture_reaches_any_door(instead: Callable[[], Any], tmp_path: Path) -> None:
    box = a_box(tmp_path)

    async def opened() -> Engine:
        return FixedEngine(instead)

    box.holder._open = opened
    with contextlib.suppress(Fatal):  # ten bugs in a row end the process, which is shut too
        await live(box)
    assert list((tmp_path / "store").rglob("*.jpg")) == []
    assert rows(tmp_path / "state" / "spool.db") == 0
    assert box.live.latest("site") is None
    assert taken(box) > 3, "the camera was seeing all the time"


async def test_the_same_box_with_an_engine_that_answers_does_store(tmp_path: Path) -> None:
    box = a_box(tmp_path)

    async def opened() -> Engine:
        return FixedEngine()

    box.holder._open = opened
    await live(box)
    assert list((tmp_path / "store").rglob("*.jpg")) != []


def taken(box: Box) -> float:
    labels = {"source": "site"}
    return box.metrics.registry.get_sample_value("edge_pictures_taken_total", labels) or 0.0


def rows(database: Path) -> int:
    with sqlite3.connect(database) as connection:
        (count,) = connection.execute("SELECT count(*) FROM parcel").fetchone()
    connection.close()
    return int(count)
