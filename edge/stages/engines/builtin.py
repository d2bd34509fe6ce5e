"""Safe mode: with no trained model, everything that is not proven to be still counts as people.

The law: a patch of the picture is shown only when nothing has moved in it for ``still_for``
seconds. Everything else is covered.

What it cannot do: somebody who stays motionless for all of ``still_for`` (asleep, a figure so far
away that breathing and swaying move no pixel) looks like furniture, and is shown. Therefore safe
mode says what it is on the page and in every receipt, and a still picture is never judged.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.detections import Detections, EngineInfo
from edge.errors import PartFailed, Withheld

_WIDTH, _HEIGHT = 320, 180
_PATCH = 4
_ROWS, _COLUMNS = _HEIGHT // _PATCH, _WIDTH // _PATCH
_GAP = 5.0
"""Seconds without news of a source after which everything in it is unproven again."""
_FORGET = 60.0
_SOURCES_MAX = 256
_LEAST, _MOST = 5.0, 18.0
"""The threshold of a change in grey levels follows the noise between these two."""
_EVERYTHING = 0.35
"""Where this share of the patches changes at once, the light changed, or the camera moved."""

_AROUND = cv2.getStructuringElement(cv2.MORPH_RECT, (7, 9))
_TOGETHER = cv2.getStructuringElement(cv2.MORPH_RECT, (9, 15))


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
        if batch.shape[1:] != (_HEIGHT, _WIDTH, 3) or batch.dtype != np.uint8:
            raise PartFailed(
                f"safe mode takes (n, {_HEIGHT}, {_WIDTH}, 3) uint8: "
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
        self._noise = _MOST

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
                self._reference = np.where(_pixelwise(moved), soft, self._reference)
                self._moved_at[moved] = now
                self._newest, self._news_at = soft, now
            if now - self._news_at > _GAP:
                self._moved_at[:] = now
            return (now - self._moved_at < still_for).astype(np.bool_)

    def _moved(self, soft: NDArray[np.uint8], *, everything: bool) -> NDArray[np.bool_]:
        """Tell which patches moved, with those around them that may belong to the same person."""
        if everything or self._newest is None:
            return np.ones((_ROWS, _COLUMNS), np.bool_)
        step = float(np.median(cv2.absdiff(soft, self._newest))) + 0.5
        self._noise += 0.1 * (step - self._noise)
        limit = min(_MOST, max(_LEAST, 7 * self._noise))
        change = cv2.absdiff(soft, self._reference).max(axis=2)
        worst = change.reshape(_ROWS, _PATCH, _COLUMNS, _PATCH).max(axis=(1, 3))
        moved = (worst > limit).astype(np.uint8)
        if moved.mean() > _EVERYTHING:
            return np.ones((_ROWS, _COLUMNS), np.bool_)
        grown = cv2.dilate(moved, _AROUND)
        whole = cv2.morphologyEx(grown, cv2.MORPH_CLOSE, _TOGETHER, borderValue=0)
        return whole.astype(np.bool_)


def _pixelwise(patches: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.repeat(np.repeat(patches, _PATCH, axis=0), _PATCH, axis=1)[:, :, None]


def _boxes(moving: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the boxes ``(n, 4)`` of connected regions, grown to the size of a person."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(moving.astype(np.uint8))
    boxes = stats[1:count, :4].astype(np.float32) * _PATCH
    boxes[:, 2:] += boxes[:, :2]
    return np.clip(boxes, 0, [_WIDTH, _HEIGHT, _WIDTH, _HEIGHT]).astype(np.float32)
