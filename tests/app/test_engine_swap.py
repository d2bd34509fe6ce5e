"""Promise: a swap of engines loses no picture, of a live source or of one that must not lose any.

The box is a real one; only what its engines see is fixed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.app.box import Box
from edge.config.root import Config
from edge.contracts import Engine
from edge.detections import Detections
from edge.errors import PartFailed
from edge.ops.metrics import Metrics, counts_by
from tests.parts import until
from tests.stages.parts import FixedEngine

FILES = 100
SWAPS = 12


class SlowEngine(FixedEngine):
    """Takes its time, and breaks if it is closed while a picture is inside."""

    looked = 0

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        time.sleep(0.02)
        if self.closed:
            raise PartFailed("closed under a picture", reason="closed")
        SlowEngine.looked += 1
        return super().infer(batch, sources)


def a_box(home: Path) -> Box:
    inbox = home / "inbox"
    inbox.mkdir()
    chance = np.random.default_rng(3)
    for number in range(FILES):
        picture = chance.integers(0, 256, (48, 64, 3), np.uint8)
        cv2.imwrite(str(inbox / f"{number:03}.png"), picture)
    sources = {
        "camera": {"kind": "scene", "fps": 25, "width": 320, "height": 180},
        "inbox": {"kind": "folder", "path": str(inbox)},
    }
    return Box(
        Config.model_validate(
            {
                "box": {"site": "s", "node": "n", "state": str(home / "state")},
                "sources": sources,
                "detect": {"engine": "builtin", "workers": 2},
                "store": {"kind": "folder", "path": str(home / "out")},
                "web": {"port": 0},
            }
        )
    )


def counted(metrics: Metrics, what: str, label: str = "source") -> dict[str, int]:
    return dict(counts_by(getattr(metrics, f"pictures_{what}"), label))


async def test_no_picture_is_lost_in_a_swap(tmp_path: Path) -> None:
    box = a_box(tmp_path)
    opened: list[SlowEngine] = []

    async def open_next() -> Engine:
        opened.append(SlowEngine())
        return opened[-1]

    box.holder._open = open_next
    running = asyncio.create_task(box.run(), name="box")
    await until(lambda: counted(box.metrics, "redacted").get("inbox", 0) > 0, 60)
    before = counted(box.metrics, "dropped", "reason")
    for _ in range(SWAPS):
        served = box.holder.info
        assert await box.holder.swap() is not served
        assert box.holder.up
        await asyncio.sleep(0.05)
    await until(lambda: counted(box.metrics, "redacted").get("inbox", 0) == FILES, 60)
    box.stop()
    await asyncio.wait_for(running, 30)

    taken, redacted = counted(box.metrics, "taken"), counted(box.metrics, "redacted")
    dropped, lost = counted(box.metrics, "dropped"), counted(box.metrics, "dropped", "reason")
    assert len(opened) == SWAPS + 1
    assert all(engine.closed for engine in opened)
    assert counted(box.metrics, "withheld") == {}
    assert counted(box.metrics, "rejected") == {}
    assert redacted["inbox"] == FILES
    assert taken["camera"] == redacted["camera"] + dropped.get("camera", 0)
    for reason in set(lost) - {"newer", "stopping"}:
        assert lost[reason] == before.get(reason, 0), f"{reason}: a swap cost pictures"
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == sum(redacted.values())


async def test_why_no_engine_looks_is_told(tmp_path: Path) -> None:
    box = a_box(tmp_path)
    assert "being opened" in box.engines.status().why

    async def open_next() -> Engine:
        raise PartFailed("the model is damaged", hint="pull it again", reason="model_damaged")

    box.holder._open = open_next
    running = asyncio.create_task(box.run(), name="box")
    await until(lambda: "damaged" in box.engines.status().why, 30)
    assert box.engines.status().serving == ""
    assert box.engines.status().why == "the model is damaged; pull it again"
    box.stop()
    await asyncio.wait_for(running, 30)


async def test_a_swap_that_fails_costs_no_picture_either(tmp_path: Path) -> None:
    box, good, tries = a_box(tmp_path), SlowEngine(), 0

    async def open_next() -> Engine:
        nonlocal tries
        tries += 1
        if tries > 1:
            raise PartFailed("the plan does not load", reason="bad_plan")
        return good

    box.holder._open = open_next
    running = asyncio.create_task(box.run(), name="box")
    await until(lambda: box.holder.up, 30)
    for _ in range(5):
        with pytest.raises(PartFailed, match="does not load"):
            await box.holder.swap()
    await until(lambda: counted(box.metrics, "redacted").get("inbox", 0) == FILES, 60)
    assert box.holder.info is good.info
    box.stop()
    await asyncio.wait_for(running, 30)
    assert counted(box.metrics, "withheld") == {}
    assert set(counted(box.metrics, "dropped", "reason")) <= {"newer", "stopping", "engine_down"}
