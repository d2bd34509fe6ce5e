"""The child ffmpeg: what it passes on of a stream that has B-frames, and how it ends."""

from __future__ import annotations

import os
import time

import pytest

from edge.errors import PartFailed
from edge.sources.camera_address import read_address
from edge.sources.capture_ffmpeg import FfmpegReader
from edge.sources.ffmpeg_pipe import COPY, FfmpegPipe, Passing
from tests.servers.rtsp import StartRtsp
from tests.sources.conftest import MakeVideo


def a_pipe(url: str, passing: Passing = COPY) -> FfmpegPipe:
    return FfmpegPipe(
        read_address(url), verify=False, open_timeout=10, read_timeout=10, passing=passing
    )


def test_a_camera_with_b_frames_is_passed_on(start_rtsp: StartRtsp, make_video: MakeVideo) -> None:
    """RTSP does not say when they are decoded, and a container wants to know it."""
    video = make_video("bframes.mp4", "-c:v", "libx264", "-g", "15", "-bf", "3")
    address = read_address(start_rtsp(video).url())
    reader = FfmpegReader(address, verify=False, open_timeout=10, read_timeout=10)
    reader.open()
    shapes: list[tuple[int, ...]] = []
    while len(shapes) < 20 and reader.grab():
        pixels = reader.retrieve()
        assert pixels is not None
        shapes.append(pixels.shape)
    reader.close()
    assert shapes == [(360, 640, 3)] * 20


@pytest.mark.parametrize(
    ("muxer", "magic"),
    [
        ("nut", b"nut/multimedia"),
        ("matroska", b"\x1aE\xdf\xa3"),
        ("mpegts", b"G@"),
        ("h264", b"\0\0\0\1"),
    ],
)
def test_the_container_is_the_one_asked_for(
    start_rtsp: StartRtsp, make_video: MakeVideo, muxer: str, magic: bytes
) -> None:
    pipe = a_pipe(
        start_rtsp(make_video("gop1.mp4")).url(), Passing(output=COPY.output, muxer=muxer)
    )
    end = pipe.open()
    assert os.read(end, 4096).startswith(magic)
    os.close(end)
    pipe.close()
    assert pipe.process
    assert pipe.process.returncode is not None


def test_one_that_was_interrupted_before_passes_nothing_on(
    start_rtsp: StartRtsp, make_video: MakeVideo
) -> None:
    pipe = a_pipe(start_rtsp(make_video("gop1.mp4")).url())
    pipe.interrupt()
    end = pipe.open()
    assert os.read(end, 4096) == b""
    os.close(end)
    pipe.close()


def test_a_stream_of_which_nothing_comes_is_not_waited_for_longer_than_asked(
    start_rtsp: StartRtsp, make_video: MakeVideo
) -> None:
    server = start_rtsp(make_video("gop1.mp4"))
    server.do("stall", "cam0")
    pipe = FfmpegPipe(read_address(server.url()), verify=False, open_timeout=1, read_timeout=10)
    began = time.monotonic()
    with pytest.raises(PartFailed, match="in time"):
        pipe.open()
    pipe.close()
    assert time.monotonic() - began < 6
