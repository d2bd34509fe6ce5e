from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper

from edge.catalog.clean import shape_of
from edge.catalog.engine_form import MOST, engine_form, engine_form_of
from edge.catalog.manifest import Manifest
from edge.errors import PartFailed
from edge.stages.engines.suppress import suppress
from tests.catalog import tiny
from tests.catalog.conftest import Models
from tests.catalog.people import People
from tests.catalog.test_accuracy import TABLE
from tests.catalog.tiny import Person

Arrays = list[np.ndarray[Any, Any]]
TRAFFIC = 12
"""Pictures of people-dev that every model is shown."""
HAVE_FORM = [model for model in TABLE if model != "yolox_nano_640_e2e"]


def run(body: bytes, batch: np.ndarray[Any, Any]) -> Arrays:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(body, options, providers=["CPUExecutionProvider"])
    found: Arrays = session.run(["boxes", "scores", "labels"], {"image": batch})
    return found


def form(network: onnx.ModelProto | None = None, **changes: Any) -> bytes:
    body: bytes = engine_form(
        network or tiny.network(), tiny.manifest(**changes)
    ).SerializeToString()
    return body


def test_every_shape_but_the_number_of_pictures_is_known() -> None:
    model = onnx.load_from_string(form())
    onnx.checker.check_model(model, full_check=True)
    assert shape_of(model.graph.input[0]) == [None, tiny.SIDE, tiny.SIDE, 3]
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    shapes = {value.name: shape_of(value) for value in model.graph.output}
    cells = tiny.CELLS
    assert shapes == {
        "boxes": [None, cells, 4],
        "scores": [None, cells],
        "labels": [None, cells],
    }
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"NonMaxSuppression", "Shape", "NonZero"}


def test_it_says_that_it_is_the_engine_form_and_all_that_the_canonical_graph_says() -> None:
    facts = {prop.key: prop.value for prop in onnx.load_from_string(form()).metadata_props}
    assert facts["edge.form"] == "engine"
    assert facts["edge.k"] == str(tiny.CELLS)
    assert facts["edge.id"] == "tiny"
    assert json.loads(facts["edge.labels"]) == ["person"]


def test_the_picture_is_cast_before_anything_else() -> None:
    model = onnx.load_from_string(form())
    (first,) = [node for node in model.graph.node if "image" in node.input]
    assert first.op_type == "Cast"


def test_suppressing_it_gives_what_the_canonical_graph_gives(tmp_path: Path) -> None:
    three = (
        Person(),
        Person(centre=(17.0, 16.0), share=0.8),
        Person(centre=(30.0, 4.0), share=0.6),
    )
    network = tiny.network(three)
    boxes, scores, labels = run(form(network), tiny.picture(n=2))
    expected = run(tiny.write(tmp_path / "m.onnx", network).read_bytes(), tiny.picture(n=2))
    for row in range(2):
        keep = suppress(boxes[row], scores[row], labels[row], 0.5, 0.01)
        assert np.where(keep, scores[row], 0) == pytest.approx(expected[1][row])
        assert boxes[row] == pytest.approx(expected[0][row])


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_makes_every_score_none(broken: float) -> None:
    network = tiny.network((Person(), Person(share=0.5)))
    (tensor,) = [t for t in network.graph.initializer if t.name == "bias16"]
    bias = numpy_helper.to_array(tensor).copy().reshape(5, tiny.CELLS)
    bias[4, 7] = broken
    tensor.CopyFrom(numpy_helper.from_array(bias.reshape(-1), "bias16"))
    assert np.isnan(run(form(network), tiny.picture())[1]).all()


def test_nothing_in_it_hangs_on_zero_times_not_a_number() -> None:
    # TensorRT may take 0 * x for 0.
    model = onnx.load_from_string(form())
    zeros = {t.name for t in model.graph.initializer if not numpy_helper.to_array(t).any()}
    products = [node for node in model.graph.node if node.op_type == "Mul"]
    assert not [node for node in products if zeros.intersection(node.input)]


def test_a_network_with_its_own_nms_is_refused_and_told_what_helps(models: Models) -> None:
    with pytest.raises(PartFailed, match="NonMaxSuppression") as caught:
        engine_form_of(models("yolox_nano_640_e2e"))
    assert caught.value.reason == "no_engine_form"
    assert "without its NMS" in caught.value.hint


def test_it_is_the_same_bytes_every_time(models: Models) -> None:
    model = models("picodet_s_416")
    assert engine_form_of(model) == engine_form_of(model)


def test_a_source_that_is_not_what_was_installed_is_refused(tmp_path: Path) -> None:
    from edge.catalog.installed import Catalog

    file = tmp_path / "tiny.onnx"
    body = tiny.network().SerializeToString()
    file.write_bytes(body)
    known: Manifest = tiny.manifest(body)
    installed = Catalog(tmp_path / "models", manifests={"tiny": known}).import_file(file)
    assert engine_form_of(installed)
    installed.path.with_name("source.onnx").write_bytes(body[:-1])
    with pytest.raises(PartFailed, match="not what was installed") as caught:
        engine_form_of(installed)
    assert caught.value.reason == "model_damaged"


@pytest.mark.slow
@pytest.mark.parametrize("model", HAVE_FORM)
def test_every_shipped_model_sees_in_both_forms_the_same(
    model: str, models: Models, people: People
) -> None:
    from edge.stages.detect import prepare
    from edge.stages.engines.onnx import OnnxEngine

    installed = models(model)
    info = OnnxEngine.open(installed.path).info
    iou = installed.manifest.nms_iou
    body, reference = engine_form_of(installed), installed.path.read_bytes()
    for picture in people[:TRAFFIC]:
        batch = prepare(picture.frame.pixels, info)[0][np.newaxis]
        boxes, scores, labels = (array[0] for array in run(body, batch))
        there = [array[0][:MOST] for array in run(reference, batch)]
        keep = suppress(boxes, scores, labels, iou, 0.01)
        assert np.array_equal(np.where(keep, scores, 0), there[1])
        assert np.array_equal(boxes, there[0])
        assert np.array_equal(labels, there[2])
