"""The process that decodes one camera with PyNvVideoCodec: ``edge decode-child``.

A process of its own, because a C++ library and NVIDIA's driver work here: a crash, a hang, or a
CUDA error that no context survives costs this camera its GPU, and neither the other cameras nor
TensorRT anything. It is ended by a kill.

The video comes on standard input, undecoded, in NUT. OpenCV splits it into packets, not the
library's own demuxer: with that one the first picture takes up to five seconds of video, and it
keeps Python's lock meanwhile, or, fed by a callback, copies sixteen megabytes for every read.

Over a socket come ``grab`` and ``retrieve``; each is answered by one object of JSON. ``retrieve``
puts the picture into shared memory, as NV12 of limited range::

    {"ready": true}                             once, at first
    {"more": true} or {"more": false}           to grab: a picture, or the stream is over
    {"width": 1920, "height": 1080}             to retrieve
    {"error": "...", "reason": "..."}           to anything; it is the last word
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import mmap
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import PartFailed
from edge.frame import Pixels
from edge.sources import capture_opencv

LIBRARY = "PyNvVideoCodec"
_SEQUENCE = {"h264": (0x1F, 7, 5), "hevc": (0x7E, 33 << 1, 31 << 1)}
"""Codec: mask of a NAL unit's type; the type of a sequence's parameters; the last of slices."""
_SHRUNK = (80, 45)
_ALIKE = 8.0
"""Mean difference of two small pictures, in levels, up to which they show the same."""
_LEVELS = np.round(
    [np.arange(256) * 219 / 255 + 16, (np.arange(256) - 128) * 224 / 255 + 128]
).astype(np.uint8)
"""Full range to limited: of brightness, and of colours."""
_PR_SET_PDEATHSIG = 1


class Decoder:
    """NVDEC, for one stream.

    Frames come to host memory as NVDEC makes them (NV12): half the bytes of RGB, no kernel of the
    library's in between, and the processor's conversion gives the colours that it always gives.
    (0.7 ms of a core for a picture of 1080p, 0.15 ms for RGB; measured on a PC.) That also brings
    down frames that nobody retrieves: a copy engine does it.

    Args:
        library: the module.
        codec: ``h264`` or ``hevc``.
        device: which GPU, as the driver counts.

    Raises:
        PartFailed: it does not start.

    """

    def __init__(self, library: Any, codec: str, device: int) -> None:
        self._library = library
        codecs = {"h264": library.cudaVideoCodec.H264, "hevc": library.cudaVideoCodec.HEVC}
        with told(library, "its start"):
            self._decoder = library.CreateDecoder(
                gpuid=device,
                codec=codecs[codec],
                usedevicememory=False,
                outputColorType=library.OutputColorType.NATIVE,
                # The order of pictures holds with B-frames, too; it costs one picture's delay.
                latency=library.DisplayDecodeLatencyType.NATIVE,
            )

    def decode(self, packet: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """Decode a packet, ``(n,)`` uint8 in Annex B.

        Returns:
            ``(h * 3 / 2, w)`` uint8, NV12; of use until the next packet.

        Raises:
            PartFailed: the library fails, or the pictures are of another kind.

        """
        data = self._library.PacketData()
        data.bsl_data, data.bsl = packet.ctypes.data, packet.size
        with told(self._library, "decoding"):
            return [self._planes(frame) for frame in self._decoder.Decode(data)]

    def _planes(self, frame: Any) -> NDArray[np.uint8]:
        rows, width = (int(size) for size in frame.shape[:2])
        if frame.format != self._library.Pixel_Format.NV12 or frame.framesize() != rows * width:
            raise PartFailed(f"pictures of the kind {frame.format} are not for it")
        at = ctypes.cast(frame.GetPtrToPlane(0), ctypes.POINTER(ctypes.c_uint8))
        return np.ctypeslib.as_array(at, (rows, width))


class Stream:
    """The packets on standard input, from the first picture that needs no other one.

    Raises:
        PartFailed: no video came, or of a codec that is not for it.

    """

    def __init__(self) -> None:
        raw = [cv2.CAP_PROP_FORMAT, -1, cv2.CAP_PROP_N_THREADS, 1]
        self._capture = cv2.VideoCapture()
        if not self._capture.open("pipe:0", cv2.CAP_FFMPEG, raw):
            raise PartFailed("no video came", reason="not_opened")
        tag = int(self._capture.get(cv2.CAP_PROP_FOURCC))
        #: ``h264`` or ``hevc``
        self.codec = tag.to_bytes(4, "little").decode("latin-1").lower()
        if self.codec not in _SEQUENCE:
            raise PartFailed(f"video of the codec {self.codec} is not for it", reason="no_video")
        self._begun = False

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], bool]]:
        """Yield packets, ``(n,)`` uint8 in Annex B, and whether each begins anew."""
        while self._capture.grab():
            whole, packet = self._capture.retrieve()
            key = bool(self._capture.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME))
            if not whole or not (key or self._begun):
                continue
            data: NDArray[np.uint8] = np.asarray(packet, np.uint8).reshape(-1)
            if not self._begun and not sequence_in(data, self.codec):
                data = np.concatenate([self._before(), data])
            self._begun = True
            yield data, key

    def _before(self) -> NDArray[np.uint8]:
        """Return the parameters that came beside the stream, as with many cameras."""
        index = int(self._capture.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX))
        whole, extra = self._capture.retrieve(flag=index)
        return np.asarray(extra, np.uint8).reshape(-1) if whole else np.empty(0, np.uint8)


class Judge:
    """Compares the first picture with what the processor makes of the same packet.

    NVDEC decodes bit by bit what every other decoder does, so a difference is a fault: of the
    driver, the library, or of this code, which never saw a GPU. It also shows the range of values
    (16 to 235, or all), which neither NUT nor the library tells.
    """

    def __init__(self, packet: NDArray[np.uint8] | None = None, codec: str = "") -> None:
        self._packet = packet
        self._codec = codec
        self._levels: NDArray[np.uint8] | None = None

    def look(self, picture: NDArray[np.uint8]) -> None:
        """Judge the first picture, ``(h * 3 / 2, w)`` uint8 in NV12; later ones pass.

        Raises:
            PartFailed: it shows something else.

        """
        if self._packet is None:
            return
        want, self._packet = by_processor(self._packet, self._codec), None
        if want is None or want.shape[:2] != (picture.shape[0] * 2 // 3, picture.shape[1]):
            raise PartFailed("the processor makes no such picture of its first one")
        limited = _difference(want, picture)
        self._levels = _LEVELS
        full = _difference(want, self.limited(picture))
        if min(limited, full) > _ALIKE:
            raise PartFailed("its first picture is not what the processor makes of it")
        if limited <= full:
            self._levels = None

    def limited(
        self, picture: NDArray[np.uint8], into: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Return NV12 with the limited range of values; ``into`` is filled with it."""
        into = np.empty_like(picture) if into is None else into
        if self._levels is None:
            np.copyto(into, picture)
            return into
        rows = picture.shape[0] * 2 // 3
        cv2.LUT(picture[:rows], self._levels[0], into[:rows])
        cv2.LUT(picture[rows:], self._levels[1], into[rows:])
        return into


class Child:
    """Answers what is asked.

    Args:
        memory: descriptor of the shared memory; it grows as needed.
        stream: what comes in.
        decoder: makes one that decodes it, as often as it changes.

    """

    def __init__(self, memory: int, stream: Stream, decoder: Callable[[], Decoder]) -> None:
        self._memory = memory
        self._codec = stream.codec
        self._packets = iter(stream)
        self._new_decoder = decoder
        self._decoder: Decoder | None = None
        self._sequence = b""
        self._judge = Judge()
        self._waiting: deque[NDArray[np.uint8]] = deque()
        self._shared: mmap.mmap | None = None

    def grab(self) -> dict[str, Any]:
        """Go to the next picture."""
        if self._waiting:
            self._waiting.popleft()
        while not self._waiting:
            packet, key = next(self._packets, (None, False))
            if packet is None:
                return {"more": False}
            self._waiting.extend(self._decode(packet, key=key))
        self._judge.look(self._waiting[0])
        return {"more": True}

    def _decode(self, packet: NDArray[np.uint8], *, key: bool) -> list[NDArray[np.uint8]]:
        # Told of a new resolution, the library goes on with pictures of the old size, or fails.
        sequence = sequence_in(packet, self._codec) if key else b""
        if self._decoder is None or (sequence and sequence != self._sequence):
            self._decoder, self._sequence = self._new_decoder(), sequence
            self._judge = Judge(packet, self._codec)
        return self._decoder.decode(packet)

    def retrieve(self) -> dict[str, Any]:
        """Share the picture."""
        if not self._waiting:
            raise PartFailed("nothing was grabbed")
        picture = self._waiting[0]
        if self._shared is None or len(self._shared) < picture.size:
            os.ftruncate(self._memory, picture.size)
            self._shared = mmap.mmap(self._memory, picture.size)
        into = np.frombuffer(self._shared, np.uint8, picture.size).reshape(picture.shape)
        self._judge.limited(picture, into)
        return {"width": picture.shape[1], "height": picture.shape[0] * 2 // 3}


def serve(talk: socket.socket, memory: int, device: int, library_path: str) -> None:
    """Decode what comes on standard input, as the socket asks, until that is closed."""
    settle()
    try:
        library = load(library_path)
        stream = Stream()
        child = Child(memory, stream, partial(Decoder, library, stream.codec, device))
        _say(talk, {"ready": True})
        while order := talk.recv(16):
            _say(talk, child.grab() if order == b"grab" else child.retrieve())
    except PartFailed as error:
        _say(talk, {"error": str(error), "reason": error.reason})


def look(talk: socket.socket, device: int, library_path: str) -> None:
    """Say whether this box can decode: ``{"ready": true}``, or ``error``."""
    settle()
    try:
        _ask_driver(device)
        library = load(library_path)
        with told(library, "asking the GPU"):
            able = library.GetDecoderCaps(gpuid=device, codec=library.cudaVideoCodec.H264)
        if able.get("supported"):
            _say(talk, {"ready": True})
        else:
            _say(talk, {"error": "this GPU has no decoder for H.264"})
    except PartFailed as error:
        _say(talk, {"error": str(error), "reason": error.reason})


def settle() -> None:
    """Make this process one that does not outlive its parent, and whose words reach nobody."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def load(library_path: str) -> Any:
    """Import the library; Edge's own packages come before all others.

    Raises:
        PartFailed: it cannot be imported.

    """
    sys.path.extend(place for place in library_path.split(os.pathsep) if place)
    try:
        return importlib.import_module(LIBRARY)
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise PartFailed(f"{LIBRARY} cannot be imported: {_first_line(error)}") from error


@contextlib.contextmanager
def told(library: Any, what: str) -> Iterator[None]:
    """Translate what the library raises.

    Raises:
        PartFailed: in its place.

    """
    own = (library.PyNvVCException, library.PyNvVCExceptionUnsupported)
    try:
        yield
    except (*own, RuntimeError, TypeError, ValueError, MemoryError) as error:
        raise PartFailed(f"{LIBRARY} fails at {what}: {_first_line(error)}") from error


def sequence_in(packet: NDArray[np.uint8], codec: str) -> bytes:
    """Return the parameters of a sequence that stand before a packet's picture; empty: none do.

    They name the size of its pictures, and change with it. (H.264 and H.265, annex B and 7.3.1.)
    """
    mask, wanted, slices = _SEQUENCE[codec]
    data, found = packet.tobytes(), b""
    at = data.find(b"\0\0\1") + 3
    while 3 <= at < len(data):
        kind = data[at] & mask
        if kind <= slices and (codec == "hevc" or kind):
            break  # the picture itself, nearly all of the packet
        end = data.find(b"\0\0\1", at)
        if kind == wanted:
            found += data[at : end if end >= 0 else len(data)].rstrip(b"\0")
        at = end + 3 if end >= 0 else len(data)
    return found


def by_processor(packet: NDArray[np.uint8], codec: str) -> Pixels | None:
    """Decode a packet that needs no other one, ``(h, w, 3)`` uint8 BGR; None where it cannot."""
    with contextlib.closing(os.fdopen(os.memfd_create("packet"), "wb")) as file:
        file.write(packet.tobytes())
        file.flush()
        usual = os.environ[capture_opencv.OPTIONS]
        # Of one picture alone FFmpeg does not always guess what it is.
        os.environ[capture_opencv.OPTIONS] = f"input_format;{codec}"
        capture = cv2.VideoCapture()
        one = [cv2.CAP_PROP_N_THREADS, 1]
        opened = capture.open(f"/proc/self/fd/{file.fileno()}", cv2.CAP_FFMPEG, one)
        os.environ[capture_opencv.OPTIONS] = usual
        whole, pixels = capture.read() if opened else (False, None)
        return np.asarray(pixels, np.uint8) if whole else None


def _difference(want: Pixels, picture: NDArray[np.uint8]) -> float:
    pixels = cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_NV12)
    # shrunk, for the two fill in the missing colours in different ways
    small = [cv2.resize(one, _SHRUNK, interpolation=cv2.INTER_AREA) for one in (want, pixels)]
    return float(np.abs(small[0].astype(np.int16) - small[1]).mean())


def _ask_driver(device: int) -> None:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_int()
        result = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    except (OSError, AttributeError) as error:
        raise PartFailed("no NVIDIA driver on this box") from error
    if result:
        raise PartFailed(f"the NVIDIA driver does not start ({result})")
    if not 0 <= device < count.value:
        raise PartFailed(f"no GPU {device}: the driver has {count.value}")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = [line for line in lines if line.startswith("Error Type")]
    return (why or lines or [type(error).__name__])[0].removeprefix("Error Type : ")[:300]


def _say(talk: socket.socket, words: dict[str, Any]) -> None:
    with contextlib.suppress(ConnectionError):  # whoever asked has gone
        talk.send(json.dumps(words).encode())
