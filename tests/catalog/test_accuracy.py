"""Every family against the table in the shared data's README, on the labelled pictures.

A wrong colour order, resize, normalisation or decoder raises no error anywhere: it shows here.
"""

from __future__ import annotations

import pytest

from edge.catalog.manifest import shipped_manifests
from edge.stages.engines.onnx import OnnxEngine
from tests.catalog.conftest import Models
from tests.catalog.people import People, look, measure

TABLE = {
    # id: threshold, AP50, recall, cover
    "picodet_s_416": (0.31, 0.714, 0.711, 0.829),
    "picodet_s_640": (0.33, 0.766, 0.783, 0.855),
    "yolox_nano_416": (0.10, 0.643, 0.664, 0.776),
    "yolox_nano_640": (0.21, 0.667, 0.651, 0.770),
    "nanodet_m_416": (0.27, 0.626, 0.632, 0.730),
    "person_detection_0202": (0.19, 0.612, 0.625, 0.711),
    "person_detection_retail_0013": (0.38, 0.431, 0.395, 0.526),
    "light_person_192": (0.10, 0.512, 0.520, 0.671),
    "fastestdet_352": (0.54, 0.563, 0.533, 0.717),
    # the network of yolox_nano_640 in other layouts, which does the same at this threshold
    "yolox_nano_640_v8": (0.25, 0.667, 0.625, 0.737),
    "yolox_nano_640_e2e": (0.25, 0.667, 0.625, 0.737),
}


def test_every_manifest_says_what_share_of_people_its_model_covers() -> None:
    told = {name: (one.threshold, one.cover) for name, one in shipped_manifests().items()}
    assert told == {name: (figures[0], figures[3]) for name, figures in TABLE.items()}


@pytest.mark.slow
@pytest.mark.parametrize("model", TABLE)
def test_a_model_is_as_accurate_as_it_was_measured(
    model: str, models: Models, people: People
) -> None:
    threshold, *expected = TABLE[model]
    engine = OnnxEngine.open(models(model).path, threshold=0.01)
    figures = measure(look(engine, people), people, threshold)
    engine.close()
    ap50, recall, cover = expected
    assert figures.ap50 == pytest.approx(ap50, abs=0.02)
    # Two of the 152 people: swapped colours cost PicoDet three, and NanoDet or YOLOX stretched
    # instead of letterboxed gain or lose as many.
    assert figures.recall == pytest.approx(recall, abs=0.0135)
    assert figures.cover == pytest.approx(cover, abs=0.0135)
