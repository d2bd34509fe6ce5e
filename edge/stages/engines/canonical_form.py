"""The canonical graph (``edge/catalog/canonical.py``), as an engine that runs it sees it.

It says everything about itself in its ``edge.*`` properties, and its answers are read in one way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.detections import Detections, EngineInfo
from edge.errors import PartFailed

CANONICAL_VERSION = "1"
"""Form of the graphs that engines run."""

FLOOR = 0.01
"""The graph calls scores below nothing."""

OUTPUTS = ("boxes", "scores", "labels")


def info_of(
    path: Path, facts: Mapping[str, str], digest: str, threshold: float | None, name: str
) -> EngineInfo:
    """Say who looks.

    Args:
        path: the graph's file, for messages.
        facts: its ``metadata_props``.
        digest: its SHA-256, hex.
        threshold: scores below are not people, 0.01 to 1; None for the model's own.
        name: of the engine.

    Raises:
        PartFailed: it is not a canonical graph of the known form.

    """
    version = facts.get("edge.canonical")
    if version != CANONICAL_VERSION:
        found = "not imported by Edge" if version is None else f"of form {version}"
        raise PartFailed(
            f"{path.name} is {found}, expected a canonical graph of form {CANONICAL_VERSION}",
            hint="edge model import FILE",
            reason="not_canonical",
        )
    try:
        own = float(facts["edge.threshold"])
        return EngineInfo(
            name=name,
            model=facts["edge.id"],
            digest=digest,
            input_size=(int(facts["edge.width"]), int(facts["edge.height"])),
            resize=facts["edge.resize"],
            pad=int(facts["edge.pad"]),
            threshold=max(FLOOR, own if threshold is None else threshold),
            labels=tuple(json.loads(facts["edge.labels"])),
        )
    except (KeyError, ValueError) as error:
        raise broken(path, f"describes itself wrongly: {error}") from error


def broken(path: Path, what: str) -> PartFailed:
    """Say what is wrong with a model's file."""
    return PartFailed(
        f"the model file {path.name} in {path.parent.name} {what}",
        hint="install it again: edge model pull, or edge model import FILE",
        reason="bad_model",
    )


def check_batch(info: EngineInfo, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> None:
    """Refuse pictures of another size, type or number than the engine takes.

    Raises:
        PartFailed: ``bad_batch``.

    """
    width, height = info.input_size
    if batch.shape != (len(sources), height, width, 3) or batch.dtype != np.uint8:
        raise PartFailed(
            f"{info.model} takes ({len(sources)}, {height}, {width}, 3) uint8: "
            f"got {batch.shape} {batch.dtype}",
            reason="bad_batch",
        )


def answers(
    info: EngineInfo,
    n: int,
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int32],
) -> list[Detections]:
    """Turn the outputs of a canonical graph into detections, one for each of ``n`` pictures.

    The arrays are copied: a library may use them again.

    Raises:
        PartFailed: wrong shapes or dtypes, or a value that is not finite, wherever it is: a
            comparison with NaN is false, and would read as "nobody".

    """
    try:
        return _read(info, n, boxes, scores, labels)
    except ValueError as error:
        raise PartFailed(
            f"{info.model} gave a senseless answer: {error}",
            hint=f"edge model check {info.model}",
            reason="engine_nonsense",
        ) from error


def _read(
    info: EngineInfo,
    n: int,
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int32],
) -> list[Detections]:
    k = scores.shape[1] if scores.ndim == 2 else -1
    shapes = (boxes.shape, scores.shape, labels.shape)
    if shapes != ((n, k, 4), (n, k), (n, k)):
        raise ValueError(f"expected boxes (n, k, 4), scores and labels (n, k): got {shapes}")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite: got NaN or infinity")
    if labels.size and not 0 <= labels.min() <= labels.max() < len(info.labels):
        raise ValueError(f"labels lie between 0 and {len(info.labels) - 1}")
    found = []
    for row in range(n):
        people = scores[row] >= info.threshold
        found.append(
            Detections(
                boxes=boxes[row][people],
                scores=scores[row][people],
                labels=labels[row][people],
            )
        )
    return found
