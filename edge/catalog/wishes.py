"""Wishes: what an importer may say about a file that no manifest knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the importer says about a file that no manifest knows. Empty: find out."""

    id: str = ""
    family: str = ""
    #: id of a known model that this one is fed and read like
    like: str = ""
    #: name -> class index, for example ``{"person": 0}``
    labels: Mapping[str, int] = field(default_factory=dict)
    #: width and height in pixels
    size: tuple[int, int] | None = None
    threshold: float | None = None
    #: further keys of the manifest's ``[input]``: resize, pad, colour, scale, mean, std
    input: Mapping[str, Any] = field(default_factory=dict)
