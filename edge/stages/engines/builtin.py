"""Safe mode: with no trained model, everything that is not proven to be still counts as people.

The law: a patch of the picture is shown only when nothing has moved in it for ``still_for``
seconds. Everything else is covered, together with what may belong to the same person.

How movement is told from noise: each patch is compared with its own look at its last movement, so
that what creeps, sways or dawns adds up until it counts; nothing is averaged into a background.
The limit follows the noise of the source, between two bounds. A change in much of the picture at
once (lights, exposure, a knocked camera), a gap in time, or a source that is new means that
everything moved. A noisy or badly compressed source is covered more, up to always all of it.

What it cannot do: somebody who stays motionless for all of ``still_for`` (asleep, or so far away
that swaying and breathing change no pixel) looks like furniture, and is shown. So does somebody
who differs from what is behind him by less than the noise (in the dark, in fog). Therefore safe
mode says what it is on the page and in every receipt, and a still picture is never judged.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.detections import Detections, EngineInfo
from edge.errors import PartFailed, Withheld

Mat = cv2.typing.MatLike

_WIDTH, _HEIGHT = 320, 180
_PATCH = 4
_ROWS, _COLUMNS = _HEIGHT // _PATCH, _WIDTH // _PATCH
_GAP = 5.0
"""Seconds without news of a source after which everything in it is unproven again."""
_FORGET = 60.0
_SOURCES_MAX = 256
_LEAST, _MOST = 6.0, 18.0
"""The threshold of a change in grey levels follows the noise between these two."""
_EVERYTHING = 0.35
"""Where this share of the patches changes at once, the light changed, or the camera moved."""

_SMALL, _MARGIN = (24.0, 48.0), 4.0
"""The least region that is covered, and what is added on each side, in pixels of 320 by 180."""

_BAND = 8
"""Patches: about the width of a person near by; wider regions are cut into bands like that."""

_AROUND = cv2.getStructuringElement(cv2.MORPH_RECT, (5, 7))
_TOGETHER = cv2.getStructuringElement(cv2.MORPH_RECT, (5, 9))


class BuiltinEngine:
    """Judges by movement alone. Keeps the contract ``Engine``; needs to know what came before.

    Args:
        still_for: seconds without movement after which a patch is shown.
        clock: monotonic seconds; a parameter for tests.

    """

    def __init__(self, still_for: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.info = EngineInfo(
            name="builtin",
            model="motion",
            digest="",
            input_size=(_WIDTH, _HEIGHT),
            resize="stretch",
            pad=0,
            threshold=0.0,
            labels=("unjudged",),
            safe_mode=True,
        )
        self._still_for = still_for
        self._clock = clock
        self._views: OrderedDict[str, _View] = OrderedDict()
        self._lock = threading.Lock()

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        """Return what is not proven to be still: boxes with score 1, never none.

        Raises:
            Withheld: ``safe_mode_still_picture`` for a picture that stands alone,
                ``safe_mode_nothing_moves`` where nothing is left to cover: an empty answer from a
                part that knows no people would look like "nobody seen". Raised after all rows
                were looked at, so that no source misses a movement.
            PartFailed: a batch of another size than ``info.input_size``.

        """
        if batch.shape != (len(sources), _HEIGHT, _WIDTH, 3) or batch.dtype != np.uint8:
            raise PartFailed(
                f"safe mode takes ({len(sources)}, {_HEIGHT}, {_WIDTH}, 3) uint8: "
                f"got {batch.shape} {batch.dtype}"
            )
        now = self._clock()
        answers: list[Detections] = []
        refusal: Withheld | None = None
        for pixels, source in zip(batch, sources, strict=True):
            try:
                answers.append(self._judge(pixels, source, now))
            except Withheld as error:
                refusal = refusal or error
        if refusal:
            raise refusal
        return answers

    def close(self) -> None:
        with self._lock:
            self._views.clear()

    def _judge(self, pixels: NDArray[np.uint8], source: str | None, now: float) -> Detections:
        if source is None:
            raise Withheld(
                "safe mode judges by movement and cannot judge a still picture",
                hint="install a model: edge model pull",
                reason="safe_mode_still_picture",
            )
        moving = self._view(source, now).look(pixels, now, self._still_for)
        if not moving.any():
            raise Withheld(
                f"safe mode: nothing moved in {source} for {self._still_for:g} s",
                hint="install a model: edge model pull",
                reason="safe_mode_nothing_moves",
            )
        boxes = _boxes(moving)
        return Detections(
            boxes=boxes,
            scores=np.ones(len(boxes), np.float32),
            labels=np.zeros(len(boxes), np.int32),
        )

    def _view(self, source: str, now: float) -> _View:
        """Return what is known of a source; forget those that have been silent for long."""
        with self._lock:
            view = self._views.pop(source, None) or _View()
            self._views[source] = view
            view.asked = now
            oldest = next(iter(self._views.items()))
            while len(self._views) > _SOURCES_MAX or oldest[1].asked < now - _FORGET:
                del self._views[oldest[0]]
                oldest = next(iter(self._views.items()))
            return view


class _View:
    """What one source showed: for each patch how it looked, and when, at its last movement."""

    def __init__(self) -> None:
        self.asked = 0.0
        self._lock = threading.Lock()
        self._newest: NDArray[np.uint8] | None = None
        self._reference = np.zeros((_HEIGHT, _WIDTH, 3), np.uint8)
        self._moved_at = np.zeros((_ROWS, _COLUMNS))
        self._news_at = -np.inf
        self._noise = 0.0

    def look(self, pixels: NDArray[np.uint8], now: float, still_for: float) -> NDArray[np.bool_]:
        """Take in a frame; return ``(rows, columns)`` bool, true where a patch is not yet still.

        A patch is compared with its look at its last movement, not with the frame before, so
        that what creeps adds up until it counts. A frame equal to the last one is no news: a
        camera that hangs repeats itself, and proves nothing.
        """
        soft = np.asarray(cv2.blur(pixels, (3, 3)), np.uint8)
        with self._lock:
            first = self._newest is None
            news = self._newest is None or not np.array_equal(soft, self._newest)
            if news:
                unproven = first or now - self._news_at > _GAP
                moved = self._moved(soft, everything=unproven)
                cv2.copyTo(soft, _pixelwise(moved), self._reference)
                self._moved_at[moved] = now
                self._newest, self._news_at = soft, now
            if now - self._news_at > _GAP:
                self._moved_at[:] = now
            return (now - self._moved_at < still_for).astype(np.bool_)

    def _moved(self, soft: NDArray[np.uint8], *, everything: bool) -> NDArray[np.bool_]:
        """Tell which patches moved, with those around them that may belong to the same person."""
        if everything or self._newest is None:
            return np.ones((_ROWS, _COLUMNS), np.bool_)
        limit = self._limit(soft, self._newest)
        moved = (_worst(cv2.absdiff(soft, self._reference)) > limit).astype(np.uint8)
        if moved.mean() > _EVERYTHING:
            return np.ones((_ROWS, _COLUMNS), np.bool_)
        return _whole(cv2.dilate(moved, _AROUND))

    def _limit(self, soft: NDArray[np.uint8], before: NDArray[np.uint8]) -> float:
        """Return the change in grey levels above which a pixel moved, by the noise of this source.

        The noise is what three quarters of the patches stay below from frame to frame; its peaks
        (an encoder's key frames) are remembered for some seconds. However noisy, the limit stays
        below ``_MOST``, and what it lets pass is still there when it comes down: patches are
        compared with their own past, not with the frame before.
        """
        step = np.quantile(_worst(cv2.absdiff(soft, before)), 0.75)
        self._noise = max(float(step), 0.99 * self._noise)
        return min(_MOST, max(_LEAST, 2 + 1.9 * self._noise))


def _worst(change: Mat) -> NDArray[np.uint8]:
    """Return the largest change in each patch, ``(rows, columns)`` uint8."""
    most = cv2.dilate(change, np.ones((_PATCH, _PATCH), np.uint8), anchor=(0, 0))
    return np.asarray(most[::_PATCH, ::_PATCH].max(axis=2), np.uint8)


def _pixelwise(patches: NDArray[np.bool_]) -> Mat:
    return cv2.resize(
        patches.astype(np.uint8), (_WIDTH, _HEIGHT), interpolation=cv2.INTER_NEAREST_EXACT
    )


def _whole(patches: Mat) -> NDArray[np.bool_]:
    """Close the gaps between parts that move, and fill what they enclose: a torso between limbs."""
    padded = cv2.copyMakeBorder(patches, 8, 8, 8, 8, cv2.BORDER_CONSTANT, value=0)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _TOGETHER)
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(closed, outlines, -1, 1, cv2.FILLED)
    return filled[8:-8, 8:-8].astype(np.bool_)


def _boxes(moving: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the boxes ``(n, 4)`` of connected regions, grown to the size of a person.

    Part of a person is often all that moves. A region becomes at least as large as a small person,
    a wide one as tall as somebody that wide, and all get a margin. A region wider than a person
    is cut into bands, each as tall as the region is there, so that a long way walked does not
    cover all of the picture.
    """
    count, marks = cv2.connectedComponents(moving.astype(np.uint8))
    boxes = [box for i in range(1, count) for box in _bands(marks == i)]
    inside = np.clip(np.array(boxes), 0, (_WIDTH, _HEIGHT, _WIDTH, _HEIGHT))
    return np.asarray(inside, np.float32)


def _bands(region: NDArray[np.bool_]) -> Iterator[tuple[float, float, float, float]]:
    columns = np.flatnonzero(region.any(axis=0))
    first, last = int(columns[0]), int(columns[-1]) + 1
    parts = max(1, round((last - first) / _BAND))
    edges = np.linspace(first, last, parts + 1).round().astype(int).tolist()
    for left, right in pairwise(edges):
        rows = np.flatnonzero(region[:, left:right].any(axis=1))
        top, bottom = float(rows[0]) * _PATCH, float(rows[-1] + 1) * _PATCH
        wide = float(right - left) * _PATCH
        tall = max(_SMALL[1], min(2.2 * wide, 0.5 * _HEIGHT))
        grow_x = max(0.0, (_SMALL[0] - wide) / 2) + _MARGIN
        grow_y = max(0.0, (tall - (bottom - top)) / 2) + _MARGIN
        x0, x1 = left * _PATCH - grow_x, right * _PATCH + grow_x
        yield x0, top - grow_y, x1, bottom + grow_y
