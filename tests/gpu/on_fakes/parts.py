"""A tiny plan, and the engine that runs it."""

from __future__ import annotations

from typing import Any

import onnx

from edge.catalog.engine_form import engine_form
from edge.config.detect import DetectConfig
from edge.config.tensorrt import TensorRTConfig
from edge.detections import EngineInfo
from edge.stages.engines.tensorrt import TensorRTEngine
from tests.catalog import tiny
from tests.gpu.fake_tensorrt import plan_of
from tests.gpu.fakes import LIBRARY_PATH

INFO = EngineInfo(
    name="tensorrt",
    model="tiny",
    digest="0" * 64,
    input_size=(32, 32),
    resize="stretch",
    pad=0,
    threshold=0.3,
    labels=("person",),
)


def plan(most: int = 8, network: onnx.ModelProto | None = None) -> bytes:
    form = engine_form(network or tiny.network(), tiny.manifest())
    return plan_of(form.SerializeToString(), most=most)


def opened(
    body: bytes | None = None,
    *,
    info: EngineInfo = INFO,
    detect: dict[str, Any] | None = None,
    patience: float = 5.0,
    **config: Any,
) -> TensorRTEngine:
    return TensorRTEngine.open(
        plan() if body is None else body,
        info,
        config=TensorRTConfig(library_path=str(LIBRARY_PATH), **config),
        detect=DetectConfig(**(detect or {})),
        nms_iou=0.5,
        patience=patience,
    )
