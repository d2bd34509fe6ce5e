"""Privacy: how people are covered, and how strongly."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edge.config.section import Section, key

Method = Literal["cells", "fill", "blur"]
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
    format: Literal["jpeg", "webp", "png"] = key(
        "jpeg", "Format of the redacted picture.", live=True
    )
    quality: int = key(85, "JPEG and WebP quality.", live=True, ge=1, le=100)


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
