"""OpenCV's FFmpeg (and V4L2) as a reader of frames; one object is used by one thread."""

from __future__ import annotations

import os
import threading
from typing import Protocol

import cv2
import numpy as np

from edge.errors import PartFailed
from edge.frame import Pixels

OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# TCP: no torn pictures, one port. No TLS protocol in the list: OpenCV's wheel carries an OpenSSL
# of 2021, and a camera must not lead there by a redirect either. Measured: fpsprobesize alone
# brings the opening of an RTSP stream from 1.9 s to 0.5 s, analyzeduration (µs) to 0.2 s.
# "nobuffer" is left out on purpose: it throws the first key frame away, and gains nothing where
# a thread reads all the time.
_THOROUGH = (
    "rtsp_transport;tcp|allowed_media_types;video|fpsprobesize;0"
    "|protocol_whitelist;file,pipe,rtp,udp,tcp,rtsp,http"
)
_QUICK = _THOROUGH + "|analyzeduration;100000"
_USUAL_FPS = 25.0
_environment = threading.Lock()

os.environ[OPTIONS] = _QUICK


class Reader(Protocol):
    """What a capture thread reads from. All but ``interrupt`` are called by that thread only."""

    def open(self) -> None:
        """Open it, within its time limit.

        Raises:
            PartFailed: not possible now; ``reason`` is ``not_opened`` where nobody knows why.

        """
        ...

    def grab(self) -> bool:
        """Read one frame without decoding it to pixels; False at the end or after a timeout."""
        ...

    def retrieve(self) -> Pixels | None:
        """Return the frame just grabbed, ``(h, w, 3)`` uint8 BGR, upright; None if it is broken."""
        ...

    @property
    def position(self) -> float:
        """Seconds from the stream's start to the frame just grabbed."""
        ...

    def close(self) -> None:
        """Let go of it. ``open`` may follow."""
        ...

    def interrupt(self) -> None:
        """Cut a read short if that is possible. Any thread may call it, at any time."""
        ...


class OpenCvReader:
    """A stream, file or device that OpenCV opens by itself.

    Args:
        url: RTSP or HTTP address without TLS, ``pipe:N``, device, or path of a file.
        backend: ``cv2.CAP_FFMPEG`` or ``cv2.CAP_V4L2``.
        network: probe as little as possible; files are probed thoroughly.
        open_timeout, read_timeout: seconds; a dead peer ends them, never a thread for good.

    """

    def __init__(
        self,
        url: str,
        *,
        backend: int = cv2.CAP_FFMPEG,
        network: bool,
        open_timeout: float,
        read_timeout: float,
    ) -> None:
        self._url = url
        self._backend = backend
        self._network = network
        self._limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(open_timeout * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(read_timeout * 1000),
            cv2.CAP_PROP_N_THREADS, 1,
        ] if backend == cv2.CAP_FFMPEG else []  # fmt: skip
        self._capture = cv2.VideoCapture()

    def open(self) -> None:
        self._open(_QUICK if self._network else _THOROUGH)
        if self._network and not self._capture.get(cv2.CAP_PROP_FRAME_WIDTH):
            # It began between two key frames and did not announce its size: wait for the next one.
            self._open(_THOROUGH)

    def _open(self, options: str) -> None:
        # FFmpeg's options come by a variable of the whole process, read when a stream is opened.
        # The lock is not held while opening: a race costs another camera 0.3 s, nothing else.
        with _environment:
            os.environ[OPTIONS] = options
        try:
            opened = self._capture.open(self._url, self._backend, self._limits)
        except cv2.error as error:
            raise PartFailed("OpenCV cannot open it", reason="not_opened") from error
        if not opened:
            raise PartFailed("it cannot be opened", reason="not_opened")

    def grab(self) -> bool:
        return self._capture.grab()

    def retrieve(self) -> Pixels | None:
        whole, picture = self._capture.retrieve()
        if not whole or not picture.size:
            return None
        pixels = np.asarray(picture, np.uint8)
        return pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)  # type: ignore[return-value]

    @property
    def position(self) -> float:
        seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        number = self._capture.get(cv2.CAP_PROP_POS_FRAMES) - 1
        if seconds > 0 or number <= 0:
            return seconds
        # a bare stream without timestamps
        return number / (self._capture.get(cv2.CAP_PROP_FPS) or _USUAL_FPS)

    def close(self) -> None:
        self._capture.release()

    def interrupt(self) -> None:
        """Do nothing: OpenCV's reads end by their own limit."""
