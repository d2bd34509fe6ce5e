"""Pictures before redaction. They are raw: never logged, never on a disk, never on a page."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""``(h, w, 3)`` uint8 BGR."""

READABLE_PICTURES = (
    (0, b"\xff\xd8", "JPEG"),
    (0, b"\x89PNG", "PNG"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (4, b"ftypavi", "AVIF"),
    (4, b"jP  ", "JPEG2000"),
)
"""Offset, bytes and name of what can be read where its header is whole."""
OTHER_PICTURES = (
    *((4, b"ftyp" + brand, "HEIC") for brand in (b"hei", b"hev", b"mif1", b"msf1")),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
)
"""The same for pictures that cannot be read."""
_MORE = (
    (8, b"WEBP", "WebP"),
    (8, b"AVI ", "AVI"),
    (4, b"ftyp", "MP4"),
    (0, b"\x1aE\xdf\xa3", "Matroska"),
)


def is_text(body: bytes) -> bool:
    """Tell whether bytes are UTF-8 text; a character that is cut off at the end does not count."""
    if b"\0" in body:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(body)
    except UnicodeDecodeError:
        return False
    return True


def picture_format(body: bytes) -> str:
    """Return what a picture or video file is by how it begins; empty: it is none.

    Text is none, though it may begin with the letters of one.
    """
    for offset, signature, name in (*READABLE_PICTURES, *OTHER_PICTURES, *_MORE):
        if body.startswith(signature, offset) and not is_text(body[:512]):
            return name
    return ""


class _Raw:
    """What must not be written anywhere: it cannot be pickled, and does not print its content."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is raw: it is never serialised")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame(_Raw):
    """One decoded picture.

    ``pixels`` is ``(h, w, 3)`` uint8 BGR and read-only: redaction works on a copy.

    Raises:
        ValueError: pixels of another shape or dtype, an empty picture, or a time without a zone.

    """

    pixels: Pixels = field(repr=False)
    taken_at: datetime
    #: name of the source, as in the configuration
    source: str
    #: what it shows: the source's name for a camera, the file's name for a picture
    subject: str
    #: True for one of a stream's frames, False for a picture that stands alone
    live: bool = True

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.uint8:
            raise ValueError(f"a frame is (h, w, 3) uint8, not empty: got {shape} {dtype}")
        if self.taken_at.tzinfo is None:
            raise ValueError("a frame's time needs a zone")
        self.pixels.flags.writeable = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded(_Raw):
    """A picture as it came, not yet decoded: an upload, or a file in a watched folder."""

    body: bytes = field(repr=False)
    #: the sender's name for it; only ever a hint, the content decides
    name: str
    taken_at: datetime
    source: str
    subject: str
    #: the object that it was fetched from; None: it was no object
    origin: ObjectRef | None = None
    #: what may go along of what its sender said of it: only names that the configuration allows
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.taken_at.tzinfo is None:
            raise ValueError("a picture's time needs a zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """A picture in an object store that was not fetched yet."""

    bucket: str
    key: str
    version: str = ""
    etag: str = ""
    #: bytes; None where the notification did not say
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched(_Raw):
    """An object as it was fetched."""

    body: bytes = field(repr=False)
    #: which one it was: what was asked for, with the ETag and version that the server said
    ref: ObjectRef
    #: its user metadata, only names that the configuration allows
    metadata: Mapping[str, str] = field(default_factory=dict)
