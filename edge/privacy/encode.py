"""Encode a redacted picture. Its metadata is written anew: when, which source, which program."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime

import cv2
import numpy as np
from PIL import ExifTags, Image

from edge import __version__
from edge.config.privacy import Format, Policy
from edge.errors import Withheld
from edge.frame import Pixels

Jpegs = Callable[[Pixels, int], bytes | None]
"""Makes a JPEG of pixels with a quality, and vouches for it; None: the processor has to."""

_WHEN = b"0000:00:00 00:00:00"
_MILLISECONDS = b"~~~"
_EXTENSIONS = {"jpeg": "jpg", "webp": "webp", "png": "png"}


def encode(
    pixels: Pixels, policy: Policy, taken_at: datetime, source: str, *, jpeg: Jpegs | None = None
) -> tuple[bytes, str]:
    """Encode ``pixels``, ``(h, w, 3)`` uint8 BGR, in the policy's format.

    EXIF says when it was taken (DateTimeOriginal, SubSecTimeOriginal, OffsetTimeOriginal; in UTC),
    where (ImageDescription: the source's name) and by what (Software). There is nothing else.

    Args:
        pixels: the redacted picture.
        policy: format and quality.
        taken_at: when.
        source: the source's name.
        jpeg: asked first for a JPEG; what it returns is as good as OpenCV's, or None.

    Returns:
        The encoded picture and its content type.

    Raises:
        Withheld: it cannot be encoded, for example because the format has no such size.

    """
    exif = _exif(taken_at, source)
    if policy.format == "jpeg":
        body = jpeg(pixels, policy.quality) if jpeg is not None else None
        written = _with_exif(body or opencv_jpeg(pixels, policy.quality), exif)
    else:
        metadata = [np.frombuffer(exif, np.uint8)]
        kinds = [cv2.IMAGE_METADATA_EXIF]
        try:
            done, buffer = cv2.imencodeWithMetadata(
                f".{extension(policy)}", pixels, kinds, metadata, _parameters(policy)
            )
        except cv2.error as error:
            raise _failed(pixels, policy.format) from error
        if not done:
            raise _failed(pixels, policy.format)
        written = buffer.tobytes()
    return written, f"image/{policy.format}"


def opencv_jpeg(pixels: Pixels, quality: int) -> bytes:
    """Encode ``pixels``, ``(h, w, 3)`` uint8 BGR, as a JPEG by the processor. No EXIF.

    Raises:
        Withheld: it cannot be encoded, because it is too large.

    """
    try:
        done, body = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise _failed(pixels, "jpeg") from error
    if not done:
        raise _failed(pixels, "jpeg")
    return body.tobytes()


def extension(policy: Policy) -> str:
    """Return the end of the name of a file that the policy makes, without its dot."""
    return _EXTENSIONS[policy.format]


def _failed(pixels: Pixels, kind: Format) -> Withheld:
    height, width = pixels.shape[:2]
    return Withheld(
        f"{width} x {height} pixels could not be encoded as {kind}",
        hint="WebP takes 16383 pixels a side and JPEG 65500; choose another [privacy] format",
        reason="not_encodable",
    )


def _parameters(policy: Policy) -> list[int]:
    if policy.format == "webp":
        return [cv2.IMWRITE_WEBP_QUALITY, policy.quality]
    return [cv2.IMWRITE_PNG_COMPRESSION, 3]


def _with_exif(jpeg: bytes, exif: bytes) -> bytes:
    """Put an APP1 segment behind the start of the image (EXIF 2.3, 4.5.4).

    OpenCV would do it, and take a fifth longer to encode the picture for it.
    """
    block = b"Exif\0\0" + exif
    return b"".join((jpeg[:2], b"\xff\xe1", (len(block) + 2).to_bytes(2, "big"), block, jpeg[2:]))


def _exif(taken_at: datetime, source: str) -> bytes:
    """Return a TIFF block that says when, where and by what."""
    block, when, milliseconds = _exif_of(source)
    utc = taken_at.astimezone(UTC)
    filled = bytearray(block)
    filled[when : when + len(_WHEN)] = utc.strftime("%Y:%m:%d %H:%M:%S").zfill(19).encode()
    filled[milliseconds : milliseconds + 3] = b"%03d" % (utc.microsecond // 1000)
    return bytes(filled)


@functools.lru_cache(maxsize=256)
def _exif_of(source: str) -> tuple[bytes, int, int]:
    """Return the block of one source, and where in it the time and the milliseconds belong.

    Cached, because Pillow takes a good part of a millisecond to write one.
    """
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = source
    exif[ExifTags.Base.Software] = f"Edge {__version__}"
    taken = exif.get_ifd(ExifTags.IFD.Exif)
    taken[ExifTags.Base.DateTimeOriginal] = _WHEN.decode()
    taken[ExifTags.Base.SubsecTimeOriginal] = _MILLISECONDS.decode()
    taken[ExifTags.Base.OffsetTimeOriginal] = "+00:00"
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    # From the end: the source's name stands before, and may be anything.
    return block, block.rindex(_WHEN), block.rindex(_MILLISECONDS)
