"""PNG before OpenCV sees it: whole, and nothing in it but the picture.

OpenCV 5 makes room for a chunk as long as its length says (4 GB for a file of 69 bytes), takes a
wrong checksum of some chunks for granted, and complains about colour profiles on standard error.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PICTURE = {b"IHDR", b"PLTE", b"IDAT", b"eXIf", b"IEND"}
"""Chunks that draw the first picture; transparency, profiles, texts, later frames do not."""
_MOST = 100_000
"""Chunks in a file. One of 64 MiB in pieces of 8 KiB has 8,192."""


def only_picture(body: bytes) -> bytes:
    """Return the same PNG without what is not needed to draw it.

    Raises:
        ValueError: a chunk is longer than the file, its checksum is wrong, or the end is missing.

    """
    return _SIGNATURE + b"".join(_chunks(body))


def _chunks(body: bytes) -> Iterator[bytes]:
    """Yield the chunks that are needed, with length and checksum (PNG specification, 5.3)."""
    view, at = memoryview(body), len(_SIGNATURE)
    for _ in range(_MOST):
        length, kind = int.from_bytes(view[at : at + 4], "big"), bytes(view[at + 4 : at + 8])
        end = at + 12 + length
        if end > len(body):
            raise ValueError("a chunk ends after the file")
        if kind in _PICTURE:
            if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
                raise ValueError("a chunk has a wrong checksum")
            yield bytes(view[at:end])
        if kind == b"IEND":
            return
        at = end
    raise ValueError("it has too many chunks")
