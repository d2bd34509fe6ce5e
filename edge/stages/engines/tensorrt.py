"""The engine on TensorRT: the canonical model's engine form, built for this box's GPU.

What it says is what ``OnnxEngine`` says of the same model, up to the plan's precision: the graph
chooses candidates, ``suppress`` does the NMS that it left out. A fault never reads as "nobody":
what the GPU did not write, and what is not finite, is ``engine_nonsense``.

Shown on a driver and a runtime of our own (tests/gpu), and built with TensorRT-RTX's real builder;
never yet run by TensorRT on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edge.config.detect import DetectConfig
from edge.config.tensorrt import TensorRTConfig
from edge.detections import Detections, EngineInfo
from edge.errors import PartFailed
from edge.stages.engines.canonical_form import check_batch
from edge.stages.engines.suppress import suppress
from edge.stages.engines.tensorrt_slot import Answer
from edge.stages.engines.tensorrt_thread import GpuThread, Terms
from edge.stages.urgency import urgency

PATIENCE = 5.0
"""Seconds that a batch may be on the GPU. None takes a tenth of it: longer, the GPU hangs."""


class TensorRTEngine:
    """Finds people with a plan. Keeps ``edge.contracts.Engine``; pictures of callers are batched.

    Besides the contract, ``infer`` raises TryLater (``engine_busy``) where a picture's turn did
    not come in time, and GpuLost where this process cannot use the GPU again.
    """

    def __init__(self, thread: GpuThread, info: EngineInfo, timeout: float) -> None:
        self.info = info
        self._thread = thread
        self._queue = thread.opened()
        self._timeout = timeout

    @classmethod
    def open(
        cls,
        plan: bytes,
        info: EngineInfo,
        *,
        config: TensorRTConfig,
        detect: DetectConfig,
        nms_iou: float,
        patience: float = PATIENCE,
    ) -> Self:
        """Load a plan, record its graphs, and see that it runs. Takes seconds.

        Args:
            plan: from this box's own cache only, its digest verified: a plan is code.
            info: what the engine form says of itself, with ``name`` ``tensorrt``.
            config: device, slots, graphs, where the libraries are.
            detect: sizes of batches, and how long a picture may wait.
            nms_iou: the model's own, ``edge.nms_iou`` of its graph.
            patience: seconds after which a batch that is not done means that the GPU hangs.

        Raises:
            PartFailed: ``no_gpu``, ``no_library``, ``bad_plan``, ``gpu_memory`` (not one picture
                fits), ``engine_failed``. GpuLost: as it says.

        """
        width, height = info.input_size
        terms = Terms(
            plan=plan,
            config=config,
            size=(height, width),
            max_batch=detect.max_batch,
            max_queue_delay=detect.max_queue_delay,
            preferred=detect.preferred_batch,
            read=lambda answer: _read(answer, info, nms_iou),
            patience=patience,
        )
        return cls(GpuThread(terms), info, detect.timeout)

    @property
    def facts(self) -> str:
        """How it runs, in words: the library, slots, sizes, graphs."""
        return self._thread.facts

    @property
    def max_batch(self) -> int:
        """Pictures that are looked at together at most."""
        return self._queue.max_batch

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        check_batch(self.info, batch, sources)
        most, urgent = self._queue.max_batch, urgency()
        timeout = min(self._timeout, urgent.left)
        # All are put before the first is waited for: they run side by side.
        requests = [
            self._queue.put(
                batch[start : start + most],
                sources[start : start + most],
                priority=urgent.priority,
                timeout=timeout,
            )
            for start in range(0, len(batch), most)
        ]
        return [found for request in requests for found in self._queue.wait(request)]

    def close(self) -> None:
        self._thread.close()


def _read(answer: Answer, info: EngineInfo, nms_iou: float) -> list[Detections]:
    """Turn what the GPU said into detections.

    Raises:
        PartFailed: ``engine_nonsense``: a score that is not finite, wherever it is (a comparison
            with NaN is false, and would read as "nobody"), a label that there is not, a box that
            is none.

    """
    try:
        _check(answer, info)
        return [_people(*row, info.threshold, nms_iou) for row in zip(*answer, strict=True)]
    except ValueError as error:
        raise PartFailed(
            f"{info.model} gave a senseless answer: {error}",
            hint="edge engine check, or edge engine build --force to make the plan anew",
            reason="engine_nonsense",
        ) from error


def _check(answer: Answer, info: EngineInfo) -> None:
    _, scores, labels = answer
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite: got NaN or infinity")
    if not 0 <= labels.min() <= labels.max() < len(info.labels):
        raise ValueError(f"labels lie between 0 and {len(info.labels) - 1}")


def _people(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int32],
    threshold: float,
    nms_iou: float,
) -> Detections:
    likely = scores >= threshold
    # A box that is not finite overlaps nothing: Detections refuses it before NMS can lose it.
    found = Detections(boxes=boxes[likely], scores=scores[likely], labels=labels[likely])
    return found.keep(suppress(found.boxes, found.scores, found.labels, nms_iou, threshold))
