"""What the gate demands of a picture. Each function returns in silence, or raises Withheld.

Nothing here trusts the stage that made the redaction: what must be covered is worked out again
from the detections, and whether it is covered is looked up in the pixels.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.config.privacy import Margin, Point, Policy
from edge.contracts import Picture
from edge.detections import Detections, Sighting
from edge.errors import Withheld
from edge.event import Event
from edge.frame import Frame, Pixels
from edge.parcel import Redaction

_ROUNDING = 1e-3
"""Pixels by which a region may miss what was asked for, where floats were added up otherwise."""
_SAMPLES = 16
"""Rows and columns of a region that are looked at, at least (all, where it is smaller)."""
_BLOCKS = 4
"""A region is judged in 4 x 4 blocks, so that one that is covered by half is noticed."""
_UNIFORM = 6
"""Levels: where the raw pixels of a block differ by no more, there is nothing to cover."""
_HOLE = np.ones((3, 3), np.uint8)
"""So many samples that are unchanged side by side are a hole ..."""
_CONTRAST = 16
"""... if the raw ones differ by more levels: a soft blur may meet a smooth sky by chance."""


def same_frame(
    event: Event[Picture], sighting: Sighting, redaction: Redaction, policy: Policy
) -> None:
    """Demand that the redaction, the detections and the event are about one and the same frame."""
    frame, asked = sighting.frame, event.data
    if redaction.sighting is not sighting:
        raise _withheld("other_frame", "the redaction was made from another sighting")
    if (frame.source, frame.subject, frame.taken_at) != (
        asked.source,
        asked.subject,
        asked.taken_at,
    ) or event.subject != frame.subject:
        raise _withheld("other_frame", "the detections are those of another picture")
    if event.source != frame.source and not event.source.endswith(f"/{frame.source}"):
        raise _withheld("other_frame", "the picture is another source's than the event")
    if isinstance(asked, Frame) and not policy.blackout and frame.pixels is not asked.pixels:
        raise _withheld("other_frame", "the detections are those of another frame")


def as_policy_says(sighting: Sighting, redaction: Redaction, policy: Policy) -> None:
    """Demand the policy's method, a picture of the frame's size, and its blackouts."""
    if redaction.method != policy.method:
        raise _withheld("wrong_method", f"{redaction.method}, and the policy says {policy.method}")
    raw, new = sighting.frame.pixels, redaction.pixels
    if new.shape != raw.shape or new.dtype != np.uint8:
        raise _withheld("wrong_size", f"the frame is {raw.shape}, the redaction {new.shape}")
    height, width = raw.shape[:2]
    for polygon in policy.blackout:
        if raw[_inside_polygon(polygon, width, height)].any():
            raise _withheld("blackout_missing", "an area that must be black is not")


def everyone_covered(seen: Detections, redaction: Redaction, margin: Margin) -> None:
    """Demand that each detection, grown by the margin, lies inside one covered region."""
    height, width = redaction.pixels.shape[:2]
    x1, y1, x2, y2 = _extents(seen).T
    wide, high = x2 - x1, y2 - y1
    x1, x2 = x1 - margin.left * wide, x2 + margin.right * wide
    y1, y2 = y1 - margin.top * high, y2 + margin.bottom * high
    there = (x1 < width) & (y1 < height) & (x2 > 0) & (y2 > 0)
    low = np.maximum(np.column_stack((x1, y1))[there], 0)
    high_corner = np.minimum(np.column_stack((x2, y2))[there], (width, height))
    covered = redaction.covered.astype(np.float64).reshape(1, -1, 4)
    holds = (covered[..., :2] <= low[:, np.newaxis] + _ROUNDING).all(2)
    holds &= (covered[..., 2:] >= high_corner[:, np.newaxis] - _ROUNDING).all(2)
    missed = int((~holds.any(1)).sum())
    if missed:
        raise _withheld("not_covered", f"{missed} of {len(seen)} detections are not covered")


def pixels_changed(sighting: Sighting, redaction: Redaction, policy: Policy) -> None:
    """Demand that what lies inside the covered regions is not what was there before."""
    height, width = redaction.pixels.shape[:2]
    must = _must_change(sighting.detections, (height, width))
    colour = np.array(policy.fill_colour, np.uint8) if policy.method == "fill" else None
    for x1, y1, x2, y2 in redaction.covered.tolist():
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            raise _withheld("not_covered", "a covered region lies outside of the picture")
        look = np.s_[
            y1 : y2 : max(1, (y2 - y1) // _SAMPLES), x1 : x2 : max(1, (x2 - x1) // _SAMPLES)
        ]
        raw, new = sighting.frame.pixels[look], redaction.pixels[look]
        inside = None if must is None else must[look]
        if colour is not None:
            bad = (new != colour).any(2)
            failed = bool(bad.any() if inside is None else (bad & inside).any())
        else:
            failed = _is_raw(raw, new, inside)
        if failed:
            raise _withheld("not_redacted", "a covered region still shows what was there")


def _is_raw(raw: Pixels, new: Pixels, inside: NDArray[np.bool_] | None) -> bool:
    """Tell whether the samples are unchanged somewhere, although there was something in them."""
    same = (raw == new).all(2)
    if not same.any():
        return False
    if inside is None:
        inside = np.ones(same.shape, np.bool_)
    return _has_hole(raw, same & inside) or _has_raw_block(raw, same, inside)


def _has_hole(raw: Pixels, same: NDArray[np.bool_]) -> bool:
    """Tell whether 3 x 3 samples with some contrast are unchanged."""
    holes = cv2.erode(same.view(np.uint8), _HOLE, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    if not holes.any():
        return False
    contrast = cv2.subtract(cv2.dilate(raw, _HOLE), cv2.erode(raw, _HOLE))
    return bool((contrast[holes != 0] > _CONTRAST).any())


def _has_raw_block(raw: Pixels, same: NDArray[np.bool_], inside: NDArray[np.bool_]) -> bool:
    """Tell whether one of the blocks is unchanged as a whole."""
    rows, columns = (_starts(count) for count in same.shape)
    unchanged = same | ~inside
    blocks = np.logical_and.reduceat(np.logical_and.reduceat(unchanged, rows, 0), columns, 1)
    for row, column in np.argwhere(blocks).tolist():
        block = np.s_[
            rows[row] : (*rows[1:], None)[row], columns[column] : (*columns[1:], None)[column]
        ]
        points = raw[block][inside[block]]
        if len(points) and np.ptp(points, axis=0).max() > _UNIFORM:
            return True
    return False


def _starts(count: int) -> list[int]:
    """Return where the blocks begin in ``count`` samples."""
    return sorted({count * block // _BLOCKS for block in range(_BLOCKS)})


def _extents(seen: Detections) -> NDArray[np.float64]:
    """Return ``(n, 4)`` what each detection takes up: its mask's box, or its own."""
    extents = seen.boxes.astype(np.float64)
    for n, mask in enumerate(seen.masks if seen.masks is not None else ()):
        if mask.any():
            x, y, wide, high = cv2.boundingRect(mask.view(np.uint8))
            extents[n] = (x, y, x + wide, y + high)
    return extents


def _must_change(seen: Detections, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Return ``(h, w)`` where something was seen; None where that is all over the regions."""
    if seen.masks is None:
        return None
    must = np.zeros(shape, np.bool_)
    for mask, box in zip(seen.masks, seen.boxes, strict=True):
        must |= mask
        if not mask.any():
            x1, y1, x2, y2 = np.maximum(box, 0).astype(np.int64)
            must[y1:y2, x1:x2] = True
    return must


@functools.lru_cache(maxsize=64)
def _inside_polygon(
    polygon: tuple[Point, ...], width: int, height: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of pixels well inside a polygon, a few thousand at most."""
    corners = np.round(np.array(polygon, np.float64) * (width, height) - 0.5).astype(np.int32)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [corners], 1)
    kernel = np.ones((3, 3), np.uint8)
    # Beyond the picture's edge the polygon goes on.
    inner = cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    rows, columns = np.nonzero(inner)
    step = 1 + len(rows) // 4096
    return rows[::step], columns[::step]


def _withheld(reason: str, what: str) -> Withheld:
    return Withheld(f"the picture stays here: {what}", reason=reason)
