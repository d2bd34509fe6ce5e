"""Detect: bring a frame to the engine's size, ask the engine, bring its answer back."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contracts import Engine
from edge.detections import Detections, EngineInfo, Sighting
from edge.errors import PartFailed
from edge.frame import Frame, Pixels


def detect(frame: Frame, engine: Engine) -> Sighting:
    """Find people in one frame.

    Returns:
        The frame with what the engine saw: boxes in the frame's pixels, scores at or above the
        engine's threshold only.

    Raises:
        Withheld: as raised by the engine; this frame cannot be judged.
        PartFailed: as raised by the engine, or its answer breaks the contract (count, type, sizes).

    """
    info = engine.info
    picture, used = prepare(frame.pixels, info)
    source = frame.source if frame.live else None
    try:
        answers = engine.infer(picture[np.newaxis], (source,))
    except ValueError as error:  # Detections refused at birth what the engine made of it
        raise PartFailed(
            f"engine {info.name} gave no valid answer: {error}", reason="engine_answer"
        ) from error
    seen = _checked(answers, info)
    seen = seen.keep(seen.scores >= info.threshold)
    return Sighting(frame=frame, detections=_mapped_back(seen, frame.size, used), engine=info)


def prepare(pixels: Pixels, info: EngineInfo) -> tuple[Pixels, tuple[int, int]]:
    """Return the picture at the engine's size, and the width and height that the frame takes of it.

    INTER_LINEAR although it drops pixels: a thirtieth of the time of INTER_AREA, and the models'
    thresholds were measured with it.
    """
    width, height = info.input_size
    if info.resize == "stretch":
        return cv2.resize(pixels, (width, height)).astype(np.uint8, copy=False), (width, height)
    if info.resize != "letterbox":
        raise PartFailed(f"engine {info.name} asks for resize {info.resize!r}", reason="engine")
    rows, columns = pixels.shape[:2]
    scale = min(width / columns, height / rows)
    used = (
        min(width, max(1, round(columns * scale))),
        min(height, max(1, round(rows * scale))),
    )
    picture = np.full((height, width, 3), info.pad, np.uint8)
    picture[: used[1], : used[0]] = cv2.resize(pixels, used)
    return picture, used


def _checked(answers: object, info: EngineInfo) -> Detections:
    """Return the one answer, or raise PartFailed where the engine breaks its contract."""
    if not isinstance(answers, list) or len(answers) != 1:
        many = len(answers) if isinstance(answers, list) else type(answers).__name__
        raise _broken(info, f"one picture needs a list of one answer: got {many}")
    seen = answers[0]
    if not isinstance(seen, Detections):
        raise _broken(info, f"an answer is Detections: got {type(seen).__name__}")
    width, height = info.input_size
    if seen.masks is not None and seen.masks.shape[1:] != (height, width):
        raise _broken(info, f"masks are {height} x {width}: got {seen.masks.shape[1:]}")
    if ((seen.labels < 0) | (seen.labels >= len(info.labels))).any():
        raise _broken(info, f"it has {len(info.labels)} labels: got {set(seen.labels.tolist())}")
    return seen


def _broken(info: EngineInfo, what: str) -> PartFailed:
    return PartFailed(
        f"engine {info.name} broke its contract: {what}",
        hint="reload the model (edge model check)",
        reason="engine_answer",
    )


def _mapped_back(seen: Detections, size: tuple[int, int], used: tuple[int, int]) -> Detections:
    """Return what was seen in the engine's pixels in the frame's pixels."""
    scale = np.array([size[0] / used[0], size[1] / used[1]] * 2, np.float32)
    masks = None if seen.masks is None else _masks_back(seen.masks, size, used)
    return replace(seen, boxes=seen.boxes * scale, masks=masks)


def _masks_back(
    masks: NDArray[np.bool_], size: tuple[int, int], used: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return masks at the frame's size, never smaller than they were.

    Each mask grows by one of its own pixels first (more where the frame is the smaller one), so
    that nothing is lost between the pixels that INTER_NEAREST takes.
    """
    reach = [2 * math.ceil(have / want) + 1 for have, want in zip(used, size, strict=True)]
    kernel = np.ones((reach[1], reach[0]), np.uint8)
    back = np.empty((len(masks), size[1], size[0]), np.bool_)
    for mask, out in zip(masks, back, strict=True):
        grown = cv2.dilate(mask[: used[1], : used[0]].astype(np.uint8), kernel)
        out[:] = cv2.resize(grown, size, interpolation=cv2.INTER_NEAREST)
    return back
