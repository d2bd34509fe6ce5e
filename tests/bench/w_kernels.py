"""(w) Kernels on a GPU against its memory's bandwidth, redaction of frames that stay there, JPEGs.

Needs a GPU and the kernels (packaging/kernels). A picture of 8K is large enough that the launching,
which costs a Python program some 10 µs, does not show.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge.errors import PartFailed
from edge.stages.kernels.driver import LIBRARY
from edge.stages.kernels.pictures import FATBIN, GpuPicture, Kernels
from edge.stages.redact_methods import cells
from tests.bench import gpu_jpeg
from tests.bench.inputs import Inputs
from tests.bench.result import Missing, Row, at_least, middle

GOAL = 0.6
ROUNDS = 7
PEOPLE = [(100 + 300 * n, 200, 220 + 300 * n, 520) for n in range(5)]


def measure(
    inputs: Inputs | None,
    *,
    library: str = LIBRARY,
    fatbin: Path = FATBIN,
    size: tuple[int, int] = (7680, 4320),
) -> list[Row]:
    """Measure on GPU 0.

    Raises:
        Missing: there is none that can be used.

    """
    del inputs
    try:
        kernels = Kernels.open(library=library, fatbin=fatbin)
    except PartFailed as error:
        lacks = f"a GPU and its kernels: {error}. {error.hint}".strip()
        if error.reason == "no_gpu":
            raise Missing(lacks) from error
        rows = [Row(part="w", what="kernels", value=None, unit="", note=lacks)]
    else:
        with kernels:
            rows = [*_bandwidth(kernels, library, size), *_redaction(kernels)]
    return [*rows, *gpu_jpeg.measure(library)]


def _bandwidth(kernels: Kernels, library: str, size: tuple[int, int]) -> list[Row]:
    width, height = size
    source = kernels.upload(np.full((height, width, 3), 99, np.uint8))
    target = kernels.upload(np.zeros((height, width, 3), np.uint8))
    half = width // 2, height // 2

    def letterbox() -> None:
        kernels.free(kernels.letterbox(source, half, half, 0))

    copy = 2 * 3 * width * height / _seconds(kernels, _copy(kernels, library, source, target))
    moved = {
        "letterbox to half its size": (letterbox, 3 * width * height * 5 // 4),
        "fill": (lambda: kernels.fill(target, (0, 0, *size), (1, 2, 3)), 3 * width * height),
        "cells": (lambda: kernels.cells(target, (0, 0, *size)), 3 * width * height),
    }
    rows = []
    for what, (work, size_moved) in moved.items():
        share = size_moved / _seconds(kernels, work) / copy
        goal, kept = at_least(share, GOAL)
        against = f"a copy at {copy / 1e9:.0f} GB/s"
        rows.append(
            Row(
                part="w",
                what=what,
                value=share,
                unit="of it",
                against=against,
                goal=goal,
                kept=kept,
            )
        )
    return rows


def _copy(
    kernels: Kernels, library: str, source: GpuPicture, target: GpuPicture
) -> Callable[[], None]:
    """Return what copies one picture over the other, by the driver itself."""
    call = ctypes.CDLL(library).cuMemcpyDtoDAsync_v2
    call.argtypes = (ctypes.c_uint64, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p)

    def copy() -> None:
        driver = kernels._driver
        with driver:
            size = source.pitch * source.height
            assert call(target.address, source.address, size, driver._stream) == 0

    return copy


def _redaction(kernels: Kernels) -> list[Row]:
    raw = np.random.default_rng(1).integers(0, 256, (1080, 1920, 3), np.uint8)
    picture = kernels.upload(raw)

    def stays() -> None:
        for area in PEOPLE:
            kernels.cells(picture, area)

    def returns() -> None:
        stays()
        kernels.download(picture)

    def processor() -> None:
        pixels = raw.copy()
        for x1, y1, x2, y2 in PEOPLE:
            pixels[y1:y2, x1:x2] = cells(pixels[y1:y2, x1:x2], None)

    against = f"the processor: {1e3 * _seconds(kernels, processor):.2f} ms"
    return [
        Row(part="w", what=what, value=1e3 * _seconds(kernels, work), unit="ms", against=against)
        for what, work in (
            ("5 people in 1080p, stays on the GPU", stays),
            ("the same, and back to the processor", returns),
        )
    ]


def _seconds(kernels: Kernels, work: Callable[[], None], times: int = 20) -> float:
    """Return what one ``work`` takes, of many in a row: the middle of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        kernels.wait()
        began = time.perf_counter()
        for _ in range(times):
            work()
        kernels.wait()
        taken.append((time.perf_counter() - began) / times)
    return middle(taken)
