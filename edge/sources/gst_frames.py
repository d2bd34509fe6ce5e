"""Whole raw pictures from a pipe, as GStreamer's ``gdppay`` frames them.

Each packet of the GStreamer Data Protocol 1.0 has a header of 62 bytes: version (major, minor),
flags, a byte of padding, then big-endian the kind (2 bytes) and the payload's length (4 bytes); the
rest is of no matter here. A picture's size stands in a packet of caps before it, so that a camera
may change it at any time.
"""

from __future__ import annotations

import os
import re
import select
import time

import numpy as np

from edge.errors import PartFailed
from edge.frame import Pixels

_HEADER = 62
_BUFFER, _CAPS = 1, 2
_LONGEST = 1 << 20
"""Bytes of caps or an event at most."""
_LARGEST = 16384
"""Pixels a side of a picture at most."""


class GstFrames:
    """Reads pictures of the format BGRx.

    Args:
        end: descriptor of the pipe's end; whoever calls closes it.

    """

    def __init__(self, end: int) -> None:
        self._end = end
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)
        self._header = bytearray(_HEADER)
        self._picture = np.empty((0, 0, 4), np.uint8)
        #: nothing more will come
        self.over = False

    def read(self, timeout: float) -> Pixels | None:
        """Return the next picture, ``(h, w, 4)`` uint8 BGRx, valid until the next call.

        None: the stream is over, or nothing came for so many seconds.

        Raises:
            PartFailed: what comes is something else.

        """
        deadline = time.monotonic() + timeout
        while self._fill(memoryview(self._header), deadline):
            kind = int.from_bytes(self._header[4:6], "big")
            length = int.from_bytes(self._header[6:10], "big")
            if kind == _BUFFER and self._header[0] == 1:
                return self._read_picture(length, deadline)
            if self._header[0] != 1 or length > _LONGEST:
                raise PartFailed("GStreamer sends something else than pictures")
            more = bytearray(length)
            if self._fill(memoryview(more), deadline) and kind == _CAPS:
                self._picture = np.empty((*_read_caps(more.decode(errors="replace")), 4), np.uint8)
        return None

    def _read_picture(self, length: int, deadline: float) -> Pixels | None:
        picture = self._picture
        if length != picture.nbytes or not length:
            height, width, _ = picture.shape
            raise PartFailed(f"GStreamer sends pictures of {length} bytes as {width}x{height}")
        return picture if self._fill(picture.data.cast("B"), deadline) else None

    def _fill(self, view: memoryview, deadline: float) -> bool:
        while view:
            if not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return False
            count = os.readv(self._end, [view])
            if not count:
                self.over = True
                return False
            view = view[count:]
        return True


def _read_caps(caps: str) -> tuple[int, int]:
    """Return height and width.

    Raises:
        PartFailed: no raw pictures of the format asked for.

    """
    sides = [re.search(rf"\b{side}=\(int\)(\d+)", caps) for side in ("height", "width")]
    height, width = (int(found[1]) if found else 0 for found in sides)
    if "format=(string)BGRx" not in caps or not (0 < height <= _LARGEST and 0 < width <= _LARGEST):
        raise PartFailed(f"GStreamer sends no pictures that can be read, but {caps[:200]}")
    return height, width
