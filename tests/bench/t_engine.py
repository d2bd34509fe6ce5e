"""(t) The engine on ONNX Runtime against a bare ``session.run`` at batches of 1, 4 and 8.

What the engine adds: the checks of what comes in and goes out, and Detections at or above the
threshold. OpenVINO at full precision looks at the same pictures; it has no goal, since which of the
two is faster depends on model and processor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contracts import Engine
from edge.errors import PartFailed
from edge.stages.detect import prepare
from edge.stages.engines.onnx import OnnxEngine, runtime, session_options
from edge.stages.engines.openvino import OpenVinoEngine
from tests.bench.inputs import Inputs
from tests.bench.result import Row, at_least, middle

MODEL = "picodet_s_416"
BATCHES = (1, 4, 8)
GOAL = 0.95
ROUNDS = 10
PICTURES = 16
"""Looked at by each in a round of a batch of 1; of a larger batch there are fewer rounds."""


def measure(inputs: Inputs, rounds: int = ROUNDS) -> list[Row]:
    path = inputs.model(MODEL)
    engine = OnnxEngine.open(path)
    session = runtime().InferenceSession(
        path.read_bytes(), session_options(runtime()), providers=["CPUExecutionProvider"]
    )
    frames = pictures(inputs, engine)
    other = _other(inputs)
    rows = []
    for size in BATCHES:
        batch, names = frames[:size], ["gate"] * size
        calls: dict[str, Callable[[], object]] = {
            "engine": partial(engine.infer, batch, names),
            "bare": partial(session.run, None, {"image": batch}),
        }
        if other is not None:
            calls["openvino"] = partial(other.infer, batch, names)
        times = in_turn(calls, max(3, rounds * PICTURES // size))
        rows += _rows(size, times)
    return rows


def pictures(inputs: Inputs, engine: Engine) -> NDArray[np.uint8]:
    """Return eight frames of the clip, at the engine's size."""
    capture = cv2.VideoCapture(str(inputs.clip("720p", 240)))
    found: list[Any] = []
    while len(found) < max(BATCHES):
        for _ in range(20):
            more, pixels = capture.read()
        assert more
        found.append(prepare(np.asarray(pixels, np.uint8), engine.info)[0])
    return np.stack(found)


def in_turn(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time each call once a round; return seconds by name.

    So what else the machine does falls on all of them.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()  # a first time is the slow one
    for number in range(rounds):
        for name in list(calls)[:: -1 if number % 2 else 1]:
            begin = time.perf_counter()
            calls[name]()
            times[name].append(time.perf_counter() - begin)
    return times


def _other(inputs: Inputs) -> Engine | None:
    try:
        return OpenVinoEngine.open(inputs.model(MODEL))
    except PartFailed:
        return None


def _rows(size: int, times: Mapping[str, list[float]]) -> list[Row]:
    ratio = middle(times["bare"]) / middle(times["engine"])
    goal, kept = at_least(ratio, GOAL)
    each = {name: f"{middle(seconds) / size * 1000:.1f}" for name, seconds in times.items()}
    rows = [
        Row(
            part="t",
            what=f"ONNX engine, batch {size}",
            value=ratio,
            unit="of bare run",
            against=f"{each['engine']} to {each['bare']} ms a picture",
            goal=goal,
            kept=kept,
            note=f"{MODEL}, one thread, medians of {len(times['bare'])} calls in turn",
        )
    ]
    if "openvino" in times:
        gain = middle(times["engine"]) / middle(times["openvino"])
        rows.append(
            Row(
                part="t",
                what=f"OpenVINO f32, batch {size}",
                value=gain,
                unit="times ONNX",
                against=f"{each['openvino']} to {each['engine']} ms a picture",
            )
        )
    return rows
