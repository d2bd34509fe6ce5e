"""Honest small parts for the stages' tests: engines that fail in every way, and pictures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.contracts import Picture
from edge.detections import Detections, EngineInfo
from edge.event import FRAME_TAKEN, Event
from edge.frame import Frame

INFO = EngineInfo(
    name="fixed",
    model="fixed",
    digest="0" * 64,
    input_size=(64, 48),
    resize="stretch",
    pad=0,
    threshold=0.3,
    labels=("person",),
)


class FixedEngine:
    """An engine that always sees one person in the middle, or does what ``instead`` does."""

    def __init__(self, instead: Callable[[], Any] | None = None) -> None:
        # A copy of its own: the holder tells engines apart by their info.
        self.info = replace(INFO)
        self.instead = instead
        self.closed = False

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        assert len(sources) == len(batch)
        warming_up = bool((batch == batch.flat[0]).all())
        if self.instead is not None and not warming_up:
            answer: list[Detections] = self.instead()
            return answer
        return [middle() for _ in batch]

    def close(self) -> None:
        self.closed = True


def middle() -> Detections:
    """One person in the middle of a 64 x 48 picture."""
    return Detections(
        boxes=np.array([[16, 12, 48, 36]], np.float32),
        scores=np.array([0.9], np.float32),
        labels=np.zeros(1, np.int32),
    )


def a_frame(source: str = "gate", seed: int = 0, size: tuple[int, int] = (320, 240)) -> Frame:
    """A noisy picture: nothing in it survives redaction by accident."""
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Frame(pixels=pixels, taken_at=datetime.now(UTC), source=source, subject=source)


def an_event(frame: Frame, number: int = 0) -> Event[Picture]:
    """The event of a frame."""
    return Event(
        id=f"{frame.source}-{number}",
        source=f"/site/node/{frame.source}",
        type=FRAME_TAKEN,
        subject=frame.subject,
        time=frame.taken_at.isoformat(),
        data=frame,
    )


class Hang:
    """Blocks whoever calls it until it is let go."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.entered = threading.Event()

    def __call__(self) -> list[Detections]:
        self.entered.set()
        self.free.wait(30)
        return [middle()]
