"""What lies beside a classifier's ONNX file: its labels, and how a picture becomes its input.

``NAME.labels.txt`` beside ``NAME.onnx``: UTF-8, one label a line, in the order of the classes.

``NAME.toml``, where the file alone does not say enough. Every key may be left out, but a model that
takes floating point needs ``colour``, ``mean`` and ``std``: a wrong guess raises no error and sees
worse::

    colour = "BGR"               # order of the channels; "RGB" where the input is uint8
    mean = [104, 117, 123]       # of 0 to 255, in that order; taken away from each pixel …
    std = [1, 1, 1]              # … which is then divided by these
    crop = "centre"              # the largest square in the middle; "stretch": all of it
    size = [224, 224]            # width and height, where the model leaves them open
    scores = "probabilities"     # what it answers with; "logits": softmax is still to be done
    output = "prob"              # which one, where it has several outputs
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import PartFailed

_MOST_BYTES = 1 << 20
_BACKGROUND = {"background", "__background__", "dummy"}
"""What the first of 1001 lines is called, in the lists that are about."""
_IMAGENET = 1000
_LARGEST = 4096

Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a picture becomes the input of one model, and its output becomes scores."""

    #: ``RGB`` or ``BGR``; empty: not said
    colour: str = ""
    mean: Three | None = None
    std: Three | None = None
    #: ``centre`` or ``stretch``
    crop: str = "centre"
    #: width and height
    size: tuple[int, int] | None = None
    #: ``probabilities`` or ``logits``
    scores: str = "probabilities"
    #: name of the output; empty: it has one
    output: str = ""


def read_recipe(path: Path) -> Recipe:
    """Read the TOML file beside a model; without one, nothing is said.

    Raises:
        PartFailed: it cannot be read, is no TOML, or says something senseless.

    """
    try:
        said = tomllib.loads(_text(path))
    except FileNotFoundError:
        return Recipe()
    except tomllib.TOMLDecodeError as error:
        raise _faulty(path, f"is not TOML: {error}") from error
    values: dict[str, Any] = {}
    for name, value in said.items():
        if name not in _KEYS:
            raise _faulty(path, f"has {name!r}, which means nothing: known are {', '.join(_KEYS)}")
        try:
            values[name] = _KEYS[name](value)
        except (TypeError, ValueError) as error:
            raise _faulty(path, f"{name}: {error}, got {value!r}") from error
    return Recipe(**values)


def read_labels(path: Path, outputs: int) -> tuple[list[str], int]:
    """Read the labels of a model that answers with ``outputs`` scores.

    ImageNet's 1000 classes come as 1000 or as 1001 with a background before them, in models and in
    lists. The background is not counted, so that 162 is a beagle whichever it is.

    Returns:
        The labels, and how many of the first scores have none (1 for a background, else 0).

    Raises:
        PartFailed: they cannot be read, or are not as many as the model has classes.

    """
    try:
        labels = [line.strip() for line in _text(path).splitlines()]
    except FileNotFoundError as error:
        raise PartFailed(
            f"the labels of the model are missing: {path.name} in {path.parent}",
            hint="put them there: UTF-8, one label a line, in the order of the model's classes",
            reason="no_labels",
        ) from error
    while labels and not labels[-1]:
        labels.pop()
    lines = len(labels)
    if labels and labels[0].lower() in _BACKGROUND and outputs in {lines, lines - 1}:
        del labels[0]
    before = outputs - len(labels)
    if before == 0 or (before == 1 and (lines == outputs or len(labels) == _IMAGENET)):
        return labels, before
    raise _faulty(path, f"has {lines} lines, and the model has {outputs} classes")


def _text(path: Path) -> str:
    """Read a small text file.

    Raises:
        FileNotFoundError: it is not there.
        PartFailed: it cannot be read, is too large, or is not UTF-8.

    """
    try:
        with path.open("rb") as file:
            body = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _faulty(path, f"cannot be read: {error.strerror}") from error
    if len(body) > _MOST_BYTES:
        raise _faulty(path, f"is larger than {_MOST_BYTES} bytes")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _faulty(path, "is not UTF-8") from error


def _faulty(path: Path, what: str) -> PartFailed:
    return PartFailed(
        f"{path.name} beside the model, in {path.parent}, {what}",
        hint="correct the file; it is read again at the next try",
        reason="bad_model",
    )


def _one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"expected {' or '.join(words)}")
        return str(value)

    return read


def _three(value: Any) -> Three:
    numbers = _numbers(value, 3, "three numbers, one a colour")
    return (numbers[0], numbers[1], numbers[2])


def _divisors(value: Any) -> Three:
    three = _three(value)
    if 0 in three:
        raise ValueError("expected three numbers other than 0")
    return three


def _size(value: Any) -> tuple[int, int]:
    width, height = _numbers(value, 2, "[width, height]")
    if not all(1 <= side <= _LARGEST and side == int(side) for side in (width, height)):
        raise ValueError(f"expected whole numbers from 1 to {_LARGEST}")
    return int(width), int(height)


def _numbers(value: Any, many: int, expected: str) -> Sequence[float]:
    kinds = {type(number) for number in value} if isinstance(value, list) else {None}
    if not kinds <= {int, float} or len(value) != many or not all(map(math.isfinite, value)):
        raise ValueError(f"expected {expected}")
    return [float(number) for number in value]


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a name")
    return value


_KEYS: dict[str, Callable[[Any], Any]] = {
    "colour": _one_of("RGB", "BGR"),
    "mean": _three,
    "std": _divisors,
    "crop": _one_of("centre", "stretch"),
    "size": _size,
    "scores": _one_of("probabilities", "logits"),
    "output": _name,
}
