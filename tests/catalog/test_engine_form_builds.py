"""TensorRT's own parser and builder (TensorRT-RTX, which needs no GPU) on every form we make.

It shows that the forms are understood and can be built. Whether what is built sees anybody, only a
GPU can show.
"""

from __future__ import annotations

from typing import Any

import onnx
import pytest

from edge.catalog import quantize
from edge.catalog.engine_form import engine_form, engine_form_of
from edge.catalog.installed import Installed
from edge.catalog.recognise import load
from edge.stages.detect import prepare
from edge.stages.engines.onnx import OnnxEngine
from tests.catalog.conftest import Models
from tests.catalog.people import People
from tests.catalog.test_engine_form import HAVE_FORM

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trt() -> Any:
    return pytest.importorskip("tensorrt_rtx_bindings", reason="pip install -e .[dev]")


@pytest.fixture(scope="module")
def logger(trt: Any) -> Any:
    """Return one logger for all: the library keeps the first it is given."""
    return trt.Logger(trt.Logger.ERROR)


def build(trt: Any, logger: Any, body: bytes) -> tuple[Any, set[str]]:
    """Build a plan; return it and the types that its layers give."""
    builder = trt.Builder(logger)
    strongly = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(strongly)
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(body)
    assert parsed, [parser.get_error(index).desc() for index in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.builder_optimization_level = 0  # nothing runs it: it need not be fast
    _, *side = network.get_input(0).shape
    profile = builder.create_optimization_profile()
    profile.set_shape("image", (1, *side), (4, *side), (8, *side))
    if network.get_input(0).shape[0] == -1:
        assert config.add_optimization_profile(profile) == 0
    outputs = {
        network.get_output(i).name: network.get_output(i) for i in range(network.num_outputs)
    }
    assert network.get_input(0).dtype == trt.uint8
    assert {name: output.dtype for name, output in outputs.items()} == {
        "boxes": trt.float32,
        "scores": trt.float32,
        "labels": trt.int32,
    }
    assert all(-1 not in output.shape[1:] for output in outputs.values())
    layers = (network.get_layer(index) for index in range(network.num_layers))
    types = {str(layer.get_output(0).dtype) for layer in layers if layer.num_outputs}
    return builder.build_serialized_network(network, config), types


def form_of(network: onnx.ModelProto, installed: Installed) -> bytes:
    body: bytes = engine_form(network, installed.manifest).SerializeToString()
    return body


def source(installed: Installed) -> onnx.ModelProto:
    return load(installed.path.with_name("source.onnx").read_bytes(), installed.id)


@pytest.mark.parametrize("model", [model for model in HAVE_FORM if "_640" not in model])
def test_a_model_can_be_built_as_it_is_and_in_half_precision(
    model: str, models: Models, trt: Any, logger: Any
) -> None:
    installed = models(model)
    plan, types = build(trt, logger, engine_form_of(installed))
    assert plan is not None
    assert not types & {"DataType.HALF", "DataType.INT8"}
    half = quantize.fp16(source(installed), installed.manifest)
    plan, types = build(trt, logger, form_of(half, installed))
    assert plan is not None
    assert "DataType.HALF" in types


@pytest.mark.parametrize("model", ["fastestdet_352", "yolox_nano_416"])
def test_a_model_can_be_built_with_8_bit_convolutions(
    model: str, models: Models, people: People, trt: Any, logger: Any
) -> None:
    installed = models(model)
    info = OnnxEngine.open(installed.path).info
    pictures = [prepare(picture.frame.pixels, info)[0] for picture in people[:16]]
    eight = quantize.int8(source(installed), installed.manifest, pictures)
    plan, types = build(trt, logger, form_of(eight, installed))
    assert plan is not None
    assert "DataType.INT8" in types


def test_what_is_no_network_is_not_built(trt: Any, logger: Any) -> None:
    with pytest.raises(AssertionError, match="Failed to parse"):
        build(trt, logger, b"no network")
