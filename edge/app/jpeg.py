"""Who encodes the pictures of a box: the processor, or a GPU where the file asks for it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from edge.errors import GpuLost, PartFailed
from edge.frame import Pixels

if TYPE_CHECKING:
    from edge.app.box import Box
    from edge.contracts import JpegEncoder
    from edge.privacy.jpeg import CheckedJpeg

log = logging.getLogger(__name__)


class BoxJpeg:
    """Opens the GPU's encoder, has it show itself, and tells who encodes: until then the processor.

    Args:
        box: its engines count the faults of the GPU, and stop the box when it is lost.

    """

    def __init__(self, box: Box) -> None:
        self._box = box
        self._asked = box.config.privacy.encoder == "gpu"
        self._encoder: JpegEncoder | None = None
        self._checked: CheckedJpeg | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        #: why the processor encodes although the file asks for the GPU
        self._why = ""

    async def open(self) -> None:
        """Try what the file asks for; what comes of it stands in the log. Takes seconds."""
        if not self._asked:
            return
        self._loop = asyncio.get_running_loop()
        try:
            await asyncio.to_thread(self._try)
        except GpuLost as error:
            self._why = str(error)
            await self._box.engines.lose(error)
        except PartFailed as error:
            self._why = str(error)
            hint = f". {error.hint}" if error.hint else ""
            log.warning("pictures are encoded by the processor: %s%s", error, hint)
        else:
            log.info("pictures are encoded by %s; each JPEG is checked by the processor", self.name)

    def _try(self) -> None:
        faults = self._box.engines.faults
        if faults.too_many:
            raise PartFailed(f"the GPU failed {faults.recent()} times within the last hour")
        from edge.privacy.jpeg import CheckedJpeg  # noqa: PLC0415 (only where it is asked for)
        from edge.stages.kernels.jpeg import GpuJpeg  # noqa: PLC0415

        gpu = self._box.config.tensorrt
        self._encoder = GpuJpeg(gpu.library_path, gpu.device)
        checked = CheckedJpeg(self._encoder, lost=self._lose)
        try:
            checked.show_itself()
        except PartFailed:
            self._encoder.close()
            raise
        self._checked = checked

    def encode(self, pixels: Pixels, quality: int) -> bytes | None:
        """Return a JPEG that was checked, or None: the processor has to. From any thread."""
        return None if self._checked is None else self._checked(pixels, quality)

    @property
    def name(self) -> str:
        """What the file asks for, in words."""
        return "" if self._encoder is None else self._encoder.name

    def said(self) -> str:
        """Say who encodes and why, for people; empty where nobody asked for anything else."""
        if not self._asked:
            return ""
        checked = self._checked
        why = self._why or "the GPU is tried now" if checked is None else checked.given_up
        return f"the processor: {why}" if why else self.name

    async def close(self) -> None:
        """Give the GPU back what it lent."""
        self._loop = None
        if self._encoder is not None:
            await asyncio.to_thread(self._encoder.close)

    def _lose(self, error: GpuLost) -> None:
        """Stop the box in order: the next start is a new process. From any thread."""
        if (loop := self._loop) is not None:
            asyncio.run_coroutine_threadsafe(self._box.engines.lose(error), loop)
