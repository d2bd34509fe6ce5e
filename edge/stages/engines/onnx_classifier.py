"""A classifier of the ImageNet kind on ONNX Runtime, on the CPU.

The model is taken as published: its input says layout, type and size, and the files beside it say
the rest (``classifier_files.py``). It answers or it raises: NaN, a wrong shape or scores that are
no probabilities are a failure, never "nothing to see".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edge.errors import PartFailed
from edge.frame import Pixels
from edge.stages.engines.classifier_files import Recipe, read_labels, read_recipe
from edge.stages.engines.onnx import Failures, failures_of, first_line, runtime, session_options

_TYPES = {
    "tensor(uint8)": np.uint8,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}
"""ONNX Runtime's names of the inputs that are taken."""
_STEP = 1 / 256
"""What one step of a quantised probability is worth (TFLite's softmax: scale 1/256, zero 0)."""
_SUM_ERROR = 0.02
"""How far a thousand half-precision probabilities may add up to something else than 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierInfo:
    """What a classifier says of itself."""

    #: the file's name without its ending
    model: str
    #: SHA-256 of the file, hex
    digest: str
    #: width and height
    input_size: tuple[int, int]
    #: ``centre`` or ``stretch``: how a picture is brought to that size
    crop: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Input:
    name: str
    dtype: type
    #: channels before rows (NCHW), or after columns (NHWC)
    channels_first: bool
    #: width and height; None where the model leaves it open
    size: tuple[int, int] | None


class OnnxClassifier:
    """Says how likely each class of one model is."""

    def __init__(self, session: Any, failures: Failures, path: Path, digest: str) -> None:
        self._session, self._failures, self._path = session, failures, path
        recipe = read_recipe(path.with_suffix(".toml"))
        self._input = _input_of(session, path)
        self._recipe = _complete(recipe, self._input, path)
        self._output = _output_of(session, self._recipe, path)
        self._background = 0
        size = self._recipe.size
        assert size is not None  # noqa: S101 - _complete sees to it
        self.info = ClassifierInfo(
            model=path.stem, digest=digest, input_size=size, crop=self._recipe.crop, labels=()
        )

    @classmethod
    def open(cls, path: Path) -> Self:
        """Load a model with what lies beside it, and run it once.

        Raises:
            PartFailed: a file is missing or faulty, or the model does not run, or is no classifier.

        """
        ort = runtime()
        failures = failures_of(ort)
        try:
            body = path.read_bytes()
            session = ort.InferenceSession(
                body, session_options(ort), providers=["CPUExecutionProvider"]
            )
        except FileNotFoundError as error:
            raise PartFailed(
                f"there is no model {path}",
                hint="put the ONNX file there with its labels beside it (NAME.labels.txt), "
                "or correct the handler's model",
                reason="no_model",
            ) from error
        except OSError as error:
            raise _unfit(path, f"cannot be read: {error.strerror}") from error
        except failures as error:
            raise _unfit(path, f"cannot be loaded: {first_line(error)}") from error
        classifier = cls(session, failures, path, hashlib.sha256(body).hexdigest())
        classifier._warm_up()
        return classifier

    def classify(self, picture: Pixels) -> NDArray[np.float32]:
        """Say how likely each class is.

        Args:
            picture: ``(h, w, 3)`` uint8 BGR, at ``info.input_size``.

        Returns:
            One probability for each of ``info.labels``.

        Raises:
            PartFailed: it failed, or its answer is senseless.

        Blocks; safe to call from several threads at once.

        """
        answer = self._run(picture)
        expected = len(self.info.labels) + self._background
        if answer.size != expected:
            raise self._nonsense(f"{answer.size} scores instead of {expected}")
        return answer[self._background :]

    def _warm_up(self) -> None:
        width, height = self.info.input_size
        answer = self._run(np.full((height, width, 3), 128, np.uint8))
        place = self._path.with_suffix(".labels.txt")
        labels, self._background = read_labels(place, answer.size)
        self.info = replace(self.info, labels=tuple(labels))

    def _run(self, picture: Pixels) -> NDArray[np.float32]:
        batch = self._prepared(picture)
        try:
            (answer,) = self._session.run([self._output], {self._input.name: batch})
        except self._failures as error:
            raise PartFailed(
                f"{self._path.name} failed on ONNX Runtime: {first_line(error)}",
                hint="is the file whole, and a classifier of pictures?",
                reason="engine_failed",
            ) from error
        return self._read(np.asarray(answer))

    def _prepared(self, picture: Pixels) -> NDArray[Any]:
        width, height = self.info.input_size
        if picture.shape != (height, width, 3) or picture.dtype != np.uint8:
            raise PartFailed(
                f"{self.info.model} takes ({height}, {width}, 3) uint8: "
                f"got {picture.shape} {picture.dtype}",
                reason="bad_batch",
            )
        recipe = self._recipe
        values: NDArray[Any] = picture[..., ::-1] if recipe.colour == "RGB" else picture
        if self._input.dtype is not np.uint8:
            mean, std = np.array(recipe.mean, np.float32), np.array(recipe.std, np.float32)
            values = ((values - mean) / std).astype(self._input.dtype, copy=False)
        if self._input.channels_first:
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values[np.newaxis])

    def _read(self, answer: NDArray[Any]) -> NDArray[np.float32]:
        """Return the probabilities of one answer, ``(k,)``."""
        if max(answer.shape, default=0) != answer.size or answer.size < 2:
            raise self._nonsense(f"expected one row of scores, got the shape {answer.shape}")
        row = answer.reshape(-1)
        if row.dtype == np.uint8 and self._recipe.scores == "probabilities":
            return row * np.float32(_STEP)
        if row.dtype.kind != "f":
            raise self._nonsense(f"expected {self._recipe.scores}, got {row.dtype}")
        scores = row.astype(np.float64)
        if not np.isfinite(scores).all():
            raise self._nonsense("scores must be finite: got NaN or infinity")
        if self._recipe.scores == "logits":
            scores = np.exp(scores - scores.max())
            scores /= scores.sum()
        elif scores.min() < -_SUM_ERROR or abs(scores.sum() - 1) > _SUM_ERROR:
            raise self._nonsense(
                f"its scores are no probabilities: {scores.min():.3g} to {scores.max():.3g}, "
                f"together {scores.sum():.3g}",
                hint=f'if it ends without softmax, write scores = "logits" in {self._toml}',
            )
        return scores.clip(0, 1).astype(np.float32)

    @property
    def _toml(self) -> str:
        return self._path.with_suffix(".toml").name

    def _nonsense(self, what: str, hint: str = "") -> PartFailed:
        return PartFailed(
            f"{self._path.name} gave a senseless answer: {what}",
            hint=hint or "is the file whole, and a classifier of pictures?",
            reason="engine_nonsense",
        )


def _input_of(session: Any, path: Path) -> _Input:
    inputs = session.get_inputs()
    shape = inputs[0].shape if len(inputs) == 1 else []
    dtype = _TYPES.get(inputs[0].type) if inputs else None
    if dtype is None or len(shape) != 4 or 3 not in (shape[1], shape[3]) or _is_batch(shape[0]):
        found = ", ".join(f"{entry.name} {entry.shape} {entry.type}" for entry in inputs)
        raise _unfit(
            path,
            "takes something else than one colour picture (N,3,H,W or N,H,W,3; uint8 or float): "
            f"{found or 'nothing'}",
        )
    first = shape[1] == 3
    rows, columns = shape[2:] if first else shape[1:3]
    whole = isinstance(rows, int) and isinstance(columns, int)
    return _Input(
        name=inputs[0].name,
        dtype=dtype,
        channels_first=first,
        size=(columns, rows) if whole else None,
    )


def _is_batch(pictures: int | str | None) -> bool:
    return isinstance(pictures, int) and pictures != 1


def _complete(recipe: Recipe, taken: _Input, path: Path) -> Recipe:
    """Return the recipe with what the model itself says.

    Raises:
        PartFailed: something is said nowhere, or twice and differently.

    """
    toml = path.with_suffix(".toml").name
    size = taken.size or recipe.size
    if size is None:
        raise _unfit(path, "takes any size", f"write size = [224, 224], or what it is, in {toml}")
    if recipe.size not in {None, size}:
        raise _unfit(path, f"takes {size[0]} x {size[1]}", f"take size out of {toml}")
    if taken.dtype is np.uint8:
        if recipe.mean or recipe.std:
            raise _unfit(path, "takes uint8 as it is", f"take mean and std out of {toml}")
        return replace(recipe, size=size, colour=recipe.colour or "RGB")
    if not (recipe.colour and recipe.mean and recipe.std):
        raise _unfit(
            path,
            "takes floating point, and nothing says colour order, mean and std",
            f'write them in {toml} beside it, for example colour = "RGB", '
            "mean = [123.675, 116.28, 103.53], std = [58.395, 57.12, 57.375]",
        )
    return replace(recipe, size=size)


def _output_of(session: Any, recipe: Recipe, path: Path) -> str:
    names = [entry.name for entry in session.get_outputs()]
    wanted = recipe.output or (names[0] if len(names) == 1 else "")
    if wanted in names:
        return wanted
    said = f"has no output {wanted!r}" if wanted else "has several outputs"
    hint = f'write output = "NAME" in {path.with_suffix(".toml").name}'
    raise _unfit(path, f"{said}: there are {', '.join(names)}", hint)


def _unfit(path: Path, what: str, hint: str = "") -> PartFailed:
    return PartFailed(
        f"the model {path.name} in {path.parent} {what}",
        hint=hint or "it must be an ONNX file of a classifier of pictures",
        reason="bad_model",
    )
