"""Detections: what an engine saw in one picture, as parallel arrays. Sighting: with its frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.frame import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """What was seen in one picture. None seen is ``Detections.none()``; a failure is never that.

    Shapes are checked at birth, so that a broken engine cannot be mistaken for an empty street.

    Raises:
        ValueError: wrong shapes or dtypes, lengths that differ, a value that is not finite, a box
            whose corners are the wrong way round.

    """

    #: ``(n, 4)`` float32, x1 y1 x2 y2 in pixels of the picture; may reach outside of it
    boxes: NDArray[np.float32]
    #: ``(n,)`` float32, 0 to 1
    scores: NDArray[np.float32]
    #: ``(n,)``: index into the engine's ``labels``
    labels: NDArray[np.int32]
    #: ``(n, h, w)`` bool at the picture's size, or None where the engine gives boxes only
    masks: NDArray[np.bool_] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4) or self.boxes.dtype != np.float32:
            raise ValueError(f"boxes are (n, 4) float32: got {self.boxes.shape} {self.boxes.dtype}")
        if self.scores.shape != (n,) or self.scores.dtype != np.float32:
            raise ValueError(
                f"scores are ({n},) float32: got {self.scores.shape} {self.scores.dtype}"
            )
        if self.labels.shape != (n,) or self.labels.dtype != np.int32:
            raise ValueError(
                f"labels are ({n},) int32: got {self.labels.shape} {self.labels.dtype}"
            )
        if not (np.isfinite(self.boxes).all() and np.isfinite(self.scores).all()):
            raise ValueError("boxes and scores must be finite: got NaN or infinity")
        if n and (self.scores.min() < 0 or self.scores.max() > 1):
            raise ValueError("scores lie between 0 and 1")
        if (self.boxes[:, 2:] < self.boxes[:, :2]).any():
            raise ValueError("a box is x1 y1 x2 y2 with x1 <= x2 and y1 <= y2")
        if self.masks is not None and (
            self.masks.ndim != 3 or len(self.masks) != n or self.masks.dtype != np.bool_
        ):
            raise ValueError(
                f"masks are ({n}, h, w) bool: got {self.masks.shape} {self.masks.dtype}"
            )

    @classmethod
    def none(cls) -> Detections:
        """An engine looked and saw nobody."""
        return cls(
            boxes=np.zeros((0, 4), np.float32),
            scores=np.zeros(0, np.float32),
            labels=np.zeros(0, np.int32),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def keep(self, chosen: NDArray[np.bool_]) -> Detections:
        """Return those for which ``chosen`` (``(n,)`` bool) is true."""
        return Detections(
            boxes=self.boxes[chosen],
            scores=self.scores[chosen],
            labels=self.labels[chosen],
            masks=None if self.masks is None else self.masks[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A frame and what was seen in that very frame. Still raw."""

    frame: Frame
    detections: Detections
    #: the engine that looked
    engine: EngineInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """Who looks: facts about a loaded engine, safe to show anywhere."""

    #: kind of engine: ``onnx``, ``builtin``, ``tensorrt``
    name: str
    #: id of the model, ``motion`` for the built-in one
    model: str
    #: SHA-256 of the graph that runs (hex), empty for the built-in one
    digest: str
    #: width and height of the pictures that ``infer`` takes
    input_size: tuple[int, int]
    #: how a picture is brought to that size: ``stretch``, or ``letterbox`` (top-left, padded)
    resize: str
    #: value that a letterbox is padded with, 0 to 255
    pad: int
    #: scores below are not people; the operator may override it
    threshold: float
    #: names of the labels
    labels: tuple[str, ...]
    #: no trained model: everything that moves is covered, what cannot be judged is withheld
    safe_mode: bool = False
