from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.stages.redact_methods import blur, cell_grid, cells, draw, fill, grid_shape

sides = st.integers(1, 5000)


@given(rows=sides, columns=sides)
def test_a_grid_has_32_cells_at_most_and_none_is_tiny(rows: int, columns: int) -> None:
    down, across = grid_shape(rows, columns)
    assert 1 <= down * across <= 32
    assert down == 1 or rows / down >= 4
    assert across == 1 or columns / across >= 4


@pytest.mark.parametrize(
    ("size", "grid"),
    [((320, 120), (10, 3)), ((100, 100), (5, 6)), ((1080, 1920), (4, 8)), ((8, 8), (2, 2))],
)
def test_cells_are_nearly_square(size: tuple[int, int], grid: tuple[int, int]) -> None:
    assert grid_shape(*size) == grid


@given(rows=st.integers(1, 200), columns=st.integers(1, 200), masked=st.booleans())
def test_cells_are_drawn_from_384_bits(rows: int, columns: int, masked: bool) -> None:
    rng = np.random.default_rng(rows * 1000 + columns)
    patch = rng.integers(0, 256, (rows, columns, 3), np.uint8)
    mask = rng.integers(0, 2, (rows, columns), np.uint8) if masked else None
    grid = cell_grid(patch, mask)
    assert grid.size * 4 <= 384
    assert not (grid % 17).any()  # 16 levels
    assert np.array_equal(cells(patch, mask), draw(grid, rows, columns))


def test_a_colour_stays_about_the_same() -> None:
    patch = np.full((90, 40, 3), (30, 120, 210), np.uint8)
    for method in (cells, blur):
        assert np.abs(method(patch, None).astype(int) - patch).max() <= 8


def test_fill_is_one_colour() -> None:
    drawn = fill(np.zeros((7, 5, 3), np.uint8), (1, 2, 3))
    assert drawn.tolist() == [[[1, 2, 3]] * 5] * 7


def test_a_mask_without_a_pixel_is_drawn_black() -> None:
    patch = np.full((50, 50, 3), 200, np.uint8)
    assert not cells(patch, np.zeros((50, 50), np.uint8)).any()


def test_a_blur_leaves_no_edge() -> None:
    patch = np.zeros((200, 100, 3), np.uint8)
    patch[:, 50:] = 255
    steps = np.abs(np.diff(blur(patch, None).astype(int), axis=1))
    assert steps.max() < 20
