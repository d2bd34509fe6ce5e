from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from edge.catalog import quantize
from edge.catalog.clean import clean, infer
from edge.catalog.engine_form import engine_form_of
from edge.catalog.installed import Catalog
from edge.catalog.quantised import Pictures, quantise
from edge.catalog.recognise import load
from edge.errors import PartFailed
from edge.stages.detect import prepare
from edge.stages.engines.onnx import OnnxEngine
from tests.catalog.conftest import Models, Published
from tests.catalog.people import People

FAST = "fastestdet_352"
BEARS_NO_8_BITS = "picodet_s_416"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory, published: Published) -> Catalog:
    made = Catalog(tmp_path_factory.mktemp("models"))
    for model in (FAST, BEARS_NO_8_BITS):
        made.import_file(published(model))
    return made


def pictures_for(catalog: Catalog, model: str, people: People) -> Pictures:
    installed = catalog.find(model)
    assert installed
    info = OnnxEngine.open(installed.path).info
    return [prepare(picture.frame.pixels, info)[0] for picture in people]


def source(catalog: Catalog, model: str) -> onnx.ModelProto:
    return load((catalog.path / model / "source.onnx").read_bytes(), model)


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    known = infer(model).graph
    values = [*known.value_info, *known.input, *known.output]
    return {value.name: value.type.tensor_type.elem_type for value in values} | {
        tensor.name: tensor.data_type for tensor in known.initializer
    }


def test_half_precision_is_installed_as_a_model_of_its_own(
    catalog: Catalog, people: People
) -> None:
    done = quantise(
        catalog, FAST, "fp16", pictures_for(catalog, FAST, people[:20]), OnnxEngine.open
    )
    assert done.model.id == f"{FAST}_fp16"
    assert done.agreement.passed
    assert done.agreement.compared > 10
    assert done.bytes_after < 0.6 * done.bytes_before
    found = catalog.find(f"{FAST}_fp16")
    assert found
    assert found.manifest.labels == done.model.manifest.labels
    assert engine_form_of(found)


def test_in_half_precision_every_convolution_is_and_both_ends_are_not(catalog: Catalog) -> None:
    installed = catalog.find(BEARS_NO_8_BITS)
    assert installed
    model = quantize.fp16(source(catalog, BEARS_NO_8_BITS), installed.manifest)
    types = types_of(model)
    ends = [*model.graph.input, *model.graph.output]
    assert {types[value.name] for value in ends} == {TensorProto.FLOAT}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert {types[name] for node in convolutions for name in [*node.input, *node.output]} == {
        TensorProto.FLOAT16
    }


def test_weights_beyond_half_precision_become_its_largest_number(catalog: Catalog) -> None:
    installed = catalog.find(FAST)
    assert installed
    network = source(catalog, FAST)
    tensor = next(t for t in network.graph.initializer if len(t.dims) == 4)
    big = numpy_helper.to_array(tensor).copy()
    big.flat[0] = 1e6
    tensor.CopyFrom(numpy_helper.from_array(big, tensor.name))
    model = quantize.fp16(network, installed.manifest)
    halves = [
        numpy_helper.to_array(half)
        for half in model.graph.initializer
        if half.data_type == TensorProto.FLOAT16
    ]
    assert all(np.isfinite(half).all() for half in halves)
    assert max(half.max() for half in halves) == np.finfo(np.float16).max


def test_eight_bits_are_as_tensorrt_wants_them(catalog: Catalog, people: People) -> None:
    installed = catalog.find(FAST)
    assert installed
    pictures = pictures_for(catalog, FAST, people[:16])
    model = quantize.int8(source(catalog, FAST), installed.manifest, pictures)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    kinds = {"QuantizeLinear", "DequantizeLinear"}
    pairs = [node for node in model.graph.node if node.op_type in kinds]
    assert len(pairs) > 50
    for node in pairs:
        assert tensors[node.input[2]].dtype == np.int8
        assert not tensors[node.input[2]].any()
    by_output = {name: node for node in model.graph.node for name in node.output}
    eight = [
        node
        for node in model.graph.node
        if node.op_type == "Conv" and by_output.get(node.input[1]) is not None
    ]
    assert len(eight) > 20
    for node in eight:
        assert by_output[node.input[0]].op_type == "DequantizeLinear"
        weights = by_output[node.input[1]]
        assert tensors[weights.input[0]].dtype == np.int8
        assert tensors[weights.input[1]].shape == (tensors[weights.input[0]].shape[0],)
        assert all(tensors[name].dtype == np.float32 for name in node.input[2:])
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    assert first not in eight


def test_depthwise_convolutions_keep_their_precision(catalog: Catalog, people: People) -> None:
    installed = catalog.find(FAST)
    assert installed
    pictures = pictures_for(catalog, FAST, people[:16])
    model = quantize.int8(source(catalog, FAST), installed.manifest, pictures)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    depthwise = [
        node
        for node in model.graph.node
        if node.op_type == "Conv" and any(a.name == "group" and a.i > 1 for a in node.attribute)
    ]
    assert depthwise
    assert all(node.input[1] in tensors for node in depthwise)


def test_a_model_that_bears_8_bits_is_installed(catalog: Catalog, people: People) -> None:
    pictures = pictures_for(catalog, FAST, people)
    done = quantise(catalog, FAST, "int8", pictures, OnnxEngine.open)
    assert done.model.id == f"{FAST}_int8"
    assert done.agreement.found >= 0.95 * done.agreement.compared


@pytest.mark.slow
def test_a_model_that_sees_fewer_people_in_8_bits_is_not_installed(
    catalog: Catalog, people: People
) -> None:
    pictures = pictures_for(catalog, BEARS_NO_8_BITS, people[:40])
    with pytest.raises(PartFailed, match="does not see what") as caught:
        quantise(catalog, BEARS_NO_8_BITS, "int8", pictures, OnnxEngine.open)
    assert caught.value.reason == "no_parity"
    assert catalog.find(f"{BEARS_NO_8_BITS}_int8") is None


def test_few_pictures_are_refused(catalog: Catalog, people: People) -> None:
    pictures = pictures_for(catalog, FAST, people[:20])
    with pytest.raises(PartFailed, match="16 calibration pictures: got 10") as caught:
        quantise(catalog, FAST, "int8", pictures, OnnxEngine.open)
    assert caught.value.reason == "few_pictures"


def test_what_is_quantised_already_is_not_quantised_again(catalog: Catalog, people: People) -> None:
    pictures = pictures_for(catalog, FAST, people[:20])
    quantise(catalog, FAST, "fp16", pictures, OnnxEngine.open)
    with pytest.raises(PartFailed, match="already") as caught:
        quantise(catalog, f"{FAST}_fp16", "fp16", pictures, OnnxEngine.open)
    assert caught.value.reason == "quantised_already"


def test_a_model_that_no_gpu_could_run_is_refused_before_the_work(
    tmp_path: Path, published: Published
) -> None:
    own_nms = Catalog(tmp_path)
    own_nms.import_file(published("yolox_nano_640_e2e"))
    with pytest.raises(PartFailed, match="NonMaxSuppression") as caught:
        quantise(own_nms, "yolox_nano_640_e2e", "fp16", [], OnnxEngine.open)
    assert caught.value.reason == "no_engine_form"


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PartFailed, match="site is not installed"):
        quantise(Catalog(tmp_path), "site", "fp16", [], OnnxEngine.open)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["picodet_s_416", "nanodet_m_416", "person_detection_0202"])
def test_half_precision_takes_no_node_twice_and_leaves_none_out(model: str, models: Models) -> None:
    installed = models(model)
    network = load(installed.path.with_name("source.onnx").read_bytes(), model)
    before = clean(network, installed.manifest.input.size)
    after = quantize.fp16(network, installed.manifest)
    kept = [node.op_type for node in after.graph.node if not node.name.endswith("/cast")]
    assert kept == [node.op_type for node in before.graph.node]
