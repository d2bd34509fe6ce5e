"""Redact: cover every person that was seen, so that the picture can be shown to the gate.

1. Every output pixel of an area is a function of at most 384 bits (``cells``) or 0 bits (``fill``)
   of what is covered there.
2. Every raw pixel is read for one area only: areas are drawn one after another, and a later one
   reads what an earlier one has drawn. What two overlapping boxes tell never adds up to more.
3. Nothing outside the areas changes, and the frame itself never does.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from edge.config.privacy import Policy
from edge.detections import Sighting
from edge.errors import Withheld
from edge.frame import Pixels
from edge.parcel import Redaction
from edge.stages.redact_areas import Area, areas
from edge.stages.redact_methods import blur, cells, fill

Draw = Callable[[list[Area]], Pixels]
"""Returns the picture with these areas covered, another array than the frame's."""


def redact(sighting: Sighting, policy: Policy, draw: Draw | None = None) -> Redaction:
    """Cover everyone in ``sighting`` as ``policy`` says.

    Args:
        sighting: the frame and who was seen in it.
        policy: how they are covered.
        draw: covers the areas in the place of the processor; not asked where there are none.

    Returns:
        The covered picture; the frame's own pixels where there is nobody to cover.

    Raises:
        Withheld: masks of another size than the frame's; nobody knows where they belong.

    """
    frame, seen = sighting.frame, sighting.detections
    if seen.masks is not None and seen.masks.shape[1:] != frame.pixels.shape[:2]:
        raise Withheld(
            f"masks are {seen.masks.shape[1:]}, the picture is {frame.pixels.shape[:2]}",
            reason="masks_size",
        )
    found = areas(seen, frame.size, policy.margin)
    pixels = frame.pixels
    if found:
        pixels = _drawn(pixels, found, policy) if draw is None else draw(found)
        pixels.flags.writeable = False
    corners = [(area.x1, area.y1, area.x2, area.y2) for area in found]
    return Redaction(
        sighting=sighting,
        pixels=pixels,
        covered=np.array(corners, np.int32).reshape(-1, 4),
        method=policy.method,
    )


def _drawn(pixels: Pixels, found: list[Area], policy: Policy) -> Pixels:
    pixels = pixels.copy()
    for area in found:
        _cover(pixels, area, policy)
    return pixels


def _cover(pixels: Pixels, area: Area, policy: Policy) -> None:
    """Cover one area of ``pixels`` in place."""
    patch = pixels[area.y1 : area.y2, area.x1 : area.x2]
    if policy.method == "fill":
        drawn = fill(patch, policy.fill_colour)
    else:
        drawn = (blur if policy.method == "blur" else cells)(patch, area.mask)
    if area.mask is None:
        patch[:] = drawn
    else:
        cv2.copyTo(drawn, area.mask, patch)
