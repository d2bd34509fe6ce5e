from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.config.privacy import Margin, Method, Policy
from edge.detections import Detections, Sighting
from edge.errors import Withheld
from edge.frame import Frame
from edge.parcel import Redaction
from edge.stages.redact import redact
from edge.stages.redact_areas import areas
from tests.stages.parts import INFO, a_frame

METHODS: tuple[Method, ...] = get_args(Method)
NO_MARGIN = Margin(top=0, right=0, bottom=0, left=0)

Box = tuple[float, float, float, float]
Masks = NDArray[np.bool_]


def seen(*boxes: Box, masks: Masks | None = None) -> Detections:
    n = len(boxes)
    return Detections(
        boxes=np.array(boxes, np.float32).reshape(n, 4),
        scores=np.full(n, 0.9, np.float32),
        labels=np.zeros(n, np.int32),
        masks=masks,
    )


def done(frame: Frame, detections: Detections, **policy: Any) -> Redaction:
    sighting = Sighting(frame=frame, detections=detections, engine=INFO)
    return redact(sighting, Policy(**policy))


def where(redaction: Redaction) -> Masks:
    """Where a picture is covered."""
    covered = np.zeros(redaction.pixels.shape[:2], np.bool_)
    for x1, y1, x2, y2 in redaction.covered.tolist():
        covered[y1:y2, x1:x2] = True
    return covered


def other_inside(frame: Frame, inside: Masks, seed: int = 5) -> Frame:
    """The same frame with other noise where ``inside`` is true."""
    noise = np.random.default_rng(seed).integers(0, 256, frame.pixels.shape, np.uint8)
    return replace(frame, pixels=np.where(inside[..., np.newaxis], noise, frame.pixels))


sides = st.integers(1, 120)
sizes = st.tuples(sides, sides)
corner = st.floats(-150, 250, width=32)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x1, x2 = sorted((draw(corner), draw(corner)))
    y1, y2 = sorted((draw(corner), draw(corner)))
    return x1, y1, x2, y2


@st.composite
def margins(draw: st.DrawFn) -> Margin:
    part = st.floats(0, 2)
    return Margin(top=draw(part), right=draw(part), bottom=draw(part), left=draw(part))


@given(size=sizes, box=boxes(), margin=margins())
def test_a_box_and_its_margin_are_covered_as_far_as_there_is_picture(
    size: tuple[int, int], box: Box, margin: Margin
) -> None:
    width, height = size
    found = areas(seen(box), size, margin)
    x1, y1, x2, y2 = box
    left, right = x1 - margin.left * (x2 - x1), x2 + margin.right * (x2 - x1)
    top, bottom = y1 - margin.top * (y2 - y1), y2 + margin.bottom * (y2 - y1)
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        assert len(found) <= 1  # touching at most
        return
    (area,) = found
    assert 0 <= area.x1 <= max(0, left)
    assert min(width, right) <= area.x2 <= width
    assert 0 <= area.y1 <= max(0, top)
    assert min(height, bottom) <= area.y2 <= height
    assert area.x2 - area.x1 >= min(8, width)
    assert area.y2 - area.y1 >= min(8, height)
    assert area.x1 >= left - 9
    assert area.y2 <= bottom + 9


def test_the_margin_is_a_part_of_the_box_on_each_side() -> None:
    margin = Margin(top=0.5, right=0.1, bottom=0.2, left=0)
    (area,) = areas(seen((20, 40, 40, 80)), (200, 200), margin)
    assert (area.x1, area.y1, area.x2, area.y2) == (20, 20, 42, 88)


def test_boxes_beyond_the_picture_are_left_out_and_half_ones_are_covered() -> None:
    outside, half = (-50, 10, -10, 60), (-50, 10, 20, 60)
    redaction = done(a_frame(size=(100, 100)), seen(outside, half), margin=NO_MARGIN)
    assert redaction.covered.tolist() == [[0, 10, 20, 60]]


def test_huge_boxes_are_cut_at_the_edge() -> None:
    far = 3e38
    redaction = done(a_frame(size=(50, 40)), seen((-far, -far, far, far)))
    assert redaction.covered.tolist() == [[0, 0, 50, 40]]


def test_a_picture_without_people_is_the_frame_itself() -> None:
    frame = a_frame()
    redaction = done(frame, Detections.none())
    assert redaction.pixels is frame.pixels
    assert redaction.covered.shape == (0, 4)
    assert redaction.covered.dtype == np.int32


@pytest.mark.parametrize("method", METHODS)
@given(size=sizes, found=st.lists(boxes(), max_size=4))
def test_outside_nothing_changes_and_inside_everything_is_drawn(
    method: Method, size: tuple[int, int], found: list[Box]
) -> None:
    frame = a_frame(size=size)
    before = frame.pixels.copy()
    redaction = done(frame, seen(*found), method=method)
    inside = where(redaction)
    assert redaction.method == method
    assert np.array_equal(redaction.pixels[~inside], frame.pixels[~inside])
    assert np.array_equal(frame.pixels, before)
    for x1, y1, x2, y2 in redaction.covered.tolist():
        region = np.s_[y1:y2, x1:x2]
        if (y2 - y1) * (x2 - x1) >= 64:  # noise cannot look like itself afterwards
            same = (redaction.pixels[region] == frame.pixels[region]).all(2)
            assert same.mean() < 0.2


@given(
    size=sizes, found=st.lists(boxes(), max_size=4), colour=st.tuples(*[st.integers(0, 255)] * 3)
)
def test_fill_leaves_one_colour(
    size: tuple[int, int], found: list[Box], colour: tuple[int, int, int]
) -> None:
    redaction = done(a_frame(size=size), seen(*found), method="fill", fill_colour=colour)
    assert (redaction.pixels[where(redaction)] == colour).all()


@settings(max_examples=50)
@given(size=st.tuples(st.integers(16, 300), st.integers(16, 300)), level=st.integers(0, 15))
def test_people_whose_cells_are_equal_look_the_same(size: tuple[int, int], level: int) -> None:
    frame = a_frame(size=size)
    width, height = size
    everything = seen((0, 0, width, height))
    rng = np.random.default_rng(level)
    # Other pixels, yet in every cell the mean stays within the same sixteenth.
    flat = np.full_like(frame.pixels, level * 17)
    noisy = flat.astype(int) + rng.integers(-3, 4, flat.shape)
    other = noisy.clip(0, 255).astype(np.uint8)
    drawn = [done(replace(frame, pixels=pixels), everything).pixels for pixels in (flat, other)]
    assert np.array_equal(drawn[0], drawn[1])


@pytest.mark.parametrize("size", [(8, 8), (40, 100), (145, 384), (1920, 1080), (3, 2000)])
def test_what_was_inside_cannot_be_found_again(size: tuple[int, int]) -> None:
    """Fine structure of noise is gone: the picture drawn does not go along with the one before."""
    width, height = size
    frame = a_frame(size=size)
    drawn = done(frame, seen((0, 0, width, height))).pixels
    raw, left = frame.pixels.astype(float), drawn.astype(float)
    if left.std() == 0:
        return
    together = np.corrcoef((raw - raw.mean()).ravel(), (left - left.mean()).ravel())[0, 1]
    assert abs(together) < 0.3
    assert np.abs(np.diff(left, axis=0)).max(initial=0) <= 60 or height <= 8


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "size", [(1, 1), (2, 1), (1, 300), (300, 1), (7, 7), (8000, 3), (1920, 1080)]
)
def test_any_size_from_one_pixel_to_the_full_frame(method: Method, size: tuple[int, int]) -> None:
    frame = a_frame(size=size)
    redaction = done(frame, seen((0, 0, *size)), method=method)
    assert redaction.covered.tolist() == [[0, 0, *size]]
    assert redaction.pixels.shape == frame.pixels.shape
    assert redaction.pixels.dtype == np.uint8


@pytest.mark.parametrize("method", ["cells", "blur"])
def test_the_strength_follows_the_size(method: Method) -> None:
    """A person who is drawn eight times as large is redacted to the same picture, larger."""
    small = a_frame(size=(100, 200))
    pixels = small.pixels.repeat(8, 0).repeat(8, 1)
    large = replace(small, pixels=pixels)
    drawn = done(small, seen((0, 0, 100, 200)), method=method).pixels.astype(int)
    larger = done(large, seen((0, 0, 800, 1600)), method=method).pixels[4::8, 4::8].astype(int)
    assert np.abs(drawn - larger).mean() < 12


def pixels_of(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


@pytest.mark.parametrize("method", METHODS)
@given(found=st.lists(boxes(), min_size=2, max_size=5))
def test_a_raw_pixel_is_read_for_one_area_only(method: Method, found: list[Box]) -> None:
    """Each area reads what the larger ones have drawn, so doubles tell no more than one does."""
    frame = a_frame(size=(120, 100))
    together = done(frame, seen(*found), method=method)
    drawn = frame
    for area in together.covered.tolist():
        one = done(drawn, seen(tuple(area)), method=method, margin=NO_MARGIN)
        drawn = replace(frame, pixels=one.pixels.copy())
    assert np.array_equal(together.pixels, drawn.pixels)
    assert [pixels_of(area) for area in together.covered.tolist()] == sorted(
        (pixels_of(area) for area in together.covered.tolist()), reverse=True
    )


def test_three_hundred_boxes_are_covered() -> None:
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 600, (300, 2))
    found = [(x, y, x + 60, y + 120) for x, y in corners.tolist()]
    redaction = done(a_frame(size=(640, 480)), seen(*found))
    assert len(redaction.covered) >= 200


def a_mask(size: tuple[int, int], *parts: tuple[int, int, int, int]) -> Masks:
    masks = np.zeros((len(parts), size[1], size[0]), np.bool_)
    for mask, (x1, y1, x2, y2) in zip(masks, parts, strict=True):
        mask[y1:y2, x1:x2] = True
    return masks


@pytest.mark.parametrize("method", METHODS)
def test_a_mask_is_covered_and_what_is_beside_it_is_not(method: Method) -> None:
    size = (120, 100)
    person = np.zeros((1, 100, 120), np.bool_)
    person[0, 20:80, 50:60] = True
    person[0, 40:50, 30:80] = True  # arms
    frame = a_frame(size=size)
    redaction = done(frame, seen((30, 20, 80, 80), masks=person), method=method, margin=NO_MARGIN)
    assert redaction.covered.tolist() == [[30, 20, 80, 80]]
    assert np.array_equal(redaction.pixels[~person[0]], frame.pixels[~person[0]])
    assert (redaction.pixels[person[0]] == frame.pixels[person[0]]).all(1).mean() < 0.1


@given(
    left=st.integers(0, 100),
    top=st.integers(0, 80),
    wide=st.integers(1, 40),
    high=st.integers(1, 40),
    margin=margins(),
)
def test_a_mask_grows_by_the_margin(
    left: int, top: int, wide: int, high: int, margin: Margin
) -> None:
    size = (120, 100)
    masks = a_mask(size, (left, top, left + wide, top + high))
    wide, high = min(wide, 120 - left), min(high, 100 - top)
    frame = a_frame(size=size)
    redaction = done(frame, seen((0, 0, 1, 1), masks=masks), method="fill", margin=margin)
    grey = (redaction.pixels == 128).all(2)
    x1 = max(0, int(np.floor(left - margin.left * wide)))
    x2 = min(120, int(np.ceil(left + wide + margin.right * wide)))
    y1 = max(0, int(np.floor(top - margin.top * high)))
    y2 = min(100, int(np.ceil(top + high + margin.bottom * high)))
    assert grey[y1:y2, x1:x2].all()
    (region,) = redaction.covered.tolist()
    assert region[0] <= x1
    assert region[3] >= y2
    assert region[2] - region[0] >= 8 or region[0] == 0 or region[2] == 120


@pytest.mark.parametrize("method", ["cells", "blur"])
def test_a_masks_drawing_depends_on_what_is_under_the_mask_alone(method: Method) -> None:
    """So that one person's pixels never show in another's area."""
    size = (120, 100)
    masks = a_mask(size, (40, 30, 70, 90))
    masks[0, 30:50, 40:50] = False
    frame = a_frame(size=size)
    other = other_inside(frame, ~masks[0])
    drawn = [
        done(one, seen((40, 30, 70, 90), masks=masks), method=method, margin=NO_MARGIN).pixels
        for one in (frame, other)
    ]
    assert np.array_equal(drawn[0][masks[0]], drawn[1][masks[0]])


def test_a_mask_of_one_pixel_is_covered() -> None:
    masks = a_mask((60, 60), (30, 30, 31, 31))
    for method in METHODS:
        redaction = done(a_frame(size=(60, 60)), seen((30, 30, 31, 31), masks=masks), method=method)
        assert (redaction.covered[0] <= (27, 27, 99, 99)).all()
        assert (redaction.covered[0] >= (0, 0, 34, 34)).all()


def test_a_thin_mask_that_no_sample_meets_is_covered_all_the_same() -> None:
    size = (400, 400)
    masks = a_mask(size, (0, 0, 400, 400))
    masks[0, 1:, 1:] = False
    frame = a_frame(size=size)
    redaction = done(frame, seen((0, 0, 400, 400), masks=masks), margin=NO_MARGIN)
    assert (redaction.pixels[masks[0]] == frame.pixels[masks[0]]).all(1).mean() < 0.1


def test_a_person_whose_mask_is_empty_is_covered_by_the_box() -> None:
    masks = a_mask((100, 100), (10, 10, 30, 40), (0, 0, 0, 0))
    redaction = done(
        a_frame(size=(100, 100)),
        seen((10, 10, 30, 40), (50, 50, 90, 90), masks=masks),
        margin=NO_MARGIN,
    )
    assert [50, 50, 90, 90] in redaction.covered.tolist()
    assert [10, 10, 30, 40] in redaction.covered.tolist()


def test_masks_of_another_size_withhold_the_picture() -> None:
    masks = a_mask((50, 50), (10, 10, 30, 40))
    with pytest.raises(Withheld) as caught:
        done(a_frame(size=(100, 100)), seen((10, 10, 30, 40), masks=masks))
    assert caught.value.reason == "masks_size"
