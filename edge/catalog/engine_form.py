"""The engine form: the canonical graph for engines that need every shape beforehand (TensorRT).

::

    image   [n, h, w, 3] uint8 BGR at the model's input size
    boxes   [n, k, 4] float32 x1 y1 x2 y2 in input pixels, strongest first
    scores  [n, k] float32, falling; all of a picture NaN where any of its scores is not finite
    labels  [n, k] int32, index into the wanted labels

It is the canonical graph (``canonical.py``) up to the candidates, and ends there: what NMS leaves
depends on the picture, and a graph whose shapes do cannot be recorded. ``suppress`` of the engines
does the NMS on at most 300 boxes. Differences, all of them for TensorRT:

- ``k`` is a number, ``min(300, cells)``; ``n`` is 1 or open.
- The picture becomes float32 first: TensorRT takes uint8 at the input only.
- What is not finite is found by a comparison. TensorRT may take ``0 * x`` for 0 (its
  ``STRICT_NANS`` flag, which 10.3 lacks, forbids it), and a broken network would look like an
  empty street.

``edge.form`` is ``engine`` and ``edge.k`` is k; the other properties are those of the canonical
graph.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from edge.catalog.canonical import Candidates, Draft, best_of, drawn, finished, graph_of, strongest
from edge.catalog.clean import infer, opset_of, shape_of
from edge.catalog.glue import Glue
from edge.catalog.installed import Installed
from edge.catalog.manifest import Input, Manifest
from edge.catalog.recognise import load
from edge.errors import PartFailed

FORM_VERSION = 1
"""Raised whenever the engine form changes; part of a plan's key."""

MOST = 300
"""Candidates that a picture may have before NMS; the strongest win."""

_HUGE = 1e30
"""A sum of scores beyond this is none."""


def engine_form(model: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
    """Build the engine form of a network as published.

    Raises:
        PartFailed: the network does not fit its manifest, or ``no_engine_form``: its shapes
            depend on the picture.

    """
    draft = drawn(model, manifest, cast_first=True)
    _check_static(draft, manifest)
    k = min(MOST, _cells(draft, manifest.input))
    glue = draft.glue
    flat, kind = best_of(draft.found.scores, glue)
    _doubt(glue, strongest(draft, flat, kind, glue.ints(k)))
    more = {"form": "engine", "form_version": str(FORM_VERSION), "k": str(k)}
    return finished(draft, manifest, k=k, more=more)


def engine_form_of(installed: Installed) -> bytes:
    """Build the engine form of an installed model: the same bytes every time.

    Takes about a second, and imports what an import of a model needs.

    Raises:
        PartFailed: ``no_engine_form``, or ``model_damaged``: the file as published is not what was
            installed.

    """
    path = Path(installed.path).with_name("source.onnx")
    try:
        body = path.read_bytes()
    except OSError as error:
        raise _damaged(installed, f"source.onnx cannot be read: {error.strerror}") from error
    if hashlib.sha256(body).hexdigest() != installed.manifest.sha256:
        raise _damaged(installed, "source.onnx is not what was installed")
    model = engine_form(load(body, installed.id), installed.manifest)
    form: bytes = model.SerializeToString(deterministic=True)
    return form


def _check_static(draft: Draft, manifest: Manifest) -> None:
    data_dependent = {"NonMaxSuppression", "NonZero", "Loop", "If", "Unique", "Compress"}
    kinds = {node.op_type for node in draft.network.graph.node} & data_dependent
    if kinds:
        raise PartFailed(
            f"{manifest.id} has no form for a GPU engine: what it gives back depends on the "
            f"picture ({', '.join(sorted(kinds))})",
            hint="import the network as exported without its NMS; Edge has its own",
            reason="no_engine_form",
        )


def _cells(draft: Draft, wanted: Input) -> int:
    """Count the cells that the decoder gives a score, by shape inference."""
    scores = helper.make_empty_tensor_value_info(draft.found.scores)
    scores.type.tensor_type.elem_type = TensorProto.FLOAT
    partial = helper.make_model(
        graph_of(draft, wanted, [scores]),
        opset_imports=[helper.make_opsetid("", opset_of(draft.network))],
        ir_version=draft.network.ir_version,
    )
    shape = shape_of(infer(partial).graph.output[0])
    cells = shape[1] if len(shape) == 3 else None
    if cells is None:
        raise PartFailed(
            f"the number of cells cannot be told beforehand: its scores have the shape {shape}",
            reason="no_engine_form",
        )
    return cells


def _doubt(glue: Glue, chosen: Candidates) -> None:
    """Write the scores, or NaN where one of the network's is not finite."""
    total = glue.op("ReduceSum", chosen.every, glue.ints(1), keepdims=1)
    # True only for a number: no comparison holds for NaN.
    fine = glue.op("Less", glue.op("Abs", total), glue.number(_HUGE))
    glue.op("Where", fine, chosen.scores, glue.const(np.array(np.nan, np.float32)), name="scores")


def _damaged(installed: Installed, what: str) -> PartFailed:
    return PartFailed(
        f"the installed model {installed.id} is damaged and is not used: {what}",
        hint=f"install it again: edge model pull {installed.id}, or edge model import FILE",
        reason="model_damaged",
    )
