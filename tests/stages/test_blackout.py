from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.config.privacy import Point
from edge.frame import Frame
from edge.stages.blackout import blackout
from tests.stages.parts import a_frame

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
fractions = st.floats(0, 1, allow_subnormal=False)
points = st.tuples(fractions, fractions)
polygons = st.lists(points, min_size=3, max_size=6).map(tuple)


def white(size: tuple[int, int] = (60, 40)) -> Frame:
    frame = a_frame(size=size)
    return replace(frame, pixels=np.full_like(frame.pixels, 255))


def test_a_frame_without_polygons_is_the_same_frame() -> None:
    frame = a_frame()
    assert blackout(frame, ()) is frame


def test_a_polygon_is_black_and_the_rest_is_as_it_was() -> None:
    frame = a_frame(size=(60, 40))
    done = blackout(frame, (LEFT_HALF,))
    assert not done.pixels[:, :31].any()
    assert np.array_equal(done.pixels[:, 33:], frame.pixels[:, 33:])
    assert (done.source, done.subject, done.taken_at, done.live) == (
        frame.source,
        frame.subject,
        frame.taken_at,
        frame.live,
    )


def test_the_frame_itself_is_not_touched() -> None:
    frame = a_frame(size=(60, 40))
    before = frame.pixels.copy()
    blackout(frame, (LEFT_HALF,))
    assert np.array_equal(frame.pixels, before)


def test_the_whole_picture_can_be_black() -> None:
    everything = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    for size in ((1, 1), (3, 200), (640, 480)):
        assert not blackout(white(size), (everything,)).pixels.any()


def test_polygons_that_overlap_do_not_cancel() -> None:
    done = blackout(white(), (LEFT_HALF, LEFT_HALF))
    assert not done.pixels[:, :30].any()


def test_a_polygon_without_area_is_a_black_line() -> None:
    line = ((0.1, 0.5), (0.9, 0.5), (0.1, 0.5))
    done = blackout(white(), (line,))
    assert not done.pixels[20, 6:54].any()
    assert done.pixels[5].all()


@given(polygon=polygons, size=st.tuples(st.integers(1, 90), st.integers(1, 90)))
def test_whatever_a_border_touches_is_black(
    polygon: tuple[Point, ...], size: tuple[int, int]
) -> None:
    done = blackout(white(size), (polygon,)).pixels
    width, height = size
    for (x1, y1), (x2, y2) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        along = np.linspace(0, 1, 200)
        columns = ((x1 + (x2 - x1) * along) * width).astype(int).clip(0, width - 1)
        rows = ((y1 + (y2 - y1) * along) * height).astype(int).clip(0, height - 1)
        assert not done[rows, columns].any()


@given(corners=st.lists(points, min_size=3, max_size=3).map(tuple))
def test_the_inside_of_a_triangle_is_black_and_what_is_far_is_not(
    corners: tuple[Point, ...],
) -> None:
    width, height = 80, 50
    done = blackout(white((width, height)), (corners,)).pixels[:, :, 0]
    (ax, ay), (bx, by), (cx, cy) = ((x * width, y * height) for x, y in corners)
    middle_x, middle_y = (ax + bx + cx) / 3, (ay + by + cy) / 3
    assert done[min(height - 1, int(middle_y)), min(width - 1, int(middle_x))] == 0
    rows, columns = np.mgrid[:height, :width] + 0.5
    outside = columns < min(ax, bx, cx) - 4
    outside |= columns > max(ax, bx, cx) + 4
    outside |= (rows < min(ay, by, cy) - 4) | (rows > max(ay, by, cy) + 4)
    assert (done[outside] == 255).all()
