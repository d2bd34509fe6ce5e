"""Write a network in fewer bits: half precision, or 8-bit integers around its convolutions.

The precision lives in the ONNX file, since TensorRT 11 takes it from nowhere else (strongly typed).
What comes out is a network like any other: float32 at both ends, so preparation, the decoder and
top-k of every form stay in float32. So does the network's own end, from its last convolutions on:
it decodes boxes, and half precision knows pixels beyond 512 to half a pixel only.

fp16
    Everything between, weights and arithmetic (IEEE 754 binary16).
int8
    Q/DQ pairs around convolutions: activations by tensor, weights by output channel, both
    symmetric (zero point 0), as TensorRT demands; biases stay float32. The first convolution and
    the last ones stay as they are. Ranges come from pictures of the place (calibration).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from edge.catalog.clean import clean, infer, shape_of
from edge.catalog.half import halved, tail_of
from edge.catalog.manifest import Input, Manifest
from edge.catalog.rewrite import drop_dead
from edge.errors import PartFailed

Precision = Literal["fp16", "int8"]

LEAST_PICTURES = 16
"""Fewer calibration pictures are refused: their ranges say more of them than of the place."""


def fp16(model: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
    """Return the network in half precision.

    Raises:
        PartFailed: it does not fit its manifest, or ``not_convertible``.

    """
    return _checked(halved(clean(model, manifest.input.size)), manifest, "fp16")


def int8(
    model: onnx.ModelProto, manifest: Manifest, pictures: Sequence[NDArray[np.uint8]]
) -> onnx.ModelProto:
    """Return the network with 8-bit convolutions.

    Args:
        model: the network as published.
        manifest: what is known of it.
        pictures: ``(h, w, 3)`` uint8 BGR at the model's input size, of places like those that it
            will look at. Ranges are the widest seen.

    Raises:
        PartFailed: it does not fit its manifest, ``few_pictures``, or ``not_convertible``.

    """
    if len(pictures) < LEAST_PICTURES:
        raise PartFailed(
            f"int8 needs at least {LEAST_PICTURES} calibration pictures: got {len(pictures)}",
            hint="take pictures of the place, with and without people, by day and by night",
            reason="few_pictures",
        )
    network = clean(model, manifest.input.size)
    drop_dead(network.graph)
    _name_nodes(network.graph)
    try:
        eight = _quantised(network, manifest.input, pictures)
    except (ValueError, RuntimeError) as error:
        raise _failed(manifest, "int8", error) from error
    return _checked(eight, manifest, "int8")


def _quantised(
    network: onnx.ModelProto, wanted: Input, pictures: Sequence[NDArray[np.uint8]]
) -> onnx.ModelProto:
    import onnxruntime.quantization as tools  # noqa: PLC0415 - heavy, and seldom wanted

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc] # it comes untyped
        """Hands the calibration one prepared picture after the other."""

        def __init__(self) -> None:
            self._feeds = _feeds(network.graph.input[0].name, wanted, pictures)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._feeds, None)

    with tempfile.TemporaryDirectory(prefix="edge-int8-") as place, _quiet():
        path = Path(place) / "int8.onnx"
        tools.quantize_static(
            network,
            path,
            Reader(),
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=_spared(network),
            per_channel=True,
            activation_type=tools.QuantType.QInt8,
            weight_type=tools.QuantType.QInt8,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                # TensorRT knows no 32-bit integer biases.
                "QuantizeBias": False,
                "DedicatedQDQPair": True,
                # Only what goes into a convolution: its result goes on as it is.
                "OpTypesToExcludeOutputQuantization": ["Conv"],
            },
        )
        return onnx.load(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tools' advice off the root logger: what they advise is done (``clean``)."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _feeds(
    name: str, wanted: Input, pictures: Sequence[NDArray[np.uint8]]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Prepare pictures as the canonical graph does."""
    std, mean = np.array(wanted.std, np.float64), np.array(wanted.mean, np.float64)
    factor, offset = wanted.scale / std, -mean / std
    for picture in pictures:
        planes = picture[..., ::-1] if wanted.colour == "RGB" else picture
        values = (planes * factor + offset).astype(np.float32).transpose(2, 0, 1)
        yield {name: np.ascontiguousarray(values[np.newaxis])}


def _spared(network: onnx.ModelProto) -> list[str]:
    """Name the convolutions that stay as they are.

    The first, and those that nothing heavy follows: what they say is read as numbers. Depthwise
    ones: a channel has nobody to share its error with (C80 of YOLOX-nano 0.78 without them, 0.19
    with). Those of one value a channel (squeeze and excite): nothing is won.
    """
    known = infer(network).graph
    shapes = {value.name: shape_of(value) for value in [*known.value_info, *known.output]}
    ends = {name for node in tail_of(network.graph) for name in node.input}
    ends |= {output.name for output in network.graph.output}
    convolutions = [node for node in network.graph.node if node.op_type == "Conv"]
    spared = [node for node in convolutions if ends.intersection(node.output) or _grouped(node)]
    spared += [node for node in convolutions if shapes.get(node.output[0], [])[2:] == [1, 1]]
    return sorted({node.name for node in [*convolutions[:1], *spared]})


def _grouped(node: onnx.NodeProto) -> bool:
    return any(a.name == "group" and a.i > 1 for a in node.attribute)


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Give every node a name of its own, by which it can be left out."""
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"


def _checked(model: onnx.ModelProto, manifest: Manifest, to: Precision) -> onnx.ModelProto:
    try:
        onnx.checker.check_model(model)
        infer(model)
    except (onnx.checker.ValidationError, PartFailed) as error:
        raise _failed(manifest, to, error) from error
    return model


def _failed(manifest: Manifest, to: Precision, error: Exception) -> PartFailed:
    text = str(error).strip().splitlines()
    return PartFailed(
        f"{manifest.id} cannot be written as {to}: {text[0][:200] if text else repr(error)}",
        hint="the model itself is as it was; keep using it",
        reason="not_convertible",
    )
