"""The form of a JPEG that somebody else made (ITU T.81, annex B): read strictly, written anew.

Only what a baseline picture needs is kept: its tables, its frame, its one scan. Comments and
whatever an encoder writes besides are left out, and what cannot be understood is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from edge.errors import PartFailed

BLOCK = 16
"""Pixels of a side of what is coded together (an MCU), with 4:2:0."""

_START, _END = b"\xff\xd8", b"\xff\xd9"
_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
"""As libjpeg writes it: version 1.1, square pixels."""
_FRAME, _HUFFMAN, _SCAN, _QUANTA, _INTERVAL = 0xC0, 0xC4, 0xDA, 0xDB, 0xDD
_KEPT = {_HUFFMAN, _SCAN, _QUANTA, _INTERVAL}
_COMMENTS = {0xFE, *range(0xE0, 0xF0)}
_MARKER = re.compile(rb"\xff[^\x00]")
_SAMPLING = (0x22, 0x11, 0x11)


@dataclass(frozen=True, slots=True)
class Form:
    """A JPEG taken apart."""

    #: the segments before the frame's, and from behind it to the scan's data
    before: bytes
    after: bytes
    #: the frame's segment
    frame: bytes
    #: what is coded
    data: bytes
    #: the same by rows of blocks, where a restart marker ends each; else empty
    rows: tuple[bytes, ...]

    def whole(self, width: int, height: int) -> bytes:
        """Return it as a file of another size, which must need as many blocks."""
        return self._file(width, height, self.data)

    def some(self, width: int, first: int, every: int) -> bytes:
        """Return every ``every``-th row of blocks from ``first`` on as a file of its own."""
        rows = self.rows[first::every]
        markers = (bytes((0xFF, 0xD0 + number % 8)) for number in range(len(rows)))
        data = b"".join(part for pair in zip(rows, markers, strict=True) for part in pair)[:-2]
        return self._file(width, BLOCK * len(rows), data)

    def _file(self, width: int, height: int, data: bytes) -> bytes:
        size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
        frame = self.frame[:5] + size + self.frame[9:]
        return b"".join((_START, _JFIF, self.before, frame, self.after, data, _END))


def read(jpeg: bytes, width: int, height: int) -> Form:
    """Take a baseline JPEG of a known size apart.

    Args:
        jpeg: the file.
        width: of it, a multiple of 16.
        height: of it, a multiple of 16.

    Raises:
        PartFailed: it is none, of another size, or has something that does not belong there.

    """
    if jpeg[:2] != _START or jpeg[-2:] != _END:
        raise _bad("it does not begin and end as one does")
    parts = list(_segments(jpeg))
    kinds = [kind for kind, _ in parts]
    scan = parts[-1][1]
    if kinds.count(_FRAME) != 1 or scan[4:5] != b"\x03" or scan[-3:] != b"\x00\x3f\x00":
        raise _bad("it is not one scan of three components")
    at = kinds.index(_FRAME)
    data = jpeg[2 + sum(len(segment) for _, segment in parts) : -2]
    rows = _rows(data)
    by_rows = _interval(parts) == width // BLOCK and len(rows) == height // BLOCK
    return Form(
        before=_kept(parts[:at]),
        after=_kept(parts[at + 1 :]),
        frame=_sized(parts[at][1], width, height),
        data=data,
        rows=rows if by_rows else (),
    )


def _segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield what stands before the coded data, the scan's own header last."""
    at, kind = 2, 0
    while kind != _SCAN:
        kind, segment = _segment(jpeg, at)
        if kind not in _KEPT | _COMMENTS | {_FRAME}:
            raise _bad(f"it has a segment {kind:02x}")
        yield kind, segment
        at += len(segment)


def _kept(parts: list[tuple[int, bytes]]) -> bytes:
    return b"".join(segment for kind, segment in parts if kind in _KEPT)


def _interval(parts: list[tuple[int, bytes]]) -> int:
    """Return how many blocks lie between two restart markers; 0: there are none."""
    found = [int.from_bytes(segment[4:], "big") for kind, segment in parts if kind == _INTERVAL]
    return found[-1] if found else 0


def _segment(jpeg: bytes, at: int) -> tuple[int, bytes]:
    head = jpeg[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF:
        raise _bad("it ends too early")
    length = int.from_bytes(head[2:], "big")
    segment = jpeg[at : at + 2 + length]
    if length < 2 or len(segment) != 2 + length:
        raise _bad("it ends too early")
    return head[1], segment


def _sized(frame: bytes, width: int, height: int) -> bytes:
    if len(frame) != 19 or frame[4] != 8 or frame[9] != 3 or tuple(frame[11::3]) != _SAMPLING:
        raise _bad("it is not three components of 8 bits, 4:2:0")
    found = int.from_bytes(frame[7:9], "big"), int.from_bytes(frame[5:7], "big")
    if found != (width, height):
        raise _bad(f"it is {found[0]} x {found[1]} and not {width} x {height}")
    return frame


def _rows(data: bytes) -> tuple[bytes, ...]:
    """Divide what is coded at its restart markers; it may have no other."""
    rows, begin = [], 0
    for number, marker in enumerate(_MARKER.finditer(data)):
        if marker.group()[1] != 0xD0 + number % 8:
            raise _bad("something that is no picture lies in what is coded")
        rows.append(data[begin : marker.start()])
        begin = marker.end()
    if data.endswith(b"\xff"):
        raise _bad("something that is no picture lies in what is coded")
    return (*rows, data[begin:])


def _bad(what: str) -> PartFailed:
    return PartFailed(f"what came back is not the JPEG that was asked for: {what}", reason="jpeg")
