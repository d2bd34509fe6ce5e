"""Which model is this file? By its digest; else by its outputs and what the importer says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import google.protobuf.message
import onnx

from edge.catalog.canonical import describe, network_facts
from edge.catalog.clean import clean, shape_of
from edge.catalog.families.family import Family, Network
from edge.catalog.families.known import FAMILIES
from edge.catalog.manifest import Manifest, make_manifest
from edge.catalog.wishes import Wishes
from edge.errors import PartFailed

_STANDARD = {"", "ai.onnx"}


def load(body: bytes, name: str) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        PartFailed: it is not ONNX, is incomplete, keeps weights in other files, or uses operators
            that are not standard.

    """
    try:
        model = onnx.load_model_from_string(body)
    except (google.protobuf.message.DecodeError, ValueError) as error:
        raise _unusable(name, "is not an ONNX file, or is cut off") from error
    if not model.graph.node or not model.graph.input or not model.graph.output:
        raise _unusable(name, "is not an ONNX file: it holds no network")
    # A path to other files comes from a stranger: it is never followed.
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
        raise _unusable(name, "keeps its weights in other files", "export it as a single file")
    strange = sorted({n.op_type for n in model.graph.node if n.domain not in _STANDARD})
    if strange:
        raise _unusable(
            name,
            f"uses operators outside the ONNX standard: {', '.join(strange[:5])}",
            "export it with standard operators only",
        )
    if "edge.canonical" in {prop.key for prop in model.metadata_props}:
        raise _unusable(name, "was imported already", "import the file as it was published")
    return model


def guess(model: onnx.ModelProto, wishes: Wishes, facts: Mapping[str, Any]) -> Manifest:
    """Make a manifest for a file that no manifest knows.

    Args:
        model: the network as published.
        wishes: what the importer says; it wins over every guess.
        facts: ``id``, ``sha256`` and ``bytes`` of the file.

    Raises:
        PartFailed: the family or the preparation stays open; the message says what was found and
            what must be said.

    """
    size = wishes.size or _own_size(model, facts["id"])
    network = network_facts(clean(model, size), size)
    family, classes = _family(network, wishes, facts["id"])
    labels = dict(wishes.labels) or _person(family, classes, facts["id"])
    prepared = {**family.usual, **wishes.input}
    if not prepared.get("resize") or not prepared.get("colour"):
        raise PartFailed(
            f"{facts['id']} is of family {family.name}, which has no usual preparation",
            hint="say --resize and --colour (and --scale, --mean, --std), or --like ID",
            reason="unknown_preparation",
        )
    return make_manifest(
        {
            **facts,
            "about": "imported from a file that no manifest knows",
            "family": family.name,
            "labels": labels,
            "threshold": wishes.threshold or family.threshold,
            "nms_iou": family.nms_iou,
            "input": {**prepared, "width": size[0], "height": size[1]},
        },
        f"what is known of {facts['id']}",
    )


def resemble(known: Manifest, wishes: Wishes, facts: Mapping[str, Any]) -> Manifest:
    """Make a manifest for a file that is fed and read like a known model."""
    table = known.model_dump()
    table |= {**facts, "about": f"imported, like {known.id}", "url": "", "licence": "unknown"}
    table |= {"author": "", "cover": None}
    table["labels"] = dict(wishes.labels or known.labels)
    table["input"] |= wishes.input
    if wishes.size:
        table["input"] |= {"width": wishes.size[0], "height": wishes.size[1]}
    if wishes.threshold is not None:
        table["threshold"] = wishes.threshold
    return make_manifest(table, f"what was said of {facts['id']}")


def id_of(name: str) -> str:
    """Make a model's id of a file's name."""
    return re.sub(r"[^a-z0-9_.-]+", "_", name.lower()).strip("_.-")[:64] or "model"


def _family(network: Network, wishes: Wishes, name: str) -> tuple[Family, int]:
    if wishes.family and wishes.family not in FAMILIES:
        raise PartFailed(
            f"no family {wishes.family!r}: there are {', '.join(FAMILIES)}", reason="wrong_family"
        )
    asked = [FAMILIES[wishes.family]] if wishes.family else list(FAMILIES.values())
    fits = [(one, classes) for one in asked if (classes := one.classes(network)) is not None]
    if len(fits) == 1:
        return fits[0]
    kinds = "; ".join(f"{one.name}: {one.looks}" for one in FAMILIES.values())
    found = f"found {describe(network)}"
    if wishes.family:
        raise PartFailed(
            f"{name} is not a {wishes.family} network: expected {asked[0].looks}; {found}",
            hint=f"families are {kinds}",
            reason="wrong_family",
        )
    several = ", ".join(one.name for one, _ in fits)
    raise PartFailed(
        f"the family of {name} is open ({several or 'none fits'}): {found}",
        hint=f"say --family; families are {kinds}",
        reason="unknown_family",
    )


def _person(family: Family, classes: int, name: str) -> dict[str, int]:
    if classes in family.person:
        return {"person": family.person[classes]}
    raise PartFailed(
        f"{name} has {classes} classes, and which of them is a person cannot be told",
        hint="say --label person=INDEX",
        reason="unknown_labels",
    )


def _own_size(model: onnx.ModelProto, name: str) -> tuple[int, int]:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    shapes = [shape_of(value) for value in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] not in {3, None}:
        raise _unusable(name, f"has inputs {shapes}, expected one picture [n, 3, height, width]")
    _, _, height, width = shapes[0]
    if not height or not width:
        raise PartFailed(
            f"{name} leaves its input size open",
            hint="say --input WIDTHxHEIGHT, for example --input 416x416",
            reason="unknown_size",
        )
    return width, height


def _unusable(name: str, what: str, hint: str = "") -> PartFailed:
    return PartFailed(f"{name} {what}", hint=hint, reason="bad_model")
