from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.detections import Detections, EngineInfo
from edge.errors import PartFailed, Withheld
from edge.frame import Frame
from edge.stages.detect import detect
from tests.stages.parts import INFO, a_frame

Answer = Callable[[NDArray[np.uint8]], Any]


class AskedEngine:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self, answer: Answer, **info: Any) -> None:
        self.info: EngineInfo = replace(INFO, **info)
        self._answer = answer
        self.batch: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self.sources: Sequence[str | None] = ()

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        self.batch, self.sources = batch, sources
        answer: list[Detections] = self._answer(batch)
        return answer

    def close(self) -> None:
        pass


def boxes(*rows: tuple[float, ...], scores: Sequence[float] = (), **other: Any) -> Detections:
    n = len(rows)
    values: dict[str, Any] = {
        "boxes": np.array(rows, np.float32).reshape(n, 4),
        "scores": np.array(scores or [0.9] * n, np.float32),
        "labels": np.zeros(n, np.int32),
    }
    return Detections(**{**values, **other})


def bright(batch: NDArray[np.uint8]) -> list[Detections]:
    """See a person around whatever is white."""
    rows, columns = np.nonzero(batch[0, :, :, 0] > 200)
    return [boxes((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))]


def spotted(size: tuple[int, int], spot: tuple[int, int, int, int]) -> Frame:
    frame = a_frame(size=size)
    pixels = np.zeros_like(frame.pixels)
    x1, y1, x2, y2 = spot
    pixels[y1:y2, x1:x2] = 255
    return replace(frame, pixels=pixels)


def test_nobody_seen_is_an_empty_sighting_of_the_frame() -> None:
    frame = a_frame()
    engine = AskedEngine(lambda _: [Detections.none()])
    sighting = detect(frame, engine)
    assert sighting.frame is frame
    assert sighting.engine is engine.info
    assert len(sighting.detections) == 0


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", [(640, 480), (480, 640), (64, 48), (30, 20), (1920, 400)])
def test_a_box_comes_back_to_where_the_person_is(resize: str, size: tuple[int, int]) -> None:
    width, height = size
    spot = (width // 4, height // 4, width // 2, height * 3 // 4)
    engine = AskedEngine(bright, resize=resize, input_size=(416, 320), pad=114)
    found = detect(spotted(size, spot), engine).detections
    step = max(width / 416, height / 320, 1) * 1.6
    assert found.boxes.dtype == np.float32
    assert np.abs(found.boxes[0] - spot).max() <= step


def test_a_letterbox_is_top_left_and_padded() -> None:
    engine = AskedEngine(
        lambda _: [Detections.none()], resize="letterbox", input_size=(100, 100), pad=114
    )
    detect(spotted((200, 100), (0, 0, 200, 100)), engine)
    assert len(engine.batch) == 1
    assert (engine.batch[0, :50] == 255).all()
    assert (engine.batch[0, 50:] == 114).all()


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", [(3, 8000), (8000, 3), (1, 1), (1, 5000)])
def test_pictures_of_any_shape_are_looked_at(resize: str, size: tuple[int, int]) -> None:
    engine = AskedEngine(
        lambda batch: [boxes((0, 0, batch.shape[2], batch.shape[1]))], resize=resize
    )
    found = detect(a_frame(size=size), engine).detections
    assert (found.boxes[0, 2:] >= size).all()


def test_a_live_frame_has_a_name_and_a_single_picture_has_none() -> None:
    engine = AskedEngine(lambda _: [Detections.none()])
    frame = a_frame("gate")
    detect(frame, engine)
    assert list(engine.sources) == ["gate"]
    detect(replace(frame, live=False), engine)
    assert list(engine.sources) == [None]


def test_scores_below_the_threshold_are_not_people() -> None:
    engine = AskedEngine(
        lambda _: [boxes((0, 0, 9, 9), (1, 1, 5, 5), (2, 2, 3, 3), scores=(0.5, 0.499, 0.9))],
        threshold=0.5,
    )
    assert detect(a_frame(), engine).detections.scores.tolist() == pytest.approx([0.5, 0.9])


def test_masks_come_back_larger_never_smaller() -> None:
    mask = np.zeros((1, 48, 64), np.bool_)
    mask[0, 24, 10:30] = True  # one row high
    seen = boxes((10, 24, 30, 25), masks=mask)
    for size in ((640, 480), (100, 30), (20, 20), (9, 500)):
        found = detect(a_frame(size=size), AskedEngine(lambda _: [seen])).detections
        assert found.masks is not None
        assert found.masks.shape == (1, size[1], size[0])
        for column in range(10, 30):
            x1, x2 = column * size[0] / 64, (column + 1) * size[0] / 64
            y1, y2 = 24 * size[1] / 48, 25 * size[1] / 48
            part = found.masks[0][int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))]
            assert part.all()


def test_a_letterboxed_mask_lies_where_the_box_lies() -> None:
    mask = np.zeros((1, 100, 100), np.bool_)
    mask[0, 10:40, 20:60] = True
    seen = boxes((20, 10, 60, 40), masks=mask)
    engine = AskedEngine(lambda _: [seen], resize="letterbox", input_size=(100, 100))
    found = detect(a_frame(size=(200, 100)), engine).detections
    assert found.masks is not None
    rows, columns = np.nonzero(found.masks[0])
    extent = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.abs(found.boxes[0] - extent).max() <= 4


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: [],
        lambda _: [Detections.none()] * 2,
        lambda _: None,
        lambda _: (Detections.none(),),
        lambda _: [np.zeros((0, 4), np.float32)],
        lambda _: [[]],
        lambda _: [boxes((0, 0, 1, 1), labels=np.ones(1, np.int32))],
        lambda _: [boxes((0, 0, 1, 1), labels=np.full(1, -1, np.int32))],
        lambda _: [boxes((0, 0, 1, 1), masks=np.ones((1, 5, 5), np.bool_))],
        lambda _: [boxes((0, 0, np.nan, 1))],
        lambda _: [boxes((5, 0, 1, 1))],
        lambda _: [boxes((0, 0, 1, 1), scores=(1.5,))],
    ],
)
def test_an_answer_that_breaks_the_contract_is_a_broken_engine(answer: Answer) -> None:
    with pytest.raises(PartFailed) as caught:
        detect(a_frame(), AskedEngine(answer))
    assert caught.value.reason == "engine_answer"


def test_an_engine_that_wants_an_unknown_resize_is_broken() -> None:
    with pytest.raises(PartFailed):
        detect(a_frame(), AskedEngine(lambda _: [Detections.none()], resize="crop"))


@pytest.mark.parametrize("error", [Withheld("nobody can tell"), PartFailed("out of order")])
def test_what_the_engine_raises_is_not_nobody(error: Exception) -> None:
    def fail(_: NDArray[np.uint8]) -> list[Detections]:
        raise error

    with pytest.raises(type(error)) as caught:
        detect(a_frame(), AskedEngine(fail))
    assert caught.value is error
