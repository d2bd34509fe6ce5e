"""How many threads carry pictures: as many as the engine that serves can use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge.config.detect import DetectConfig
from edge.detections import EngineInfo

if TYPE_CHECKING:
    from edge.app.box import Box

WAITING = 4
"""Pictures in hand beyond those being worked on: being kept, or next in line."""


def hands_of(detect: DetectConfig, *, on_gpu: bool = False) -> int:
    """Return how many threads carry pictures.

    One for each core; where the GPU looks, as many more as may wait together for a batch of it.
    """
    return detect.workers or (os.cpu_count() or 1) + (detect.max_batch if on_gpu else 0)


def fit(box: Box, info: EngineInfo) -> None:
    """Let a box have the threads that suit the engine that serves from now on."""
    way = box.engines.ways.get(info.name)
    box.pool.resize(hands_of(box.config.detect, on_gpu=way is not None and way.on_gpu))
    box.delivery.in_hand = box.pool.workers + WAITING
