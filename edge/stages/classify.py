"""Classify: say what a picture shows, with a classification model on this box.

The reply's ``data``::

    labels           the likeliest first: score 0 to 1, index (the class, a background not counted),
                     label
    classification   the same as "score:index:label" each, as Triton writes it
    model            name (of the file) and digest (its SHA-256)

``annotate`` answers with the same ``labels``, so that a trigger may be split between the two:
with ``sees = "redacted"`` this one takes the same events, too, and looks at the redacted picture.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.config.handlers import ClassifyConfig
from edge.contracts import Picture
from edge.errors import PartFailed, Rejected
from edge.event import (
    FRAME_TAKEN,
    PICTURE_ARRIVED,
    PICTURE_CLASSIFIED,
    PICTURE_REDACTED,
    Event,
    WireEvent,
)
from edge.frame import Encoded, Frame, Pixels
from edge.ops.metrics import Metrics
from edge.stages.decode import decode
from edge.stages.engines.onnx_classifier import ClassifierInfo, OnnxClassifier
from edge.stages.pool import PicturePool


class Classify:
    """The handler that names what a picture shows. Keeps ``contracts.Handler``.

    The model is loaded with the first picture, and anew after each failure of its own: files that
    were missing or faulty are seen once they are there.

    Args:
        config: ``[handlers.NAME]`` with ``kind = "classify"``.
        pool: where the work is done.
        metrics: where times go.
        max_pixels: larger picture files are refused before they are decoded.
        redacted: returns the redacted picture of an event; for ``sees = "redacted"``.

    """

    where = "edge:classify"

    def __init__(
        self,
        config: ClassifyConfig,
        pool: PicturePool,
        metrics: Metrics,
        *,
        max_pixels: int,
        redacted: Callable[[WireEvent], Awaitable[bytes]] | None = None,
    ) -> None:
        self.sees_pictures = config.sees == "original"
        self._redacted = None if self.sees_pictures else redacted
        self._config = config
        self._pool = pool
        self._metrics = metrics
        self._max_pixels = max_pixels
        self._model: OnnxClassifier | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> ClassifierInfo:
        """Load the model, if it is not; may be left out, since the first picture does the same.

        Raises:
            PartFailed: it is missing or faulty; ``hint`` says what to do. The next call tries anew.

        """
        return (await self._loaded()).info

    async def __call__(self, event: Event[Any]) -> WireEvent:
        """Name what one picture shows.

        Raises:
            Rejected: it is no picture, or none that can be decoded.
            PartFailed: the model is missing, failed, answered nonsense or took too long.
            EdgeError: as ``redacted`` raises it.

        """
        picture: object = event.data
        if self._redacted is not None and event.type == PICTURE_REDACTED:
            picture = _encoded(event, await self._redacted(event))
        if not isinstance(picture, Frame | Encoded):
            raise Rejected(
                f"classify looks at pictures: this event carries {type(picture).__name__}",
                hint=f"give the trigger a filter on {self._types()}",
                reason="no_picture",
            )
        model = await self._loaded()
        try:
            labels = await self._pool.run(lambda: self._look(picture, model))
        except PartFailed:
            if self._model is model:
                self._model = None
            raise
        return _reply(event, model.info, labels)

    async def close(self) -> None:
        self._model = None

    def _types(self) -> str:
        return " and ".join(
            (FRAME_TAKEN, PICTURE_ARRIVED) if self.sees_pictures else (PICTURE_REDACTED,)
        )

    async def _loaded(self) -> OnnxClassifier:
        async with self._opening:
            if self._model is None:
                path = Path(self._config.model)
                self._model = await self._pool.run(lambda: OnnxClassifier.open(path))
            return self._model

    # -- in a worker of the pool

    def _look(self, picture: Picture, model: OnnxClassifier) -> list[dict[str, Any]]:
        if isinstance(picture, Encoded):
            picture = decode(picture, max_pixels=self._max_pixels)
        started = time.perf_counter()
        scores = model.classify(fitted(picture.pixels, model.info))
        self._metrics.stage_seconds.labels("classify").observe(time.perf_counter() - started)
        best = np.argsort(-scores, kind="stable")[: self._config.top].tolist()
        # A quantised model gives most classes no score at all: those would come by the alphabet.
        return [
            {"score": round(float(scores[n]), 6), "index": n, "label": model.info.labels[n]}
            for n in best
            if scores[n] > 0 and scores[n] >= self._config.least
        ]


def fitted(pixels: Pixels, info: ClassifierInfo) -> Pixels:
    """Bring a picture to a classifier's size.

    Args:
        pixels: ``(h, w, 3)`` uint8.
        info: size, and whether the square in the middle is taken or the whole is stretched.

    """
    if info.crop == "centre":
        height, width = pixels.shape[:2]
        wanted = info.input_size[0] / info.input_size[1]
        across, down = min(width, round(height * wanted)), min(height, round(width / wanted))
        left, top = (width - max(1, across)) // 2, (height - max(1, down)) // 2
        pixels = pixels[top : top + max(1, down), left : left + max(1, across)]
    # INTER_AREA: what is to be named may be small, and a classifier looks at a few pixels only
    small = cv2.resize(pixels, info.input_size, interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8, copy=False)


def _encoded(event: WireEvent, body: bytes) -> Encoded:
    """Return the picture of an event, to be decoded; its capture time is of no consequence here."""
    named = event.subject or event.id
    now = datetime.now(UTC)
    return Encoded(body=body, name=named, taken_at=now, source=event.source, subject=named)


def _reply(event: Event[Any], model: ClassifierInfo, labels: list[dict[str, Any]]) -> WireEvent:
    data = {
        "labels": labels,
        "classification": [
            f"{entry['score']:.6f}:{entry['index']}:{entry['label']}" for entry in labels
        ],
        "model": {"name": model.model, "digest": model.digest},
    }
    return Event(
        id=f"{event.id}.{model.model}-{model.digest[:8]}",
        source=event.source,
        type=PICTURE_CLASSIFIED,
        subject=event.subject,
        time=event.time,
        datacontenttype="application/json",
        extensions=event.extensions,
        data=json.dumps(data, ensure_ascii=False).encode(),
    )
