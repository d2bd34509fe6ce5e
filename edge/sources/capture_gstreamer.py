"""RTSP cameras that a Jetson decodes: NVIDIA's GStreamer elements, between ffmpeg and us.

A Jetson's ffmpeg has no NVDEC. So ffmpeg opens the camera, login, TLS and all, and copies its
stream into a child ``gst-launch-1.0``, which has the hardware decode it and convert it to BGRx;
whole pictures come back through a pipe. GStreamer is never told an address.

Neither a Jetson nor these elements were ever seen by this code: its tests have GStreamer's software
decoders in their place, between the same pipes.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import socket
import subprocess

import cv2
import numpy as np

from edge.errors import PartFailed
from edge.frame import Pixels
from edge.ops.own_program import own_environment
from edge.sources.camera_address import Address
from edge.sources.ffmpeg_pipe import FfmpegPipe, Passing, wait_for_end
from edge.sources.gst_frames import GstFrames

JETSON = ("nvv4l2decoder", "!", "nvvidconv")
"""Decodes H.264 and H.265 of whole access units, and converts to BGRx in the computer's memory."""

# Matroska keeps whole access units and their headers together, for either codec. A cluster for each
# picture: one is written when the next begins, so this is one picture late, and others are seconds.
_MATROSKA = Passing(
    output=("-c", "copy", "-cluster_time_limit", "0", "-live", "1"), muxer="matroska"
)
_PARSERS = {b"V_MPEG4/ISO/AVC": "h264parse", b"V_MPEGH/ISO/HEVC": "h265parse"}
_HEAD = 4096
"""Bytes at the beginning of the stream among which the codec's name stands."""
# Nothing waits for a clock, and of pictures that we do not read in time the newest stays.
_BEHIND = (
    "!", "video/x-raw,format=BGRx",
    "!", "queue", "leaky=downstream", "max-size-buffers=1", "max-size-bytes=0", "max-size-time=0",
    "!", "gdppay", "crc-header=false",
    "!", "fdsink", "sync=false", "async=false", "enable-last-sample=false",
)  # fmt: skip
_ELEMENTS = (
    "nvv4l2decoder", "nvvidconv", "matroskademux", "h264parse", "h265parse", "gdppay", "fdsink",
)  # fmt: skip
_ENDS = 1.0
"""Seconds that a child whose output is over may take to end by itself."""


class GstReader:
    """A reader of an RTSP camera.

    Args:
        address: where it is.
        verify: check its certificate against the system's authorities.
        open_timeout: seconds until ffmpeg has the first bytes, and again until the first picture.
        read_timeout: seconds without a picture after which a read ends.
        decoder: elements that make raw pictures of a parsed stream.

    """

    def __init__(
        self,
        address: Address,
        *,
        verify: bool,
        open_timeout: float,
        read_timeout: float,
        decoder: tuple[str, ...] = JETSON,
    ) -> None:
        self.pipe = FfmpegPipe(
            address,
            verify=verify,
            open_timeout=open_timeout,
            read_timeout=read_timeout,
            passing=_MATROSKA,
        )
        #: the child gst-launch-1.0, once it was started
        self.process: subprocess.Popen[bytes] | None = None
        self._open_timeout = open_timeout
        self._read_timeout = read_timeout
        self._decoder = decoder
        self._end = -1
        self._frames: GstFrames | None = None
        self._picture: Pixels | None = None
        self._held = False
        self._interrupted = False

    def open(self) -> None:
        # A socket and no pipe: its beginning can be looked at without being taken.
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self.pipe.start(theirs.fileno())
            self.pipe.wait_for_bytes(ours.fileno())
            self._start(_find_parser(ours.recv(_HEAD, socket.MSG_PEEK)), ours)
        if not self._read(self._open_timeout):
            raise PartFailed("GStreamer made no picture of it", reason="not_opened")
        self._held = True

    def _start(self, parser: str, stream: socket.socket) -> None:
        self._end, their_end = os.pipe()
        # Not its standard output: NVIDIA's libraries say there what they do. And a crash is an end:
        # by itself, gst-launch would wait for a debugger.
        command = [
            "gst-launch-1.0", "-q", "--no-fault", "fdsrc", "fd=0", "blocksize=65536",
            "!", "matroskademux", "!", parser,
            "!", *self._decoder, *_BEHIND, f"fd={their_end}",
        ]  # fmt: skip
        try:
            process = subprocess.Popen(  # noqa: S603 (a fixed program and fixed arguments)
                command,
                stdin=stream.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[their_end],
                env=own_environment(),
                # Ctrl-C at a terminal is for Edge, which then ends the child.
                start_new_session=True,
            )
        except OSError as error:
            raise PartFailed("gst-launch-1.0 cannot be started", reason="not_opened") from error
        finally:
            os.close(their_end)
        self.process = process
        if self._interrupted:
            process.kill()
        self._frames = GstFrames(self._end)

    def grab(self) -> bool:
        """Read one picture; False when the camera ended the stream, or after a timeout.

        Raises:
            PartFailed: GStreamer ended in the midst of it.

        """
        if self._held:
            self._held = False
            return True
        return self._read(self._read_timeout)

    def _read(self, timeout: float) -> bool:
        if not self._frames:
            return False
        self._picture = self._frames.read(timeout)
        if self._picture is None and not self._interrupted and self._failed():
            raise PartFailed("GStreamer ended by itself", reason="not_opened")
        return self._picture is not None

    def _failed(self) -> bool:
        """Tell whether GStreamer is the one that ended; after the camera's end its status is 0."""
        if not (self.process and self._frames and self._frames.over):
            return False
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_ENDS)
        return bool(self.process.returncode)

    def retrieve(self) -> Pixels | None:
        if self._picture is None:
            return None
        return np.asarray(cv2.cvtColor(self._picture, cv2.COLOR_BGRA2BGR), np.uint8)

    @property
    def position(self) -> float:
        """Of no meaning for a camera."""
        return 0.0

    def close(self) -> None:
        self.interrupt()
        self.pipe.close()
        wait_for_end(self.process)
        if self._end >= 0:
            os.close(self._end)
        self._end, self._frames, self._picture = -1, None, None

    def interrupt(self) -> None:
        """End both children, and with them any read from their pipe."""
        self._interrupted = True
        self.pipe.interrupt()
        if self.process:
            self.process.kill()


def _find_parser(head: bytes) -> str:
    """Return the element that reads this codec.

    Raises:
        PartFailed: the stream is over, or of another codec.

    """
    if not head:
        raise PartFailed("ffmpeg could not open it", reason="not_opened")
    for codec, parser in _PARSERS.items():
        if codec in head:
            return parser
    raise PartFailed("its video is neither H.264 nor H.265", reason="not_opened")


def why_not() -> str:
    """Tell why no camera can be decoded this way here; empty: one may try. Blocks at first."""
    program = shutil.which("gst-inspect-1.0")
    if not (program and shutil.which("gst-launch-1.0")):
        return "the program gst-launch-1.0 is not installed"
    if not shutil.which("ffmpeg"):
        return "the program ffmpeg is not installed"
    return _asked(program)


@functools.cache
def _asked(program: str) -> str:
    for element in _ELEMENTS:
        try:
            said = subprocess.run(  # noqa: S603 (a fixed program and fixed arguments)
                [program, "--exists", element],  # of several it would look at the first
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                timeout=20,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"GStreamer cannot be asked for {element}: {error}"
        if said.returncode:
            return f"GStreamer has no {element}"
    return ""
