from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from edge.catalog.canonical import FLOOR, canonical
from edge.catalog.clean import shape_of
from edge.catalog.manifest import CANONICAL_VERSION
from edge.errors import PartFailed
from edge.stages.engines import canonical_form as engine
from edge.stages.engines.onnx import OnnxEngine
from tests.catalog import tiny
from tests.catalog.tiny import Person


def look(path: Path, brightness: int = 255, n: int = 1) -> list[np.ndarray[Any, Any]]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found: list[np.ndarray[Any, Any]] = session.run(
        ["boxes", "scores", "labels"], {"image": tiny.picture(brightness, n)}
    )
    return found


def test_the_form_is_as_documented() -> None:
    model = canonical(tiny.network(), tiny.manifest())
    onnx.checker.check_model(model, full_check=True)
    (image,) = model.graph.input
    assert image.name == "image"
    assert image.type.tensor_type.elem_type == TensorProto.UINT8
    assert shape_of(image) == [None, tiny.SIDE, tiny.SIDE, 3]
    outputs = {o.name: o.type.tensor_type.elem_type for o in model.graph.output}
    assert outputs == {
        "boxes": TensorProto.FLOAT,
        "scores": TensorProto.FLOAT,
        "labels": TensorProto.INT32,
    }
    assert max(o.version for o in model.opset_import) >= 13


def test_the_file_says_all_that_an_engine_must_know() -> None:
    model = canonical(tiny.network(), tiny.manifest())
    facts = {prop.key: prop.value for prop in model.metadata_props}
    assert facts["edge.canonical"] == str(CANONICAL_VERSION) == engine.CANONICAL_VERSION
    assert facts["edge.id"] == "tiny"
    assert facts["edge.labels"] == '["person"]'
    assert facts["edge.source_sha256"] == tiny.manifest().sha256
    assert facts["edge.resize"] == "stretch"


def test_shapes_depend_on_the_number_of_pictures_only(tmp_path: Path) -> None:
    path = tiny.write(tmp_path / "m.onnx")
    for brightness in (0, 255):
        boxes, scores, labels = look(path, brightness, n=2)
        assert (boxes.shape, scores.shape, labels.shape) == (
            (2, tiny.CELLS, 4),
            (2, tiny.CELLS),
            (2, tiny.CELLS),
        )


def test_the_weaker_of_two_boxes_on_one_person_gets_score_0_and_keeps_its_place(
    tmp_path: Path,
) -> None:
    pair = (Person(), Person(centre=(17.0, 16.0), share=0.8), Person(centre=(30.0, 4.0), share=0.6))
    _, scores, _ = look(tiny.write(tmp_path / "m.onnx", tiny.network(pair)))
    assert scores[0, :4] == pytest.approx([1.0, 0.0, 0.6, 0.0])


def test_boxes_that_overlap_less_than_the_limit_both_stay(tmp_path: Path) -> None:
    pair = (Person(), Person(centre=(17.0, 16.0), share=0.8))
    path = tiny.write(tmp_path / "m.onnx", tiny.network(pair), nms_iou=0.95)
    assert look(path)[1][0, :2] == pytest.approx([1.0, 0.8])


def test_scores_below_the_floor_are_nothing(tmp_path: Path) -> None:
    path = tiny.write(tmp_path / "m.onnx", tiny.network((Person(share=FLOOR / 2),)))
    assert look(path)[1].max() == 0


def test_only_wanted_labels_are_seen_and_named_by_their_place_in_the_list(tmp_path: Path) -> None:
    everyone = tuple(
        Person(centre=(4.0 + 12 * kind, 8.0), size=(6.0, 6.0), label=kind, share=0.9 - kind / 10)
        for kind in range(3)
    )
    network = tiny.network(everyone, classes=3)
    path = tiny.write(tmp_path / "m.onnx", network, labels={"dog": 2, "person": 0})
    engine = OnnxEngine.open(path)
    assert engine.info.labels == ("dog", "person")
    (seen,) = engine.infer(tiny.picture(), [None])
    assert [engine.info.labels[label] for label in seen.labels] == ["person", "dog"]


def test_people_of_different_labels_do_not_suppress_each_other(tmp_path: Path) -> None:
    both = (Person(label=0), Person(label=1, share=0.8), Person(label=1, share=0.7))
    network = tiny.network(both, classes=2)
    path = tiny.write(tmp_path / "m.onnx", network, labels={"worker": 0, "driver": 1})
    (seen,) = OnnxEngine.open(path).infer(tiny.picture(), [None])
    assert seen.labels.tolist() == [0, 1]
    assert seen.boxes.tolist() == [list(tiny.MIDDLE)] * 2


def test_colour_order_scale_mean_and_std_are_applied_in_the_networks_order(tmp_path: Path) -> None:
    # The network adds up what it gets: (x * 0.5 - mean) / std of R 10, G 20, B 40.
    how = {
        "width": tiny.SIDE,
        "height": tiny.SIDE,
        "resize": "stretch",
        "colour": "RGB",
        "scale": 0.5,
        "mean": (1.0, 2.0, 3.0),
        "std": (1.0, 2.0, 4.0),
    }
    path = tiny.write(tmp_path / "m.onnx", tiny.network((Person(share=3 * 255 / 100),)), input=how)
    picture = np.empty((1, tiny.SIDE, tiny.SIDE, 3), np.uint8)
    picture[...] = (40, 20, 10)
    expected = ((5 - 1) / 1 + (10 - 2) / 2 + (20 - 3) / 4) / 100
    (seen,) = OnnxEngine.open(path, threshold=0.01).infer(picture, [None])
    assert seen.scores == pytest.approx([expected], abs=1e-5)


def test_a_network_of_another_family_is_named_with_what_was_found() -> None:
    with pytest.raises(PartFailed) as caught:
        canonical(tiny.network(), tiny.manifest(family="picodet"))
    assert "expected 4 score maps" in str(caught.value)
    assert "output0 [?, 5, 21]" in str(caught.value)


def test_a_label_that_the_network_does_not_have_is_named() -> None:
    with pytest.raises(PartFailed, match=r"has 1 classes.*\{'person': 1\}"):
        canonical(tiny.network(), tiny.manifest(labels={"person": 1}))
