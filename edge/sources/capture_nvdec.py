"""RTSP cameras that the GPU decodes: the system's ffmpeg drives NVDEC and pipes whole frames.

Off unless a camera asks for it (``decode = "gpu"``), and only while it works: whatever goes wrong,
the processor decodes instead, and the log says why. NVDEC itself was never seen by this code;
its tests have ffmpeg decode with the processor in its place, through the same pipe and filters.

ffmpeg would decode by itself, silently, what the GPU cannot. Here its output must come out of the
GPU's memory, so that such a stream fails and the log tells the truth.
"""

from __future__ import annotations

import functools
import logging
import shutil
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable

from edge.errors import PartFailed
from edge.frame import Pixels
from edge.sources.capture_ffmpeg import FfmpegReader, Passing
from edge.sources.capture_opencv import Reader

log = logging.getLogger(__name__)

# NUT does not say whether a raw picture has the full range of values: it always gets the limited.
FROM_NV12 = "scale=out_range=tv,format=yuv420p"
# autoscale: a camera that changes its resolution must not change the size of raw frames.
RAW = ("-c:v", "rawvideo", "-autoscale", "1")
NVDEC = Passing(
    before=("-threads", "1", "-hwaccel", "cuda", "-hwaccel_output_format", "cuda"),
    output=("-vf", f"hwdownload,format=nv12|p010le,{FROM_NV12}", *RAW),
)
_PROBE = ("-v", "error", "-init_hw_device", "cuda", "-f", "lavfi", "-i", "nullsrc=s=16x16",
          "-frames:v", "1", "-f", "null", "-")  # fmt: skip
_TRIES = 3
"""So often within an hour the GPU may begin to decode a camera."""
_HOUR = 3600.0


class GpuDecoding:
    """Who decodes one camera: the GPU, until there is a reason against it.

    Args:
        name: the camera's name, for the log.
        why_not: tells why this box's GPU cannot decode; empty: it may be tried. May block.

    """

    def __init__(self, name: str, why_not: Callable[[], str]) -> None:
        self._name = name
        self._why_not = why_not
        self._begun: deque[float] = deque()
        #: why the processor decodes from now on; empty: the GPU does
        self.given_up = ""

    def begin(self) -> bool:
        """Tell whether the GPU may decode the stream that is opened now; may block."""
        if self.given_up:
            return False
        why = self._why_not()
        now = time.monotonic()
        while self._begun and self._begun[0] < now - _HOUR:
            self._begun.popleft()
        self._begun.append(now)
        if not why and len(self._begun) > _TRIES:
            why = f"it was opened {len(self._begun)} times within an hour"
        if why:
            self.give_up(why)
        return not why

    def give_up(self, why: str) -> None:
        """Leave the camera to the processor, until it or the box is started anew."""
        if not self.given_up:
            self.given_up = why
            log.warning("camera %s is decoded by the processor: %s", self._name, why)

    def works(self) -> None:
        """Say that its first picture came."""
        log.info("camera %s is decoded by the GPU (NVDEC through ffmpeg)", self._name)


class GpuReader:
    """Reads with the GPU, or with the processor where that cannot be.

    Args:
        decoding: what is known of this camera.
        gpu: passes on what the GPU decoded.
        processor: reads the same camera without it.

    """

    def __init__(self, decoding: GpuDecoding, *, gpu: FfmpegReader, processor: Reader) -> None:
        self._decoding = decoding
        self._gpu = gpu
        self._processor = processor
        self._inner: Reader = processor
        self._pictures = 0
        self._interrupted = threading.Event()

    def open(self) -> None:
        if self._decoding.begin():
            self._inner = self._gpu
            try:
                self._gpu.open()
            except PartFailed as error:
                self._decoding.give_up(f"what the GPU decoded could not be opened: {error}")
                self._gpu.close()
                if self._interrupted.is_set():
                    raise
            else:
                return
        self._inner = self._processor
        self._processor.open()

    def grab(self) -> bool:
        return self._inner.grab()

    def retrieve(self) -> Pixels | None:
        pixels = self._inner.retrieve()
        if pixels is not None and self._inner is self._gpu:
            if not self._pictures:
                self._decoding.works()
            self._pictures += 1
        return pixels

    @property
    def position(self) -> float:
        return self._inner.position

    def close(self) -> None:
        self._judge()
        self._inner.close()

    def interrupt(self) -> None:
        self._interrupted.set()
        # Whoever waits no longer opens it again at once: with the processor, then.
        self._judge()
        self._gpu.interrupt()
        self._processor.interrupt()

    def _judge(self) -> None:
        if self._inner is self._gpu and not self._pictures:
            self._decoding.give_up("the GPU brought no picture of it")


def probe() -> str:
    """Tell why no camera can be decoded by this box's GPU; empty: one may try. Blocks at first."""
    program = shutil.which("ffmpeg")
    return _asked(program) if program else "the program ffmpeg is not installed"


@functools.cache
def _asked(program: str) -> str:
    try:
        said = subprocess.run(  # noqa: S603 (a fixed program and fixed arguments)
            [program, "-hide_banner", *_PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"ffmpeg cannot be asked for a GPU: {error}"
    if not said.returncode:
        return ""
    first = said.stderr.decode(errors="replace").strip().partition("\n")[0]
    return f"ffmpeg finds no GPU: {first.rpartition('] ')[2] or 'it does not say why'}"
