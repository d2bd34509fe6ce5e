"""The decoders in the graph against plain decoders in NumPy, written from the models' facts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from edge.catalog.manifest import Manifest
from edge.stages.engines.onnx import OnnxEngine
from tests.catalog.conftest import Models, Published
from tests.catalog.people import People

Array = NDArray[np.float32]
Decoded = tuple[Array, Array]
"""Boxes ``(a, 4)`` in input pixels and the scores of a person ``(a,)``."""

THRESHOLD = 0.2


def prepare(picture: NDArray[np.uint8], manifest: Manifest) -> Array:
    """Write ``(h, w, 3)`` uint8 BGR as the network wants it: ``(1, 3, h, w)`` float32."""
    how = manifest.input
    colours = picture[..., ::-1] if how.colour == "RGB" else picture
    value = (colours.astype(np.float64) * how.scale - how.mean) / how.std
    return value.transpose(2, 0, 1)[np.newaxis].astype(np.float32)


def cells(side: int, stride: int) -> Array:
    count = -(-side // stride)
    return np.array([(x, y) for y in range(count) for x in range(count)], np.float32)


def gfl(outputs: list[Array], manifest: Manifest) -> Decoded:
    levels = len(outputs) // 2
    boxes, scores = [], []
    for level, (cls, dis) in enumerate(zip(outputs[:levels], outputs[levels:], strict=True)):
        stride = 8 * 2**level
        power = np.exp(dis[0].reshape(-1, 4, 8).astype(np.float64))
        reach = (power / power.sum(2, keepdims=True)) @ np.arange(8) * stride
        centre = (cells(manifest.input.width, stride) + 0.5) * stride
        boxes.append(np.concatenate([centre - reach[:, :2], centre + reach[:, 2:]], 1))
        scores.append(cls[0, :, 0])
    return np.concatenate(boxes).astype(np.float32), np.concatenate(scores)


def yolox(outputs: list[Array], manifest: Manifest) -> Decoded:
    raw, side = outputs[0][0], manifest.input.width
    grid = np.concatenate([cells(side, stride) for stride in (8, 16, 32)])
    stride = np.concatenate([np.full((len(cells(side, s)), 1), s) for s in (8, 16, 32)])
    centre, half = (raw[:, :2] + grid) * stride, np.exp(raw[:, 2:4]) * stride / 2
    return np.concatenate([centre - half, centre + half], 1), raw[:, 4] * raw[:, 5]


def v8(outputs: list[Array], _: Manifest) -> Decoded:
    centre, half = outputs[0][0, :2].T, outputs[0][0, 2:4].T / 2
    return np.concatenate([centre - half, centre + half], 1), outputs[0][0, 4]


def end_to_end(outputs: list[Array], _: Manifest) -> Decoded:
    boxes, scores, labels = outputs
    return boxes[labels == 0], scores[labels == 0]


def ssd(outputs: list[Array], manifest: Manifest) -> Decoded:
    size = np.array(manifest.input.size * 2, np.float32)
    return outputs[0][0] * size, outputs[1][0, :, manifest.labels["person"]]


def fastestdet(outputs: list[Array], manifest: Manifest) -> Decoded:
    raw = outputs[0][0].reshape(85, -1).T
    centre = (np.tanh(raw[:, 1:3]) + cells(manifest.input.width, 16)) * 16
    half = manifest.input.width / (1 + np.exp(-raw[:, 3:5])) / 2
    return np.concatenate([centre - half, centre + half], 1), raw[:, 0] ** 0.6 * raw[:, 5] ** 0.4


PLAIN: dict[str, Callable[[list[Array], Manifest], Decoded]] = {
    "picodet": gfl,
    "nanodet": gfl,
    "yolox": yolox,
    "v8": v8,
    "end_to_end": end_to_end,
    "ssd": ssd,
    "fastestdet": fastestdet,
}


def suppress(boxes: Array, scores: Array, limit: float) -> Decoded:
    """Greedy NMS, the textbook way."""
    left = [int(index) for index in np.argsort(-scores, kind="stable")]
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [other for other in left if _iou(boxes[best], boxes[other]) <= limit]
    return boxes[kept], scores[kept]


def _iou(one: Array, other: Array) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    common = (high - low).clip(0).prod()
    areas = [(box[2:] - box[:2]).prod() for box in (one, other)]
    return float(common / (sum(areas) - common))


def plain(file: Path, picture: NDArray[np.uint8], manifest: Manifest) -> Decoded:
    """Run a published network and decode its outputs without any of the house's graph."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: prepare(picture, manifest)})
    boxes, scores = PLAIN[manifest.family](outputs, manifest)
    sure = scores >= THRESHOLD
    return suppress(boxes[sure], scores[sure], manifest.nms_iou)


@pytest.mark.parametrize(
    "model",
    [
        "picodet_s_416",
        "nanodet_m_416",
        "yolox_nano_416",
        "light_person_192",
        "yolox_nano_640_v8",
        "yolox_nano_640_e2e",
        "person_detection_0202",
        "person_detection_retail_0013",
        "fastestdet_352",
    ],
)
def test_the_canonical_graph_agrees_with_a_plain_decoder(
    model: str, models: Models, published: Published, people: People
) -> None:
    import cv2

    installed = models(model)
    engine = OnnxEngine.open(installed.path, threshold=THRESHOLD)
    total = 0
    for one in people[:4]:
        picture = cv2.resize(one.frame.pixels, engine.info.input_size).astype(np.uint8)
        boxes, scores = plain(published(model), picture, installed.manifest)
        (seen,) = engine.infer(picture[np.newaxis], [None])
        assert seen.scores == pytest.approx(scores, abs=2e-4)
        assert seen.boxes == pytest.approx(boxes, abs=0.1)
        total += len(seen)
    assert total > 3
