"""JPEGs by somebody else than the processor: asked, checked, and given up at the first doubt.

What the encoder gets is redacted. But it works on memory that others used before, maybe for what a
camera saw, and nobody would see it if a copy or a kernel failed in silence: the last picture, or
whatever lay there, would come out under this picture's name. So every file is read and compared
with the pixels that the gate judged, and only what was understood and compared leaves.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable

import cv2
import numpy as np

from edge.contracts import JpegEncoder
from edge.errors import GpuLost, PartFailed
from edge.frame import Pixels
from edge.privacy.encode import opencv_jpeg
from edge.privacy.jpeg_check import must_show
from edge.privacy.jpeg_form import BLOCK, read

log = logging.getLogger(__name__)

EVERY = 4
"""Of a picture that is checked in part, each fourth row of blocks, from one of the first four on:
drawn each time, or cameras that take turns would each have the same rows looked at for ever.

Measured with a photograph of 1080p, quality 85, one core of an AMD EPYC (median, busy machine):
OpenCV encodes it in 5.3 ms. To compare all of it takes 6.4 ms, since its Huffman code has to be
read from end to end: a GPU would save nothing. Each second row takes 3.5 ms, each fourth 1.8, each
eighth 1.0; filling up the blocks and reading the file's form 0.4. So with each fourth 3 ms are left
to be saved, less what the way to the GPU costs, which nobody has measured.

With each fourth, whatever is wrong over 64 rows of pixels is found for certain and at once: a copy
that was not done, another picture, what a detector had in that memory. What is lower is found
within some pictures if it stays. Until then, and finer than a block, something of another picture
could come out; only of a redacted one, since the encoder's memory was zeroed when it got it.
"""
_WHOLE = 512
"""Pictures of fewer rows are compared whole: that is cheap, and people in them are small."""
_LARGEST = 65_488
"""The longest side that is a multiple of 16 and a JPEG may have."""
_SIZES = ((1920, 1080), (641, 479), (333, 1), (17, 33))
_QUALITIES = (85, 50, 95)


class CheckedJpeg:
    """Makes JPEGs with an encoder for as long as it can be shown what it makes.

    Args:
        encoder: what makes them; closed by whoever made it.
        lost: told once if the GPU is lost to this process, from whatever thread.

    """

    def __init__(
        self, encoder: JpegEncoder, *, lost: Callable[[GpuLost], None] = lambda _: None
    ) -> None:
        self._encoder = encoder
        self._lost = lost
        self._giving_up = threading.Lock()
        #: why the processor does it now; empty: the encoder does
        self.given_up = ""

    def __call__(self, pixels: Pixels, quality: int) -> bytes | None:
        """Return ``pixels``, ``(h, w, 3)`` uint8 BGR, as a JPEG; None: the processor has to."""
        if self.given_up or max(pixels.shape) > _LARGEST:
            return None
        every = EVERY if pixels.shape[0] >= _WHOLE else 1
        try:
            return self._made(pixels, quality, first=secrets.randbelow(every), every=every)
        except PartFailed as error:
            self._give_up(error)
            return None

    def show_itself(self) -> None:
        """Have pictures of known content encoded, and compare them with what OpenCV makes of them.

        Raises:
            PartFailed: what came back was worse, or wrong. GpuLost: as the encoder says.

        """
        for size in _SIZES:
            for number, quality in enumerate(_QUALITIES):
                pixels = _test_picture(*size, number)
                made = self._made(pixels, quality, first=0, every=1)
                mean, most = _errors(made, pixels)
                may_mean, may_most = _errors(opencv_jpeg(pixels, quality), pixels)
                if mean > 1.25 * may_mean + 0.5 or most > 1.5 * may_most + 16:
                    raise PartFailed(
                        f"it encodes {size[0]} x {size[1]} worse than OpenCV: off by {mean:.1f} "
                        f"levels in the mean and {most} at most, where OpenCV is off by "
                        f"{may_mean:.1f} and {may_most}",
                        reason="jpeg",
                    )

    def _made(self, pixels: Pixels, quality: int, *, first: int, every: int) -> bytes:
        """Encode and check, or raise PartFailed."""
        height, width = pixels.shape[:2]
        padded = _padded(pixels)
        jpeg = self._encoder.encode(padded, quality)
        form = read(jpeg, padded.shape[1], padded.shape[0])
        must_show(form, padded, quality, first=first, every=every)
        return form.whole(width, height)

    def _give_up(self, error: PartFailed) -> None:
        with self._giving_up:
            if self.given_up:
                return
            self.given_up = str(error)
        log.warning(
            "pictures are encoded by the processor from now on: %s failed: %s",
            self._encoder.name,
            error,
        )
        if isinstance(error, GpuLost):
            self._lost(error)


def _padded(pixels: Pixels) -> Pixels:
    """Return whole blocks: an encoder that fills them up itself might do so with anything.

    What is added repeats the edge, as libjpeg does it. It is in the file, and shown by no viewer.
    """
    height, width = pixels.shape[:2]
    more = -height % BLOCK, -width % BLOCK
    if not any(more):
        return np.ascontiguousarray(pixels)
    padded = cv2.copyMakeBorder(pixels, 0, more[0], 0, more[1], cv2.BORDER_REPLICATE)
    return padded.astype(np.uint8, copy=False)


def _test_picture(width: int, height: int, number: int) -> Pixels:
    """Return smooth colours, another picture for each number, with sharp bars of pure ones."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (5, 8, 3), np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for at, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))):
        left = (at + number) * width // 12
        picture[height // 3 : height // 2 + 1, left : left + width // 12 + 1] = colour
    return picture.astype(np.uint8, copy=False)


def _errors(jpeg: bytes, pixels: Pixels) -> tuple[float, int]:
    """Return the mean and the largest difference, in levels."""
    shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if shown is None or shown.shape != pixels.shape:
        raise PartFailed("a JPEG cannot be decoded in its size", reason="jpeg")
    apart = cv2.absdiff(shown, pixels)
    return float(apart.mean()), int(apart.max())
