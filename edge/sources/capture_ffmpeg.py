"""Encrypted cameras: the system's ffmpeg does the TLS, OpenCV decodes what it passes on.

OpenCV's wheel carries an OpenSSL of 2021, so it never sees an rtsps or https address. ``ffmpeg``
copies the compressed stream, undecoded, into a pipe (NUT, which carries every codec); that costs
next to nothing, and OpenCV reads the pipe as it reads a file.
"""

from __future__ import annotations

import os

from edge.frame import Pixels
from edge.sources.camera_address import Address
from edge.sources.capture_opencv import OpenCvReader
from edge.sources.ffmpeg_pipe import COPY, FfmpegPipe, Passing


class FfmpegReader:
    """A reader of an rtsps or https camera.

    Args:
        address: where it is.
        verify: check its certificate against the system's authorities.
        open_timeout, read_timeout: seconds without a byte after which ffmpeg gives up.
        passing: what ffmpeg passes on.

    """

    def __init__(
        self,
        address: Address,
        *,
        verify: bool,
        open_timeout: float,
        read_timeout: float,
        passing: Passing = COPY,
    ) -> None:
        self.pipe = FfmpegPipe(
            address,
            verify=verify,
            open_timeout=open_timeout,
            read_timeout=read_timeout,
            passing=passing,
        )
        self._open_timeout = open_timeout
        self._read_timeout = read_timeout
        self._inner: OpenCvReader | None = None

    def open(self) -> None:
        # OpenCV must not wait for it: it would hold up the opening of all other cameras.
        end = self.pipe.open()
        try:
            self._inner = OpenCvReader(
                f"pipe:{end}",
                network=True,
                open_timeout=self._open_timeout,
                read_timeout=self._read_timeout,
            )
            self._inner.open()
        finally:
            os.close(end)  # FFmpeg reads from a duplicate of its own

    def grab(self) -> bool:
        return self._inner is not None and self._inner.grab()

    def retrieve(self) -> Pixels | None:
        return self._inner.retrieve() if self._inner else None

    @property
    def position(self) -> float:
        """Of no meaning for a camera."""
        return 0.0

    def close(self) -> None:
        self.pipe.close()
        if self._inner:
            self._inner.close()

    def interrupt(self) -> None:
        """End ffmpeg, and with it any read from its pipe."""
        self.pipe.interrupt()
