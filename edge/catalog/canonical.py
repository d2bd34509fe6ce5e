"""The canonical graph: the one form in which every engine runs every model.

::

    image   [n, h, w, 3] uint8 BGR at the model's input size
      -> colour order, normalisation, layout -> the cleaned network -> the family's decoder
      -> the wanted labels' best -> the strongest k candidates -> NMS
    boxes   [n, k, 4] float32 x1 y1 x2 y2 in input pixels, strongest first
    scores  [n, k] float32; 0 where a candidate was suppressed or is below the floor
    labels  [n, k] int32, index into the wanted labels

``k`` is fixed, so shapes depend on ``n`` only. A value that is not a number anywhere in the
network's scores makes every score of that picture not a number: a broken network must not look
like an empty street. ``metadata_props`` (``edge.*``) say all that an engine needs to know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnx
from onnx import TensorProto, checker, compose, helper

from edge.catalog.clean import clean, opset_of, shape_of
from edge.catalog.families.family import Family, Found, Network
from edge.catalog.families.known import FAMILIES
from edge.catalog.glue import Glue
from edge.catalog.manifest import CANONICAL_VERSION, Input, Manifest
from edge.errors import PartFailed

MOST = 1000
"""Candidates that a picture may have before NMS; the strongest win. A detector marks a person 5 to
20 times, so a hundred people still find room."""

FLOOR = 0.01
"""Scores below are nothing; no threshold may be lower."""

_MODEL = "network/"
NOTHING: Mapping[str, str] = MappingProxyType({})


def canonical(model: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
    """Build the canonical graph of a network as published.

    Raises:
        PartFailed: the network does not fit its manifest; the message says what was found.

    """
    draft = drawn(model, manifest)
    _select(draft, manifest)
    return finished(draft, manifest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A graph whose end is still open: prepared input, network, decoder."""

    #: cleaned, its names prefixed
    network: onnx.ModelProto
    glue: Glue
    found: Found
    #: how many of the glue's nodes come before the network
    before: int


def drawn(model: onnx.ModelProto, manifest: Manifest, *, cast_first: bool = False) -> Draft:
    """Write what both forms begin with.

    Args:
        model: the network as published.
        manifest: what is known of it.
        cast_first: make the picture float32 before anything else. TensorRT knows uint8 at the
            input only; ONNX Runtime moves four times less memory the other way.

    Raises:
        PartFailed: the network does not fit its manifest.

    """
    network = clean(model, manifest.input.size)
    family, facts = FAMILIES[manifest.family], network_facts(network, manifest.input.size)
    _check_labels(family, facts, manifest)
    network = compose.add_prefix(network, prefix=_MODEL)
    glue = Glue()
    _prepare(glue, manifest.input, network.graph.input[0].name, cast_first=cast_first)
    outputs = [value.name for value in network.graph.output]
    before = len(glue.nodes)
    found = family.decode(facts, glue, outputs, list(manifest.labels.values()))
    return Draft(network=network, glue=glue, found=found, before=before)


def graph_of(
    draft: Draft, wanted: Input, outputs: Sequence[onnx.ValueInfoProto]
) -> onnx.GraphProto:
    """Put the draft's nodes in their order."""
    glue, network = draft.glue, draft.network.graph
    nodes = [*glue.nodes[: draft.before], *network.node, *glue.nodes[draft.before :]]
    return helper.make_graph(
        nodes,
        "edge",
        [_image(draft.network, wanted)],
        outputs,
        [*network.initializer, *glue.constants],
    )


def network_facts(network: onnx.ModelProto, size: tuple[int, int]) -> Network:
    """Say what a family may know about a cleaned network."""
    outputs = {value.name: tuple(shape_of(value)) for value in network.graph.output}
    return Network(size=size, outputs=outputs)


def _check_labels(family: Family, facts: Network, manifest: Manifest) -> None:
    classes = family.classes(facts)
    if classes is None:
        raise PartFailed(
            f"{manifest.id} is not a {family.name} network: expected {family.looks}; "
            f"found {describe(facts)}",
            hint="edge model import FILE --family says which families there are",
            reason="wrong_family",
        )
    outside = {name: index for name, index in manifest.labels.items() if index >= classes}
    if outside:
        raise PartFailed(
            f"{manifest.id} has {classes} classes, so labels are 0 to {classes - 1}: got {outside}",
            reason="wrong_labels",
        )


def describe(facts: Network) -> str:
    """Write a network's outputs for people."""
    shapes = (
        f"{name} [{', '.join('?' if side is None else str(side) for side in shape)}]"
        for name, shape in facts.outputs.items()
    )
    return f"{len(facts.outputs)} outputs at input {facts.size[0]}x{facts.size[1]}: " + "; ".join(
        shapes
    )


def _prepare(glue: Glue, wanted: Input, name: str, *, cast_first: bool) -> None:
    """Write uint8 NHWC BGR to float NCHW as the network wants it, under its input's name."""
    value = "image"
    if cast_first:
        value = glue.op("Cast", value, to=TensorProto.FLOAT)
    value = glue.op("Transpose", value, perm=[0, 3, 1, 2])
    if wanted.colour == "RGB":
        value = glue.op("Gather", value, glue.ints(2, 1, 0), axis=1)
    if not cast_first:
        value = glue.op("Cast", value, to=TensorProto.FLOAT)
    std, mean = np.array(wanted.std, np.float64), np.array(wanted.mean, np.float64)
    factor, offset = wanted.scale / std, -mean / std
    if (factor != 1).any():
        value = glue.op("Mul", value, glue.const(factor.astype(np.float32).reshape(3, 1, 1)))
    if offset.any():
        glue.op("Add", value, glue.const(offset.astype(np.float32).reshape(3, 1, 1)))
    glue.nodes[-1].output[0] = name


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The strongest k of a picture, before NMS (names of values)."""

    #: ``(n, a)`` float32, every cell's best
    every: str
    #: ``(n, k)`` float32, falling
    scores: str
    #: ``(n, k, 1)`` int64, index into the wanted labels
    label: str


def best_of(scores: str, glue: Glue) -> tuple[str, str]:
    """Write each cell's best label: its score ``(n, a)``, and which it is ``(n, a, 1)`` int64."""
    best, kind = glue.ops("TopK", [scores, glue.ints(1)], ["edge/best", "edge/kind"], axis=2)
    return glue.op("Squeeze", best, glue.ints(2)), kind


def strongest(draft: Draft, flat: str, kind: str, k: str) -> Candidates:
    """Write the choice of ``k`` candidates, and the outputs ``boxes`` and ``labels``."""
    glue = draft.glue
    scores, index = glue.ops("TopK", [flat, k], ["edge/candidates", "edge/index"], axis=1)
    column = glue.op("Unsqueeze", index, glue.ints(2))
    four = glue.op("Tile", column, glue.ints(1, 1, 4))
    glue.op("GatherElements", draft.found.boxes, four, name="boxes", axis=1)
    label = glue.op("GatherElements", kind, column, axis=1)
    glue.op("Cast", glue.op("Squeeze", label, glue.ints(2)), name="labels", to=TensorProto.INT32)
    return Candidates(every=flat, scores=scores, label=label)


def _select(draft: Draft, manifest: Manifest) -> None:
    """Write the choice of candidates and NMS: the graph's three outputs."""
    glue = draft.glue
    flat, kind = best_of(draft.found.scores, glue)
    # Never more candidates than the network has cells.
    cells = glue.op("Slice", glue.op("Shape", flat), glue.ints(1), glue.ints(2))
    chosen = strongest(draft, flat, kind, glue.op("Min", cells, glue.ints(MOST)))
    apart = "boxes"
    if len(manifest.labels) > 1:
        # People of different labels do not suppress each other: each label gets a place of its own.
        step = glue.number(8.0 * max(manifest.input.size))
        place = glue.op("Mul", glue.op("Cast", chosen.label, to=TensorProto.FLOAT), step)
        apart = glue.op("Add", "boxes", place)
    _suppress(glue, apart, chosen, manifest.nms_iou)


def _suppress(glue: Glue, boxes: str, chosen: Candidates, iou: float) -> None:
    """Write NMS that keeps every candidate's place and sets the suppressed ones' scores to 0."""
    rows = glue.op("Unsqueeze", chosen.scores, glue.ints(1))
    kept = glue.op(
        "NonMaxSuppression",
        boxes,
        rows,
        glue.ints(MOST),
        glue.const(np.array([iou], np.float32)),
        glue.const(np.array([FLOOR], np.float32)),
    )
    # Sum times zero is zero, unless something in it is not a number.
    total = glue.op("ReduceSum", chosen.every, glue.ints(1), keepdims=1)
    doubt = glue.op("Mul", total, glue.number(0))
    nothing = glue.op("Mul", rows, glue.number(0))
    after = glue.op("ScatterND", nothing, kept, glue.op("GatherND", rows, kept))
    glue.op("Add", glue.op("Squeeze", after, glue.ints(1)), doubt, name="scores")


def _image(network: onnx.ModelProto, wanted: Input) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        "image", TensorProto.UINT8, [batch_of(network), wanted.height, wanted.width, 3]
    )


def batch_of(network: onnx.ModelProto) -> int | str:
    """Return how many pictures a cleaned network takes at once; ``n``: any number."""
    return shape_of(network.graph.input[0])[0] or "n"


def _outputs(n: int | str, k: int | str) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [n, k, 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [n, k]),
        helper.make_tensor_value_info("labels", TensorProto.INT32, [n, k]),
    ]


def finished(
    draft: Draft, manifest: Manifest, *, k: int | str = "k", more: Mapping[str, str] = NOTHING
) -> onnx.ModelProto:
    """Close the graph: outputs, properties, check.

    Args:
        draft: with the nodes that make ``boxes``, ``scores`` and ``labels``.
        manifest: what is known of the network.
        k: candidates of a picture; a name where the graph finds out.
        more: further ``edge.*`` properties, without the prefix.

    """
    network = draft.network
    n = "n" if isinstance(k, str) else batch_of(network)
    model = helper.make_model(
        graph_of(draft, manifest.input, _outputs(n, k)),
        opset_imports=[helper.make_opsetid("", opset_of(network))],
        ir_version=network.ir_version,
        producer_name="edge",
    )
    facts = {**_facts(manifest), **more}
    helper.set_model_props(model, {f"edge.{name}": value for name, value in facts.items()})
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise PartFailed(
            f"the graph of {manifest.id} is not valid ONNX: {str(error)[:200]}",
            reason="bad_model",
        ) from error
    return model


def _facts(manifest: Manifest) -> dict[str, str]:
    """Return the ``edge.*`` properties of a model, without the prefix."""
    return {
        "canonical": str(CANONICAL_VERSION),
        "id": manifest.id,
        "family": manifest.family,
        "source_sha256": manifest.sha256,
        "licence": manifest.licence,
        "width": str(manifest.input.width),
        "height": str(manifest.input.height),
        "resize": manifest.input.resize,
        "pad": str(manifest.input.pad),
        "labels": json.dumps(list(manifest.labels)),
        "threshold": repr(manifest.threshold),
        "nms_iou": repr(manifest.nms_iou),
    }
