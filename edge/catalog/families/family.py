"""What a family is: how a network's own outputs are told apart and turned into boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.catalog.glue import Glue

Shape = tuple[int | None, ...]
"""A value's axes; None where an axis is open. The first is the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What a family may know about a network: its input's size and its outputs, in order."""

    #: width and height in pixels
    size: tuple[int, int]
    outputs: Mapping[str, Shape]

    @property
    def shapes(self) -> list[Shape]:
        return list(self.outputs.values())

    def cells(self, strides: tuple[int, ...]) -> int:
        """Count the cells of the grids that these strides lay over the input."""
        return len(grid(self.size, strides)[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Values (names in the graph) that a family's decoder made, before selection and NMS."""

    #: ``(n, a, 4)`` float32 x1 y1 x2 y2 in input pixels
    boxes: str
    #: ``(n, a, l)`` float32, 0 to 1, one column a wanted label
    scores: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One way in which detectors write down what they saw."""

    name: str
    #: what its outputs look like, for people
    looks: str
    #: number of classes in the scores; None where these outputs are not of this family
    classes: Callable[[Network], int | None]
    #: write the decoder: network, glue, names of the outputs (in order), wanted classes
    decode: Callable[[Network, Glue, list[str], list[int]], Found]
    #: ``[input]`` of its usual export, for a file that no manifest knows; empty: there is none
    usual: Mapping[str, Any] = field(default_factory=dict)
    #: index of a person in the usual export, by number of classes
    person: Mapping[int, int] = field(default_factory=lambda: {1: 0, 80: 0})
    threshold: float = 0.3
    nms_iou: float = 0.5


def grid(
    size: tuple[int, int], strides: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lay grids over the input, row by row, stride after stride.

    Returns:
        ``(a, 2)`` float32 column and row of every cell, and ``(a, 1)`` float32 its stride in
        pixels. A level has ``ceil(size / stride)`` cells a side.

    """
    cells, widths = [], []
    for stride in strides:
        across, down = (-(-side // stride) for side in size)
        rows, columns = np.mgrid[:down, :across]
        cells.append(np.stack([columns.ravel(), rows.ravel()], 1))
        widths.append(np.full((across * down, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(widths).astype(np.float32)


def pick(glue: Glue, scores: str, wanted: list[int], axis: int = 2) -> str:
    """Take the wanted classes out of the scores."""
    if wanted == list(range(wanted[0], wanted[-1] + 1)):
        return glue.columns(scores, wanted[0], wanted[-1] + 1, axis)
    return glue.op("Gather", scores, glue.ints(*wanted), axis=axis)
