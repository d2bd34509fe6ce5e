"""Pictures on the GPU, and what the kernels of ``kernels.cu`` do with them.

So far they ran on a processor only, compiled by g++, behind a stand-in for the driver: there they
are bit-equal to OpenCV. What the GPU of this box makes of them is not taken on trust: ``open``
draws a picture both ways first and refuses a GPU that draws otherwise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from edge.errors import PartFailed
from edge.frame import Pixels
from edge.stages.kernels.driver import LIBRARY, Driver
from edge.stages.redact_methods import CELLS, SAMPLES, cells, fill, grid_shape

FATBIN = Path(__file__).with_name("kernels.fatbin")
"""Made by packaging/kernels; never in the sources."""
TOLERANCE = 1
"""Grey levels between a resized pixel of the GPU and of OpenCV (0 on x86-64, emulated). A mean of
``cells`` that lies between two of its 16 levels may so become the other one."""

_NAMES = ("letterbox", "cells_grid", "cells_draw", "fill")
_SIDE = 16
_GRID_BYTES = CELLS * 3


@dataclass(slots=True, kw_only=True)
class GpuPicture:
    """A raw picture in GPU memory: ``(height, width, 3)`` uint8 BGR.

    Like a ``Frame`` it is never logged, and leaves only as what ``redact_gpu`` made of it.
    """

    address: int
    #: bytes from one row to the next
    pitch: int
    width: int
    height: int


class Kernels:
    """The kernels, loaded into one GPU. Safe to call from several threads; they take turns.

    Make it with ``open``, and use it in a ``with`` or ``close`` it.
    """

    def __init__(self, driver: Driver, image: bytes) -> None:
        self._driver = driver
        self._kernels = driver.load(image, _NAMES)
        self._grid = driver.allocate(_GRID_BYTES)

    @classmethod
    def open(cls, device: int = 0, *, library: str = LIBRARY, fatbin: Path = FATBIN) -> Kernels:
        """Load the kernels and compare what they draw with what the processor draws.

        Args:
            device: which GPU, as the driver counts.
            library: name or path of CUDA's driver.
            fatbin: the compiled kernels.

        Raises:
            PartFailed: ``no_gpu``, ``no_kernels`` (not compiled in), ``gpu`` (they do not load or
                run), or ``gpu_kernels`` (they draw otherwise).

        """
        try:
            image = fatbin.read_bytes()
        except OSError as error:
            raise PartFailed(
                "this build has no GPU kernels",
                hint="run packaging/kernels before packaging",
                reason="no_kernels",
            ) from error
        driver = Driver(device, library)
        try:
            kernels = cls(driver, image)
            _check(kernels)
        except PartFailed:
            driver.close()
            raise
        return kernels

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def upload(self, pixels: Pixels) -> GpuPicture:
        """Copy a picture to the GPU; ``free`` it.

        Raises:
            PartFailed: no room.

        """
        height, width = pixels.shape[:2]
        picture = self._new(width, height)
        with self._kept(picture):
            self._driver.upload(picture.address, pixels)
        return picture

    def download(self, picture: GpuPicture) -> Pixels:
        """Return a picture's pixels, ``(h, w, 3)``, as everything launched so far left them."""
        rows = self._driver.download(picture.address, (picture.height, picture.pitch))
        return rows[:, : 3 * picture.width].reshape(picture.height, picture.width, 3)

    def free(self, picture: GpuPicture) -> None:
        """Give a picture's memory back."""
        self._driver.free(picture.address)

    def letterbox(
        self, picture: GpuPicture, size: tuple[int, int], used: tuple[int, int], pad: int
    ) -> GpuPicture:
        """Return the picture as a detector takes it, as ``stages.detect`` does; ``free`` it.

        Args:
            picture: what is resized.
            size: width and height of what is returned.
            used: width and height that the picture takes of it, in the upper left.
            pad: grey level of the rest.

        """
        out = self._new(*size)
        with self._kept(out):
            self._launch(
                "letterbox", size, "PNiiPiiiiidd",
                picture.address, picture.pitch, picture.width, picture.height,
                out.address, *size, *used, pad,
                _scale(picture.width, used[0]), _scale(picture.height, used[1]),
            )  # fmt: skip
        return out

    def cells(self, picture: GpuPicture, area: tuple[int, int, int, int]) -> None:
        """Cover an area as ``redact_methods.cells`` does.

        Args:
            picture: changed in place, behind whatever was launched before.
            area: x1 y1 x2 y2, inside the picture, not empty.

        """
        x1, y1, size = _corner(picture, area)
        down, across = grid_shape(size[1], size[0])
        where = (picture.address, picture.pitch, x1, y1, *size, self._grid, across, down)
        with self._driver:  # nobody else's grid comes between
            scales = _scale(size[0], across * SAMPLES), _scale(size[1], down * SAMPLES)
            self._launch("cells_grid", (across * down * 3, 1), "PNiiiiPiidd", *where, *scales)
            scales = _scale(across, size[0]), _scale(down, size[1])
            self._launch("cells_draw", size, "PNiiiiPiidd", *where, *scales)

    def fill(
        self,
        picture: GpuPicture,
        area: tuple[int, int, int, int],
        colour: tuple[int, int, int],
    ) -> None:
        """Cover an area with one colour (blue, green, red), as ``redact_methods.fill`` does."""
        x1, y1, size = _corner(picture, area)
        where = (picture.address, picture.pitch, x1, y1, *size)
        self._launch("fill", size, "PNiiiiiii", *where, *colour)

    def wait(self) -> None:
        """Wait until everything that was launched is done."""
        self._driver.wait()

    def close(self) -> None:
        """Let go of the GPU, pictures and all. Never raises."""
        self._driver.close()

    def _new(self, width: int, height: int) -> GpuPicture:
        address = self._driver.allocate(3 * width * height)
        return GpuPicture(address=address, pitch=3 * width, width=width, height=height)

    @contextlib.contextmanager
    def _kept(self, picture: GpuPicture) -> Iterator[None]:
        """Free the picture if what fills it fails."""
        try:
            yield
        except PartFailed:
            with contextlib.suppress(PartFailed):
                self.free(picture)
            raise

    def _launch(self, name: str, threads: tuple[int, int], layout: str, *values: float) -> None:
        block = (_SIDE, _SIDE) if threads[1] > 1 else (32, 1)
        grid = (-(-threads[0] // block[0]), -(-threads[1] // block[1]))
        self._driver.launch(self._kernels[name], grid, block, layout, *values)


def _scale(have: int, want: int) -> float:
    """Return how many pixels one stands for, in the very arithmetic of cv2."""
    return 1.0 / (want / have)


def _corner(
    picture: GpuPicture, area: tuple[int, int, int, int]
) -> tuple[int, int, tuple[int, int]]:
    """Return an area's corner and size; a kernel checks nothing.

    Raises:
        ValueError: it is empty, or not inside the picture.

    """
    x1, y1, x2, y2 = area
    if not (0 <= x1 < x2 <= picture.width and 0 <= y1 < y2 <= picture.height):
        raise ValueError(f"area {area} is not in {picture.width} x {picture.height}")
    return x1, y1, (x2 - x1, y2 - y1)


def _check(kernels: Kernels) -> None:
    """Raise PartFailed unless the GPU draws what the processor draws."""
    rng = np.random.default_rng(6)
    raw = cv2.resize(rng.integers(0, 256, (9, 16, 3), np.uint8), (240, 135)).astype(np.uint8)
    want = raw.copy()
    want[20:110, 30:80] = cells(raw[20:110, 30:80], None)
    want[5:15, 200:240] = fill(raw[5:15, 200:240], (1, 2, 3))
    small = np.full((64, 64, 3), 114, np.uint8)
    small[:36] = cv2.resize(raw, (64, 36))
    picture = kernels.upload(raw)
    try:
        boxed = kernels.letterbox(picture, (64, 64), (64, 36), 114)
        try:
            same = _alike(kernels.download(boxed), small)
        finally:
            kernels.free(boxed)
        kernels.cells(picture, (30, 20, 80, 110))
        kernels.fill(picture, (200, 5, 240, 15), (1, 2, 3))
        same = same and _alike(kernels.download(picture), want)
    finally:
        kernels.free(picture)
    if not same:
        raise PartFailed("the GPU draws otherwise than the processor", reason="gpu_kernels")


def _alike(got: Pixels, want: Pixels) -> bool:
    return bool(np.abs(got.astype(np.int16) - want).max() <= TOLERANCE)
