"""Bytes as ``gdppay`` writes them, from a pipe."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np
import pytest

from edge.errors import PartFailed
from edge.frame import Pixels
from edge.sources.gst_frames import GstFrames

CAPS = "video/x-raw, width=(int){}, height=(int){}, framerate=(fraction)15/1, format=(string)BGRx\0"
BUFFER, SIZE, EVENT = 1, 2, 17998
PATIENCE = 30.0


def packet(kind: int, payload: bytes, *, version: int = 1) -> bytes:
    head = bytes([version, 0, 0, 0]) + kind.to_bytes(2, "big") + len(payload).to_bytes(4, "big")
    return head.ljust(62, b"\0") + payload


def caps(width: int, height: int) -> bytes:
    return packet(SIZE, CAPS.format(width, height).encode())


def a_picture(width: int, height: int) -> Pixels:
    count = width * height * 4
    return (np.arange(count) % 251).astype(np.uint8).reshape(height, width, 4)


@pytest.fixture
def pipe() -> Iterator[tuple[GstFrames, int]]:
    end, their_end = os.pipe()
    yield GstFrames(end), their_end
    os.close(end)
    os.close(their_end)


Pipe = tuple[GstFrames, int]


def test_pictures_come_whole_and_change_their_size(pipe: Pipe) -> None:
    frames, into = pipe
    for width, height in ((6, 4), (5, 3)):
        want = a_picture(width, height)
        os.write(into, caps(width, height) + packet(EVENT, b"GstEventSegment\0"))
        os.write(into, packet(BUFFER, want.tobytes()) * 2)
        for _ in range(2):
            seen = frames.read(PATIENCE)
            assert seen is not None
            assert np.array_equal(seen, want)


def test_a_pipe_that_is_silent_ends_a_read_and_not_the_stream(pipe: Pipe) -> None:
    frames, into = pipe
    began = time.monotonic()
    assert frames.read(0.2) is None
    assert 0.15 < time.monotonic() - began < PATIENCE
    assert not frames.over
    os.write(into, caps(2, 2) + packet(BUFFER, bytes(16)))
    assert frames.read(PATIENCE) is not None


@pytest.mark.parametrize("left", [0, 30, 62, 70, 180, 240, -1])
def test_a_stream_that_ends_anywhere_shows_no_torn_picture(left: int) -> None:
    end, into = os.pipe()
    whole = caps(8, 8) + packet(BUFFER, a_picture(8, 8).tobytes())
    os.write(into, whole[:left])
    os.close(into)
    frames = GstFrames(end)
    assert frames.read(PATIENCE) is None
    assert frames.over
    os.close(end)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (packet(BUFFER, bytes(16)), "16 bytes"),  # before any caps
        (caps(2, 2) + packet(BUFFER, bytes(15)), "15 bytes as 2x2"),
        (packet(SIZE, b"video/x-raw, width=(int)2, height=(int)2, format=(string)NV12"), "NV12"),
        (packet(SIZE, b"audio/x-raw, format=(string)BGRx"), "audio"),
        (caps(20000, 2), "20000"),
        (packet(BUFFER, bytes(16), version=2), "something else"),
        (b"Setting pipeline to PAUSED ...\n".ljust(62), "something else"),
        (bytes([1, 0, 0, 0, 0, 2]) + b"\xff" * 56, "something else"),
    ],
)
def test_what_is_no_picture_is_refused(pipe: Pipe, what: bytes, said: str) -> None:
    frames, into = pipe
    os.write(into, what)
    with pytest.raises(PartFailed, match=said):
        frames.read(PATIENCE)
