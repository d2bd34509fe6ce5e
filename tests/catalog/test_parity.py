from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.catalog.parity import CLOSE, EIGHT_BIT, agreement
from edge.detections import Detections, EngineInfo
from edge.engine_status import Agreement
from edge.errors import PartFailed

Row = tuple[float, float, float, float, float]
"""x1 y1 x2 y2 score."""

INFO = EngineInfo(
    name="onnx",
    model="tiny",
    digest="",
    input_size=(32, 32),
    resize="stretch",
    pad=0,
    threshold=0.3,
    labels=("person", "rider"),
)
FAR = [(20.0 * i, 0.0, 20.0 * i + 10, 20.0, 0.9 - i / 100) for i in range(20)]
PICTURES = [np.full((32, 32, 3), value, np.uint8) for value in range(7)]


class Says:
    """Sees the same in every picture, but for those that are named."""

    def __init__(
        self, *rows: Row, label: int = 0, except_in: dict[int, list[Row]] | None = None
    ) -> None:
        self.info = INFO
        self.sizes: list[int] = []
        self._rows, self._label, self._except = list(rows), label, except_in or {}

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        assert len(batch) == len(sources)
        self.sizes.append(len(batch))
        return [self._see(int(picture.flat[0])) for picture in batch]

    def _see(self, picture: int) -> Detections:
        rows = np.array(self._except.get(picture, self._rows), np.float32).reshape(-1, 5)
        rows = rows[rows[:, 4] >= np.float32(self.info.threshold)]
        labels = np.full(len(rows), self._label, np.int32)
        return Detections(boxes=rows[:, :4], scores=rows[:, 4], labels=labels)

    def close(self) -> None:
        pass


def compare(reference: Says, engine: Says) -> Agreement:
    return agreement(reference, engine, PICTURES)


def test_an_engine_that_says_the_same_agrees() -> None:
    found = compare(Says(*FAR), Says(*FAR))
    assert found.passed
    assert (found.pictures, found.compared, found.found) == (7, 140, 140)
    assert (found.score, found.overlap) == (0, 1)


def test_one_person_lost_in_one_picture_of_seven_fails_and_is_named() -> None:
    found = compare(Says(*FAR), Says(*FAR, except_in={5: FAR[1:]}))
    assert not found.passed
    assert (found.compared, found.found) == (140, 139)
    assert "0.90 in picture 6" in found.text


def test_somebody_at_the_threshold_may_be_lost() -> None:
    near: Row = (500, 0, 510, 20, INFO.threshold + CLOSE.near / 2)
    assert compare(Says(*FAR, near), Says(*FAR)).passed


def test_somebody_just_above_that_may_not() -> None:
    clear: Row = (500, 0, 510, 20, INFO.threshold + CLOSE.near * 1.5)
    assert not compare(Says(*FAR, clear), Says(*FAR)).passed


def test_a_reference_that_sees_nobody_shows_nothing() -> None:
    found = compare(Says(), Says())
    assert not found.passed
    assert "nobody" in found.text


def test_no_pictures_show_nothing() -> None:
    assert not agreement(Says(*FAR), Says(*FAR), []).passed


def test_one_box_is_not_two_people() -> None:
    pair: list[Row] = [(0, 0, 10, 20, 0.9), (1, 0, 11, 20, 0.8)]
    found = compare(Says(*pair), Says(pair[0]))
    assert not found.passed
    assert (found.compared, found.found) == (14, 7)


def test_another_label_is_somebody_else() -> None:
    assert not compare(Says(*FAR), Says(*FAR, label=1)).passed


@pytest.mark.parametrize(
    ("changed", "said"), [((2.5, 0, 12.5, 20, 0.9), "overlap"), ((0, 0, 10, 20, 0.7), "scores")]
)
def test_a_box_or_a_score_that_is_off_fails(changed: Row, said: str) -> None:
    found = compare(Says(*FAR), Says(changed, *FAR[1:]))
    assert not found.passed
    assert said in found.text


def test_an_engine_that_sees_people_everywhere_fails() -> None:
    ghosts: list[Row] = [(20.0 * i, 100, 20.0 * i + 10, 120, 0.9) for i in range(10)]
    found = compare(Says(*FAR), Says(*FAR, *ghosts))
    assert not found.passed
    assert "does not see" in found.text


def test_eight_bits_may_lose_one_of_twenty_but_not_two() -> None:
    for lost, passes in ((1, True), (2, False)):
        found = agreement(Says(*FAR), Says(*FAR[lost:]), PICTURES, EIGHT_BIT)
        assert found.passed is passes


def test_the_engine_gets_batches_of_several_sizes_and_the_reference_one_by_one() -> None:
    reference, engine = Says(*FAR), Says(*FAR)
    compare(reference, engine)
    assert engine.sizes == [1, 2, 4]
    assert reference.sizes == [1] * 7


def test_an_engine_that_mixes_up_a_batch_fails() -> None:
    class Mixed(Says):
        def infer(
            self, batch: NDArray[np.uint8], sources: Sequence[str | None]
        ) -> list[Detections]:
            return super().infer(batch, sources)[::-1]

    other = {1: FAR[:10]}
    assert not compare(Says(*FAR, except_in=other), Mixed(*FAR, except_in=other)).passed


def test_too_few_answers_are_a_failure() -> None:
    class Short(Says):
        def infer(
            self, batch: NDArray[np.uint8], sources: Sequence[str | None]
        ) -> list[Detections]:
            return super().infer(batch, sources)[:1]

    with pytest.raises(PartFailed, match="1 answers to 2 pictures"):
        compare(Says(*FAR), Short(*FAR))


def test_engines_of_two_sizes_cannot_be_compared() -> None:
    other = Says(*FAR)
    other.info = replace(INFO, input_size=(64, 64))
    with pytest.raises(PartFailed, match="cannot be compared"):
        compare(Says(*FAR), other)
