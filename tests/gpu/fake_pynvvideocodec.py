"""``PyNvVideoCodec`` on the processor, as far as Edge uses it: OpenCV decodes in NVDEC's place.

Its names, arguments and answers are those of 2.2.4, as ``test_pynvvideocodec.py`` saw them. What
goes wrong is said by the environment: ``FAKE_NVDEC`` is ``raise:7`` (at the seventh packet),
``crash:7``, ``hang:7``, ``other`` (shows something else), ``deep`` (says that it has 10 bits a
value); ``full``: of the full range of values.
"""

from __future__ import annotations

import ctypes
import enum
import os
import signal
import tempfile
import time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_EMPTY = np.empty((0, 0), np.uint8)


class PyNvVCException(Exception):
    """As the library's."""


class PyNvVCExceptionUnsupported(Exception):
    """As the library's, which is no kind of the other."""


class cudaVideoCodec(enum.Enum):  # noqa: N801 (the library's name)
    H264 = 4
    HEVC = 8


class OutputColorType(enum.Enum):
    NATIVE = 0
    RGB = 1


class DisplayDecodeLatencyType(enum.Enum):
    NATIVE = 0
    LOW = 1


class Pixel_Format(enum.Enum):  # noqa: N801 (the library's name)
    NV12 = 3
    P016 = 5


class PacketData:
    """A packet, which the decoder reads from memory while it decodes it."""

    bsl_data = 0
    bsl = 0
    pts = 0


class DecodedFrame:
    """A frame, packed: the brightness, then the colours."""

    def __init__(self, planes: NDArray[np.uint8]) -> None:
        deep = os.environ.get("FAKE_NVDEC") == "deep"
        self.format = Pixel_Format.P016 if deep else Pixel_Format.NV12
        self._planes = planes
        self.shape = planes.shape

    def framesize(self) -> int:
        return self._planes.size

    def GetPtrToPlane(self, index: int) -> int:  # noqa: N802 (the library's name)
        assert index == 0
        return self._planes.ctypes.data


class _Decoder:
    """Decodes what came up to now anew for each packet: slow, and right with any codec.

    As the library, it hands out a frame one packet late, and only until the next call.
    """

    def __init__(self, codec: cudaVideoCodec) -> None:
        suffix = ".h264" if codec is cudaVideoCodec.H264 else ".hevc"
        self._file = tempfile.NamedTemporaryFile(suffix=suffix)  # noqa: SIM115 (as long as it)
        self._packets = 0
        self._lent: NDArray[np.uint8] = _EMPTY
        self._next: NDArray[np.uint8] | None = None

    def Decode(self, packet: PacketData) -> list[DecodedFrame]:  # noqa: N802 (the library's name)
        self._packets += 1
        fault, _, at = os.environ.get("FAKE_NVDEC", "").partition(":")
        if self._packets == int(at or 0):
            _err(fault)
        self._file.write(ctypes.string_at(packet.bsl_data, packet.bsl))
        self._file.flush()
        planes = self._newest()
        if planes is not None:
            planes = _of_full_range(planes) if fault == "full" else planes
            planes = planes[::-1].copy() if fault == "other" else planes
        self._lent.fill(0)  # nobody may hold it any longer
        ready, self._next = self._next, planes
        self._lent = _EMPTY if ready is None else ready
        return [] if ready is None else [DecodedFrame(ready)]

    def _newest(self) -> NDArray[np.uint8] | None:
        capture = cv2.VideoCapture(self._file.name)
        newest: Any = None
        while capture.grab():
            whole, pixels = capture.retrieve()
            newest = pixels if whole else newest
        return None if newest is None else _as_nv12(newest)


def _as_nv12(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``(h, w, 3)`` BGR as ``(h * 3 / 2, w)`` NV12 of limited range."""
    height, width = pixels.shape[:2]
    planar = cv2.cvtColor(pixels, cv2.COLOR_BGR2YUV_I420)
    colours = planar[height:].reshape(2, -1).T.reshape(height // 2, width)
    return np.vstack([planar[:height], colours]).astype(np.uint8)


def _of_full_range(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    levels = planes.astype(np.float64)
    rows = len(levels) * 2 // 3
    levels[:rows] = (levels[:rows] - 16) * 255 / 219
    levels[rows:] = (levels[rows:] - 128) * 255 / 224 + 128
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)


def _err(fault: str) -> None:
    if fault == "raise":
        text = "HandlePictureDecode : \nError code : 999\nError Type : CUDA_ERROR_UNKNOWN\nat x:1\n"
        raise PyNvVCException(text)
    if fault == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == "hang":
        time.sleep(600)


def CreateDecoder(  # noqa: N802 (the library's name)
    gpuid: int = 0,
    codec: cudaVideoCodec = cudaVideoCodec.H264,
    *,
    usedevicememory: bool = False,
    outputColorType: OutputColorType = OutputColorType.NATIVE,  # noqa: N803 (the library's name)
    latency: DisplayDecodeLatencyType = DisplayDecodeLatencyType.NATIVE,
) -> _Decoder:
    assert not usedevicememory
    assert outputColorType is OutputColorType.NATIVE
    assert latency is DisplayDecodeLatencyType.NATIVE
    if gpuid:
        raise PyNvVCException("Error Type : GPU ordinal out of range.")
    return _Decoder(codec)


def GetDecoderCaps(gpuid: int = 0, codec: cudaVideoCodec = cudaVideoCodec.H264) -> dict[str, int]:  # noqa: N802 (the library's name)
    return {"supported": int(gpuid == 0), "codec_id": codec.value}
