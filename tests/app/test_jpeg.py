"""Who encodes on a box without a GPU."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from edge.app.box import Box
from edge.config.root import Config
from edge.ops.metrics import counts_by
from tests.parts import until


async def told_by_a_box(home: Path, caplog: pytest.LogCaptureFixture, **privacy: str) -> str:
    """Run a box until it has stored some pictures; return what it says of its encoder."""
    caplog.set_level(logging.INFO)
    box = Box(
        Config.model_validate(
            {
                "box": {"site": "s", "node": "n", "state": str(home / "state")},
                "sources": {"camera": {"kind": "scene", "fps": 10, "width": 320, "height": 240}},
                "detect": {"engine": "builtin", "workers": 1},
                "privacy": privacy,
                "store": {"kind": "folder", "path": str(home / "out")},
                "web": {"port": 0},
                "energy": {"measure": False},
            }
        )
    )
    task = asyncio.create_task(box.run(), name="box")
    try:
        await until(
            lambda: task.done() or sum(counts_by(box.metrics.pictures_redacted, "").values()) > 3,
            60,
        )
        if privacy:
            await until(lambda: "encoded by" in caplog.text, 30)
        return box.engines.status().encoder
    finally:
        box.stop()
        await asyncio.wait({task}, timeout=60)
        task.result()


async def test_a_box_that_asks_for_no_gpu_never_speaks_of_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert await told_by_a_box(tmp_path, caplog) == ""
    assert "nvjpeg" not in caplog.text.lower()
    assert "encoded by" not in caplog.text


async def test_a_box_that_asks_for_a_gpu_and_has_none_says_who_encodes_and_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = await told_by_a_box(tmp_path, caplog, encoder="gpu")
    assert told.startswith("the processor: no NVIDIA driver")
    assert "pictures are encoded by the processor: no NVIDIA driver" in caplog.text
    assert "nvjpeg" not in caplog.text.lower()
    assert list((tmp_path / "out").rglob("*.jpg"))
