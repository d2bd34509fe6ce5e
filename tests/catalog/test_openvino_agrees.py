"""Every model that ships, on OpenVINO against ONNX Runtime, on the labelled pictures."""

from __future__ import annotations

import pytest

from edge.catalog.parity import agreement
from edge.engine_status import Agreement
from edge.stages.detect import prepare
from edge.stages.engines.onnx import OnnxEngine
from edge.stages.engines.openvino import OpenVinoEngine
from tests.catalog.conftest import Models
from tests.catalog.people import People

MODELS = (
    "picodet_s_416",
    "yolox_nano_416",
    "yolox_nano_640",
    "yolox_nano_640_v8",
    "yolox_nano_640_e2e",
    "nanodet_m_416",
    "person_detection_0202",
    "person_detection_retail_0013",
    "light_person_192",
    "fastestdet_352",
)
WRONG = "picodet_s_640"
PICTURES = 8


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_model_sees_the_same_people_on_openvino(
    model: str, models: Models, people: People
) -> None:
    agrees = compared(model, models, people)
    assert agrees.passed, agrees.text
    assert agrees.score < 0.001
    assert agrees.overlap > 0.99
    assert agrees.compared >= PICTURES / 2


@pytest.mark.slow
def test_the_parity_gate_finds_the_model_that_openvino_gets_wrong(
    models: Models, people: People
) -> None:
    """OpenVINO 2026.4.1 loses nearly everyone, without a word. Where this fails, it was mended."""
    agrees = compared(WRONG, models, people)
    assert not agrees.passed
    assert agrees.found < agrees.compared / 2


def compared(model: str, models: Models, people: People) -> Agreement:
    path = models(model).path
    reference = OnnxEngine.open(path)
    pictures = [prepare(one.frame.pixels, reference.info)[0] for one in people[:PICTURES]]
    return agreement(reference, OpenVinoEngine.open(path), pictures)
