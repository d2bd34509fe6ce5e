"""Decode a picture file: its header is judged first, and only then are its pixels touched.

Pillow reads the header (what it is, how large, which way up), OpenCV decodes. Only the first
picture of an animation or of a TIFF with several pages is taken. Transparency is dropped (a TIFF
is blended into black): the engine looks at the very pixels that will be shown. Metadata end here:
a Frame has none.

A JPEG that was damaged in the middle is decoded all the same, as every viewer does, and libjpeg
says so in a line without content on standard error. What is missing of it is missing in what the
engine sees too. One that ends too early is refused.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from edge.errors import Rejected
from edge.frame import OTHER_PICTURES, READABLE_PICTURES, Encoded, Frame, Pixels
from edge.stages.decode_png import only_picture

_READABLE = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000")
"""Pillow's names. WebP's header is read here."""
_ACCEPTED = "send a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or JPEG 2000 picture"

_SCANS = 100
"""A progressive JPEG has about ten; one with thousands would keep a core busy for minutes."""
_HEAVY = {"JPEG2000": 4, "AVIF": 2}
"""How many times the memory of a JPEG's pixel one takes while it is decoded."""
_PILLOW_RAISES = (
    OSError, ValueError, SyntaxError, TypeError, LookupError, ArithmeticError, EOFError,
    AttributeError, RuntimeError, AssertionError, MemoryError, struct.error,
)  # fmt: skip
"""What Pillow raises over a header that makes no sense, as seen with mutated headers."""

Image.MAX_IMAGE_PIXELS = None  # ``max_pixels`` is the limit; Pillow's only warns
_header_lock = threading.Lock()  # warnings.catch_warnings is not made for threads


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    #: Pillow's name of the format, or WEBP
    kind: str
    #: width and height, before or after turning
    size: tuple[int, int]
    #: orientation, as in EXIF, that OpenCV does not see to
    orientation: int = 1


def decode(picture: Encoded, *, max_pixels: int) -> Frame:
    """Decode one picture file, upright.

    Args:
        picture: the file; its content decides what it is, its name does not.
        max_pixels: pictures with more are refused by their header; JPEG 2000 with more than a
            quarter and AVIF with more than half, for what they take in memory.

    Returns:
        A frame that is not live; ``taken_at``, ``source`` and ``subject`` as given.

    Raises:
        Rejected: ``not_a_picture``, ``unsupported_format``, ``too_many_pixels`` or ``damaged``.

    """
    body = picture.body
    header = _header(body)
    width, height = header.size
    limit = max_pixels // _HEAVY.get(header.kind, 1)
    if width * height > limit:
        raise Rejected(
            f"its header says {width} x {height} pixels; at most {limit} are taken",
            hint="send a smaller picture, or raise [detect] max_pixels",
            reason="too_many_pixels",
        )
    # MPO is what Pillow calls a JPEG with more pictures behind it.
    if header.kind in {"JPEG", "MPO"} and body.count(b"\xff\xda") > _SCANS:
        raise _damaged(f"more than {_SCANS} scans")
    return Frame(
        pixels=_upright(_decoded(body, header), header.orientation),
        taken_at=picture.taken_at,
        source=picture.source,
        subject=picture.subject,
        live=False,
    )


def _header(body: bytes) -> _Header:
    """Read what a file says of itself, without decoding any of it.

    Raises:
        Rejected: it is no picture, none that can be read, or its header is damaged.

    """
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        # Not by Pillow, which makes room for the whole picture as it opens a WebP.
        return _Header(kind="WEBP", size=_webp_size(body))
    try:
        with _header_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(body), formats=_READABLE) as opened:
                return _read(opened, len(body))
    except UnidentifiedImageError as error:
        raise _unknown(body) from error
    except _PILLOW_RAISES as error:
        raise _damaged("its header makes no sense") from error


def _read(opened: Image.Image, length: int) -> _Header:
    """Return the header of a file of ``length`` bytes that Pillow has opened."""
    if isinstance(opened, TiffImagePlugin.TiffImageFile):
        _check_tiff_is_whole(opened, length)
    orientation = 1
    if opened.format == "AVIF":  # the one format that OpenCV leaves lying on its side
        orientation = opened.getexif().get(ExifTags.Base.Orientation, 1)
    return _Header(kind=str(opened.format), size=opened.size, orientation=orientation)


def _check_tiff_is_whole(opened: TiffImagePlugin.TiffImageFile, length: int) -> None:
    """Refuse a TIFF whose picture lies beyond its end: OpenCV would leave that part black."""
    for offsets, counts in ((273, 279), (324, 325)):  # strips, tiles
        starts, sizes = (opened.tag_v2.get(tag, ()) for tag in (offsets, counts))
        if any(start + size > length for start, size in zip(starts, sizes, strict=True)):
            raise _damaged("it ends too early")


def _webp_size(body: bytes) -> tuple[int, int]:
    """Return width and height from the first chunk of a WebP (RFC 9649, section 2)."""
    chunk, rest = body[12:16], body[20:30]
    if len(rest) < 10:
        raise _damaged("it ends too early")
    if chunk == b"VP8X":
        width, height = (int.from_bytes(rest[at : at + 3], "little") + 1 for at in (4, 7))
    elif chunk == b"VP8L":
        bits = int.from_bytes(rest[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif chunk == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", rest[6:10]))
    else:
        raise _damaged("its header makes no sense")
    return width, height


def _decoded(body: bytes, header: _Header) -> Pixels:
    """Return the pixels; refuse what is not the picture that its header announced."""
    try:
        if header.kind == "PNG":
            body = only_picture(body)
        pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, ValueError) as error:
        raise _damaged("its content cannot be decoded") from error
    if pixels is None:
        raise _damaged("its content cannot be decoded")
    if sorted(pixels.shape[:2]) != sorted(header.size):
        raise _damaged(f"it has {pixels.shape[1]} x {pixels.shape[0]} pixels, its header lies")
    return pixels.astype(np.uint8, copy=False)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn a picture as its EXIF orientation (1 to 8; CIPA DC-008, 4.6.4) says."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _unknown(body: bytes) -> Rejected:
    """Return the reason why Pillow cannot tell what a file is."""
    for offset, signature, name in OTHER_PICTURES:
        if body.startswith(signature, offset):
            return Rejected(
                f"a {name} picture of a kind that cannot be read",
                hint=_ACCEPTED,
                reason="unsupported_format",
            )
    for offset, signature, name in READABLE_PICTURES:
        if body.startswith(signature, offset):
            return _damaged(f"the header of this {name} makes no sense")
    what = "the content is that of no picture" if body else "the file is empty"
    return Rejected(what, hint=_ACCEPTED, reason="not_a_picture")


def _damaged(what: str) -> Rejected:
    return Rejected(f"the picture is damaged: {what}", hint="send it again", reason="damaged")
