"""Whether a JPEG shows what the gate judged: looked up in the file, one average a block.

The average of each block is what its first coefficient says (DCT, T.81 A.3.3), so a decoder gives
it without any transform, at an eighth of the size. It is exact but for that coefficient's
rounding: what is stale, black, shifted, somebody else's, or of other colours is elsewhere by more.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.errors import PartFailed
from edge.frame import Pixels
from edge.privacy.jpeg_form import BLOCK, Form

_EIGHTH = 8
_SLACKS = (3.0, 6.0, 6.0)
"""Levels (0 to 255) by which a block's lightness and both colours may differ besides that rounding:
there are several ways to halve colours, and to round what is not whole."""
_MEAN = 1.5
"""The same, for the mean of all blocks."""
_STEPS = (16, 17)
"""The first entry of T.81's tables K.1 and K.2, which quality scales."""


def must_show(form: Form, pixels: Pixels, quality: int, *, first: int = 0, every: int = 1) -> None:
    """Compare a JPEG with the picture that it must show.

    Args:
        form: the JPEG.
        pixels: ``(h, w, 3)`` uint8 BGR, both sides multiples of 16.
        quality: it was asked for.
        first: the first row of blocks (16 pixels high) that is compared.
        every: compare each, each second, ...; only where the JPEG can be divided at rows.

    Raises:
        PartFailed: it shows something else, or cannot be decoded.

    """
    height, width = pixels.shape[:2]
    if every > 1 and form.rows:
        pixels = pixels.reshape(-1, BLOCK, width, 3)[first::every].reshape(-1, width, 3)
        jpeg = form.some(width, first, every)
    else:
        jpeg = form.whole(width, height)
    got, want = _averages(jpeg, pixels.shape[:2]), _expected(pixels)
    for found, asked, slack, step in zip(got, want, _SLACKS, _steps(quality), strict=True):
        apart = cv2.absdiff(found, asked)
        most, mean = slack + 2 * step / 16, _MEAN + step / 16
        if apart.max() > most or apart.mean() > mean:
            raise PartFailed(
                f"a JPEG shows another picture than was asked for: a block is "
                f"{apart.max():.0f} levels off where {most:.1f} may be",
                reason="jpeg",
            )


def _averages(jpeg: bytes, shape: tuple[int, ...]) -> list[NDArray[np.uint8]]:
    """Return lightness by blocks of 8 x 8 pixels, and both colours by 16 x 16."""
    height, width = shape[0] // _EIGHTH, shape[1] // _EIGHTH
    try:
        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
            picture.draft("YCbCr", (width, height))
            planes = np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise PartFailed(f"a JPEG cannot be decoded: {error}", reason="jpeg") from error
    if planes.shape != (height, width, 3):
        raise PartFailed(f"a JPEG decodes to {planes.shape}", reason="jpeg")
    return _halved(planes)


def _expected(pixels: Pixels) -> list[NDArray[np.uint8]]:
    height, width = pixels.shape[:2]
    size = (width // _EIGHTH, height // _EIGHTH)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    light, red, blue = _halved(np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2YCrCb), np.uint8))
    return [light, blue, red]


def _halved(planes: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    light, *colours = cv2.split(planes)
    size = (light.shape[1] // 2, light.shape[0] // 2)
    small = (cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in colours)
    return [np.asarray(plane, np.uint8) for plane in (light, *small)]


def _steps(quality: int) -> tuple[int, int, int]:
    """Return by how much a block's first coefficient is rounded (libjpeg, jcparam.c)."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    light, colour = (min(255, max(1, (50 + scale * step) // 100)) for step in _STEPS)
    return light, colour, colour
