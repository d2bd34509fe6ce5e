"""The door of ``edge redact`` for videos: redacted frames in their order, into one file.

It takes parcels, like every door: a frame that was not let through the gate cannot get in. A frame
that was withheld becomes a black one, so that the video keeps its time.
"""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from edge.config.privacy import Policy
from edge.errors import Fatal
from edge.parcel import Parcel
from edge.privacy.encode import encode

OUTPUT = "output"
"""Reason code of an output that cannot be written; it ends the run."""


def output_failed(message: str) -> Fatal:
    """Return the error that ends a run because its output cannot be written."""
    return Fatal(message, hint="is the disk full, or the directory not writable?", reason=OUTPUT)


class _Writer(Protocol):
    def write(self, jpeg: bytes) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class VideoDoor:
    """Puts frames back into their order and writes them; the file appears only when it is whole."""

    def __init__(self, source: Path, output: Path, *, audio: bool) -> None:
        self.output = output
        self._part = output.with_name(f".{output.stem}.part{output.suffix}")
        self._source = source
        self._audio = audio
        self._rate = frame_rate(source)
        self._writer: _Writer | None = None
        self._waiting: dict[int, Parcel | None] = {}
        self._next = 0
        self._size: tuple[int, int] | None = None
        self._black_before = 0

    def put(self, index: int, parcel: Parcel | None) -> None:
        """Take frame ``index`` (from 0); None for one that was withheld. Blocks while it writes.

        Raises:
            Fatal: the encoder stopped (disk full, say).

        """
        self._waiting[index] = parcel
        while self._next in self._waiting:
            self._write(self._waiting.pop(self._next))
            self._next += 1

    def close(self) -> bool:
        """Finish the file; False where not one frame was let through, and so there is none.

        Raises:
            Fatal: the encoder failed.

        """
        if self._writer is None:
            return False
        self._writer.close()
        self._part.replace(self.output)
        return True

    def abort(self) -> None:
        """Stop and leave nothing behind."""
        if self._writer is not None:
            self._writer.abort()
        self._part.unlink(missing_ok=True)

    def _write(self, parcel: Parcel | None) -> None:
        if parcel is None:
            if self._writer is None or self._size is None:
                self._black_before += 1
                return
            self._writer.write(_black(self._size))
            return
        picture = parcel.message["data"]["picture"]
        size = (int(picture["width"]), int(picture["height"]))
        if self._writer is None:
            self._size = size
            self._writer = self._open(size)
            for _ in range(self._black_before):
                self._writer.write(_black(size))
        self._writer.write(parcel.body)

    def _open(self, size: tuple[int, int]) -> _Writer:
        ffmpeg = shutil.which("ffmpeg")
        if ffmpeg is not None:
            audio_of = self._source if self._audio else None
            return _FfmpegWriter(ffmpeg, self._part, size, self._rate, audio_of)
        if self._audio:
            raise Fatal("keeping the sound needs ffmpeg", hint="apt-get install ffmpeg")
        return _OpenCvWriter(self._part, size, self._rate)


def frame_rate(path: Path) -> float:
    """Return a video's mean frame rate, 25 where it says nothing sensible."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    rate = capture.get(cv2.CAP_PROP_FPS) if capture.isOpened() else 0.0
    capture.release()
    return rate if 0 < rate <= 1000 else 25.0


def frame_count(path: Path) -> int | None:
    """Return about how many frames a video has, for a progress bar; None where it does not say."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    capture.release()
    return count if count > 0 else None


def _black(size: tuple[int, int]) -> bytes:
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    return encode(pixels, Policy(), datetime.now(UTC), "withheld")[0]


class _FfmpegWriter:
    """H.264 through the system's ffmpeg, which is given nothing but redacted pictures."""

    def __init__(
        self,
        ffmpeg: str,
        path: Path,
        size: tuple[int, int],
        rate: float,
        audio_of: Path | None,
    ) -> None:
        odd = size[0] % 2 or size[1] % 2
        sound = [] if audio_of is None else ["-i", str(audio_of), "-map", "1:a?", "-c:a", "copy"]
        command = [
            *(ffmpeg, "-nostdin", "-loglevel", "error", "-y"),
            *("-f", "image2pipe", "-c:v", "mjpeg", "-framerate", f"{rate:.6f}", "-i", "pipe:0"),
            *sound,
            *("-map", "0:v", "-map_metadata", "-1", "-c:v", "libx264", "-preset", "veryfast"),
            *("-crf", "20", "-pix_fmt", "yuv444p" if odd else "yuv420p"),
            *("-movflags", "+faststart", str(path)),
        ]
        self._process = subprocess.Popen(  # noqa: S603 (our own arguments, no shell)
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def write(self, jpeg: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 (asked for a pipe above)
        try:
            self._process.stdin.write(jpeg)
        except OSError as error:
            raise self._failure() from error

    def close(self) -> None:
        # Closes its input, reads what it says, and waits for its end.
        _, said = self._process.communicate()
        if self._process.returncode != 0:
            raise self._told(said)

    def abort(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _failure(self) -> Fatal:
        self._process.kill()
        return self._told(self._process.communicate()[1])

    def _told(self, said: bytes) -> Fatal:
        lines = said.decode(errors="replace").strip().splitlines() or ["no reason given"]
        return output_failed(f"ffmpeg could not write the video: {lines[-1]}")


class _OpenCvWriter:
    """MPEG-4 through OpenCV, where there is no ffmpeg: larger files, no sound."""

    def __init__(self, path: Path, size: tuple[int, int], rate: float) -> None:
        self._size = size
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(path), code, rate, size)
        if not self._writer.isOpened():
            raise output_failed(f"{path} could not be written")

    def write(self, jpeg: bytes) -> None:
        pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise output_failed("a redacted frame could not be read back")
        if (pixels.shape[1], pixels.shape[0]) != self._size:
            pixels = cv2.resize(pixels, self._size)
        self._writer.write(pixels)

    def close(self) -> None:
        self._writer.release()

    abort = close
