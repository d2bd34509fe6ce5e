"""JPEGs by the GPU: keeps ``edge.contracts.JpegEncoder`` with NVIDIA's nvJPEG.

**Never run on a GPU**; see ``nvjpeg.py``. Redacted pixels come up here and go down again as a file;
whether it shows them is for the gate to find out.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass

from edge.errors import GpuLost, PartFailed
from edge.frame import Pixels
from edge.stages.kernels.driver import LIBRARY, Driver
from edge.stages.kernels.nvjpeg import NvJpeg

PATIENCE = 5.0
"""Seconds for one picture, those before it included: some milliseconds each. Then it hangs."""
_OPENING = 60.0
"""Seconds for the driver, the library, and what it does when it is used first."""
_LEAVING = 10.0
"""Seconds that the thread gets to free everything; one that hangs is left behind."""


@dataclass(frozen=True, slots=True)
class _Asked:
    pixels: Pixels
    quality: int
    answer: Future[bytes]


class GpuJpeg:
    """nvJPEG on a thread of its own: pictures wait in line, and nobody waits for one that hangs.

    Args:
        library_path: where libnvjpeg is, besides the usual places; as ``[tensorrt] library_path``.
        device: which GPU, as the driver counts.
        driver: name or path of CUDA's driver. It is asked first, so that a box without a GPU
            hears of the driver and not of nvJPEG.
        patience: seconds for one picture.

    Raises:
        PartFailed: ``no_gpu``, ``no_library`` or ``gpu``. GpuLost: it hangs, or is lost.

    """

    def __init__(
        self,
        library_path: str = "",
        device: int = 0,
        *,
        driver: str = LIBRARY,
        patience: float = PATIENCE,
    ) -> None:
        self._patience = patience
        self._line: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._opened: Future[str] = Future()
        self._taking = threading.Lock()
        #: why it takes no more pictures
        self._over: PartFailed | None = None
        # A daemon: a thread that hangs inside the driver must not keep the process from ending.
        self._thread = threading.Thread(
            target=self._run, args=(library_path, device, driver), name="nvjpeg", daemon=True
        )
        self._thread.start()
        try:
            self.name = self._opened.result(_OPENING)
        except TimeoutError:
            raise self._hangs(_OPENING) from None

    def encode(self, pixels: Pixels, quality: int) -> bytes:
        """Encode one picture; see the contract."""
        asked = _Asked(pixels, quality, Future())
        with self._taking:
            if self._over is not None:
                raise self._over
            self._line.put(asked)
        try:
            return asked.answer.result(self._patience)
        except TimeoutError:
            raise self._hangs(self._patience) from None

    def close(self) -> None:
        """Free everything, unless the GPU is lost: then nothing of it is touched again."""
        over = self._ended(PartFailed("nvJPEG is closed", reason="gpu"))
        self._line.put(None)
        if not isinstance(over, GpuLost):
            self._thread.join(_LEAVING)

    def _hangs(self, seconds: float) -> GpuLost:
        hangs = GpuLost(f"nvJPEG did not answer within {seconds:g} s: it hangs")
        with self._taking:
            self._over = hangs
        return hangs

    def _ended(self, why: PartFailed) -> PartFailed:
        """Take no more pictures; return why: the first reason counts."""
        with self._taking:
            self._over = self._over or why
            return self._over

    def _run(self, library_path: str, device: int, driver: str) -> None:
        why = PartFailed("nvJPEG's thread ended by itself", reason="gpu")
        try:
            with (
                contextlib.closing(Driver(device, driver)) as gpu,
                contextlib.closing(NvJpeg(gpu, library_path)) as encoder,
            ):
                self._opened.set_result(encoder.name)
                self._serve(encoder)
        except PartFailed as error:
            why = error
        finally:
            self._end(why)

    def _serve(self, encoder: NvJpeg) -> None:
        while (asked := self._line.get()) is not None:
            try:
                asked.answer.set_result(encoder.encode(asked.pixels, asked.quality))
            except PartFailed as error:
                asked.answer.set_exception(error)
                if isinstance(error, GpuLost):
                    raise

    def _end(self, why: PartFailed) -> None:
        """Let nobody wait for an answer that will not come."""
        why = self._ended(why)
        if not self._opened.done():
            self._opened.set_exception(why)
        with contextlib.suppress(queue.Empty):
            while True:
                asked = self._line.get_nowait()
                if asked is not None:
                    asked.answer.set_exception(why)
