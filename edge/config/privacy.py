"""Privacy: how people are covered, and how strongly. Policy: what that means for one source."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from edge.config.section import Section, key

Method = Literal["cells", "fill", "blur"]
Format = Literal["jpeg", "webp", "png"]
Encoder = Literal["cpu", "gpu"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Point = tuple[Fraction, Fraction]


class Margin(Section):
    """How far beyond a person's box is covered, as fractions of the box's width or height."""

    top: float = key(0.1, "Above, as a fraction of the box's height.", live=True, ge=0, le=2)
    right: float = key(0.1, "Right, as a fraction of the box's width.", live=True, ge=0, le=2)
    bottom: float = key(0.1, "Below, as a fraction of the box's height.", live=True, ge=0, le=2)
    left: float = key(0.1, "Left, as a fraction of the box's width.", live=True, ge=0, le=2)


class PrivacyConfig(Section):
    """``[privacy]``: holds for every source that does not say otherwise."""

    method: Method = key(
        "cells",
        "cells: a coarse smoothed grid of at most 384 bits a person (anonymised). "
        "fill: one colour, 0 bits (anonymised). blur: softer, only pseudonymised.",
        live=True,
    )
    margin: Margin = key(Margin(), "How far beyond a person's box is covered.", live=True)
    fill_colour: str = key(
        "#808080", "Colour of method fill, as #rrggbb.", live=True, pattern="^#[0-9a-fA-F]{6}$"
    )
    format: Format = key("jpeg", "Format of the redacted picture.", live=True)
    quality: int = key(85, "JPEG and WebP quality.", live=True, ge=1, le=100)
    encoder: Encoder = key(
        "cpu",
        "Who encodes JPEGs. gpu: NVIDIA's nvJPEG, each file compared with the redacted picture; "
        "where it is missing, errs or differs, the processor. Never seen on a GPU yet.",
    )

    def for_source(self, own: SourcePrivacy) -> Policy:
        """Return what holds for a source whose own section is ``own``."""
        red, green, blue = bytes.fromhex(self.fill_colour[1:])
        return Policy(
            method=own.method or self.method,
            margin=own.margin or self.margin,
            fill_colour=(blue, green, red),
            format=self.format,
            quality=self.quality,
            blackout=own.blackout,
        )


class SourcePrivacy(Section):
    """``[sources.NAME.privacy]``: what differs for one source. What is left out stays global."""

    method: Method | None = key(None, "As in [privacy].", live=True)
    margin: Margin | None = key(None, "As in [privacy].", live=True)
    blackout: tuple[tuple[Point, ...], ...] = key(
        (),
        "Polygons that are burned in black before anything looks at the picture: each a list "
        "of at least three [x, y] points, as fractions of width and height.",
        live=True,
    )


_REVISION = 1
"""Counted up when the same settings begin to draw another picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How one source's pictures are redacted and encoded."""

    method: Method = "cells"
    margin: Margin = Margin()  # noqa: RUF009 (frozen)
    #: blue, green, red
    fill_colour: tuple[int, int, int] = (128, 128, 128)
    format: Format = "jpeg"
    quality: int = 85
    #: polygons of (x, y) points, fractions of width and height
    blackout: tuple[tuple[Point, ...], ...] = ()
    #: 12 hex digits; the same for all policies that draw the same picture, different otherwise
    version: str = field(init=False)

    def __post_init__(self) -> None:
        drawn = [
            _REVISION,
            self.method,
            self.margin.model_dump(),
            self.fill_colour if self.method == "fill" else None,
            self.format,
            None if self.format == "png" else self.quality,
            self.blackout,
        ]
        digest = hashlib.sha256(json.dumps(drawn, sort_keys=True).encode()).hexdigest()
        object.__setattr__(self, "version", digest[:12])
