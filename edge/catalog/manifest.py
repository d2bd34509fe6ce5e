"""Manifest: what Edge must know about one model file to use it. One ``models/*.toml`` each."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge.errors import PartFailed

CANONICAL_VERSION = 1
"""Form of the canonical graph (``canonical.py``), raised whenever that changes; a file of another
form is built again from its source."""

ID = re.compile(r"^[a-z0-9][a-z0-9_.-]{0,63}$")
"""What a model may be called: it becomes the name of a directory."""

Triple = tuple[float, float, float]
Side = Annotated[int, Field(ge=32, le=4096)]


class Part(BaseModel):
    """A frozen table of a manifest. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(Part):
    """What the network wants to see.

    A colour value ``x`` of 0 to 255 goes in as ``(x * scale - mean) / std``, with ``mean`` and
    ``std`` in the network's own colour order. Left out they change nothing.
    """

    #: pixels
    width: Side
    height: Side
    #: ``letterbox`` keeps the aspect: picture at the top left, the rest padded
    resize: Literal["stretch", "letterbox"]
    #: value that a letterbox is padded with, 0 to 255
    pad: int = Field(0, ge=0, le=255)
    colour: Literal["RGB", "BGR"]
    scale: float = Field(1.0, gt=0)
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if 0 in self.std:
            raise ValueError("std: expected three numbers that are not 0")
        return self


class Manifest(Part):
    """One model: who made it, where it is published, and how it is fed and read."""

    id: str = Field(pattern=ID)
    about: str = ""
    task: Literal["person-detection"] = "person-detection"
    family: Literal["picodet", "nanodet", "yolox", "v8", "end_to_end", "ssd", "fastestdet"]
    licence: str = "unknown"
    author: str = ""
    #: public address of the file; empty: it is imported from a file only
    url: str = Field("", pattern=r"^(https?://\S+)?$")
    #: hex digest of the file as published
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)
    #: what is looked for: name -> index of the class in the network's scores
    labels: Mapping[str, Annotated[int, Field(ge=0)]] = Field(min_length=1)
    #: scores below are not people
    threshold: float = Field(ge=0.01, le=0.99)
    #: share of people that are covered at that threshold, on pictures with labels; None: unknown
    cover: float | None = Field(None, ge=0, le=1)
    #: of two boxes that overlap more than this, the weaker goes
    nms_iou: float = Field(gt=0, le=1)
    input: Input


def read_manifest(text: str, where: str) -> Manifest:
    """Read one manifest.

    Raises:
        PartFailed: it is not TOML, or not a manifest; every fault is named with its path, its
            value and what was expected.

    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PartFailed(f"{where} is not TOML: {error}", reason="bad_manifest") from error
    return make_manifest(table, where)


def make_manifest(table: Mapping[str, Any], where: str) -> Manifest:
    """Check a table of facts; see ``read_manifest``."""
    try:
        return Manifest.model_validate(table)
    except ValidationError as error:
        faults = [_fault(dict(one)) for one in error.errors(include_url=False)]
        raise PartFailed(
            f"{where} is not a manifest: " + "; ".join(faults),
            hint="models/README.md says what a manifest holds",
            reason="bad_manifest",
        ) from error


def _fault(one: Mapping[str, Any]) -> str:
    path = ".".join(str(step) for step in one["loc"]) or "manifest"
    got = "" if isinstance(one["input"], Mapping) else f", got {one['input']!r}"
    return f"{path}: {one['msg'][:1].lower()}{one['msg'][1:]}{got}"


def manifests_directory() -> Path:
    """Find the shipped manifests: in a frozen binary, in the repository, or installed."""
    frozen = getattr(sys, "_MEIPASS", None)
    places = [
        *([Path(frozen) / "models"] if frozen else []),
        Path(__file__).resolve().parents[2] / "models",
        Path(sys.prefix) / "share" / "edge" / "models",
    ]
    for place in places:
        if any(place.glob("*.toml")):
            return place
    raise PartFailed(
        f"no manifests: looked in {', '.join(map(str, places))}",
        hint="the installation is incomplete; install Edge again",
        reason="no_manifests",
    )


def shipped_manifests(directory: Path | None = None) -> dict[str, Manifest]:
    """Read every shipped manifest, by id.

    Raises:
        PartFailed: none there, or one of them is faulty.

    """
    directory = directory or manifests_directory()
    found = {}
    for path in sorted(directory.glob("*.toml")):
        manifest = read_manifest(path.read_text(encoding="utf-8"), path.name)
        if manifest.id != path.stem:
            raise PartFailed(
                f"{path.name}: id: expected {path.stem!r} (the file's name), got {manifest.id!r}",
                reason="bad_manifest",
            )
        found[manifest.id] = manifest
    return found
