"""(w) A JPEG of a 1080p picture: by the processor, by nvJPEG with the way there and back, checked.

The processor's time is what a GPU could save, so it is measured, too: that of the whole process,
since CUDA may spin in another thread while it waits.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import cv2
import numpy as np

from edge.errors import PartFailed
from edge.frame import Pixels
from edge.privacy.encode import opencv_jpeg
from edge.privacy.jpeg import CheckedJpeg
from edge.stages.kernels.driver import LIBRARY
from edge.stages.kernels.jpeg import GpuJpeg
from tests.bench.result import Row, middle

ROUNDS = 15
QUALITY = 85


def measure(library: str = LIBRARY) -> list[Row]:
    """Measure what the processor takes, and where there is nvJPEG, what that does.

    Args:
        library: name or path of CUDA's driver.

    """
    picture = _picture()
    took = _milliseconds(lambda: opencv_jpeg(picture, QUALITY), time.perf_counter)
    against = f"the processor: {took:.2f} ms"
    try:
        gpu = GpuJpeg(driver=library)
    except PartFailed as error:
        note = f"nvJPEG: {error}. {error.hint}".strip()
        return [_row("a JPEG of 1080p by nvJPEG", None, against, note)]
    with contextlib.closing(gpu):
        checked = CheckedJpeg(gpu)
        whole = np.ascontiguousarray(picture[:1072])
        rows = {
            "upload, nvJPEG, and back": lambda: gpu.encode(whole, QUALITY),
            "the same, checked as a picture is": lambda: checked(picture, QUALITY),
        }
        measured = [
            _row(f"a JPEG of 1080p: {what}", _milliseconds(work, time.perf_counter), against)
            for what, work in rows.items()
        ]
        spent = _milliseconds(lambda: checked(picture, QUALITY), time.process_time)
        measured.append(_row("of it time of the processor", spent, against))
        if checked.given_up:
            return [_row("a JPEG of 1080p by nvJPEG", None, against, checked.given_up)]
    return measured


def _row(what: str, value: float | None, against: str, note: str = "") -> Row:
    return Row(part="w", what=what, value=value, unit="ms", against=against, note=note)


def _picture() -> Pixels:
    """Return something that takes about as many bytes as a photograph."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (34, 60, 3), np.uint8)
    smooth = cv2.resize(coarse, (1920, 1080), interpolation=cv2.INTER_CUBIC)
    grain = cv2.GaussianBlur(rng.integers(0, 256, (1080, 1920, 3), np.uint8), (0, 0), 1.2)
    return np.asarray(cv2.addWeighted(smooth, 0.7, grain, 0.3, 0), np.uint8)


def _milliseconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    taken = []
    for _ in range(ROUNDS):
        began = clock()
        work()
        taken.append(clock() - began)
    return 1e3 * middle(taken)
