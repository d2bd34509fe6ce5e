"""The engine on ONNX Runtime, on the CPU. It runs canonical graphs (``edge model import``) only.

One intra-op thread a session, no spinning, and for a small model a session for each worker: two
who share one wait for each other's memory (3 % at 720p; 28 MB for a session of PicoDet). The graph
says everything about itself in its ``edge.*`` properties, so the engine knows no model.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edge.detections import Detections, EngineInfo
from edge.errors import PartFailed
from edge.stages.engines.canonical_form import answers, broken, check_batch, info_of

SHARED_BYTES = 16 * 2**20
"""A model whose file is larger has one session, which all workers share."""

Failures = tuple[type[Exception], ...]
_OUTPUTS = ["boxes", "scores", "labels"]


class OnnxEngine:
    """Finds people with a canonical graph. Keeps ``edge.contracts.Engine``."""

    def __init__(
        self,
        session: Any,
        info: EngineInfo,
        failures: Failures,
        another: Callable[[], Any] | None = None,
    ) -> None:
        self.info = info
        self._session = session
        self._failures = failures
        #: makes one more session; None: all share the first
        self._another = another
        #: sessions that nobody runs now. Not one for each thread: whoever opened the engine and
        #: tried it has threads that never come back.
        self._idle = [session]
        self._one_by_one = session.get_inputs()[0].shape[0] == 1

    @classmethod
    def open(cls, path: Path, *, threshold: float | None = None) -> Self:
        """Load a canonical graph and run it once.

        Args:
            path: ``model.onnx`` of an installed model.
            threshold: scores below are not people, 0.01 to 1; None for the model's own.

        Raises:
            PartFailed: the file cannot be read, is not a canonical graph, or does not run.

        """
        ort = runtime()
        failures = failures_of(ort)

        def made() -> Any:
            options = session_options(ort)
            return ort.InferenceSession(body, options, providers=["CPUExecutionProvider"])

        try:
            body = path.read_bytes()
            session = made()
            facts = dict(session.get_modelmeta().custom_metadata_map)
        except OSError as error:
            raise broken(path, f"cannot be read: {error.strerror}") from error
        except failures as error:
            raise broken(path, f"cannot be loaded: {first_line(error)}") from error
        info = info_of(path, facts, hashlib.sha256(body).hexdigest(), threshold, "onnx")
        engine = cls(session, info, failures, made if len(body) <= SHARED_BYTES else None)
        width, height = info.input_size
        engine._run_on(session, np.zeros((1, height, width, 3), np.uint8))
        return engine

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        """Find people; see ``edge.contracts.Engine.infer``."""
        check_batch(self.info, batch, sources)
        if len(batch) > 1 and self._one_by_one:
            return [found for row in batch for found in self._run(row[np.newaxis])]
        return self._run(batch) if len(batch) else []

    def close(self) -> None:
        self._session = None
        self._idle.clear()

    def _run(self, batch: NDArray[np.uint8]) -> list[Detections]:
        if self._session is None:
            raise PartFailed(f"the engine of {self.info.model} is closed", reason="engine_closed")
        if self._another is None:
            return self._run_on(self._session, batch)
        session = self._idle_or_new(self._another)
        try:
            return self._run_on(session, batch)
        finally:
            self._idle.append(session)

    def _idle_or_new(self, another: Callable[[], Any]) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            pass
        try:
            return another()
        except self._failures as error:
            raise PartFailed(
                f"{self.info.model} cannot be loaded once more: {first_line(error)}",
                hint="is there memory left? See [detect] workers",
                reason="engine_failed",
            ) from error

    def _run_on(self, session: Any, batch: NDArray[np.uint8]) -> list[Detections]:
        try:
            boxes, scores, labels = session.run(_OUTPUTS, {"image": batch})
        except self._failures as error:
            raise PartFailed(
                f"{self.info.model} failed on ONNX Runtime: {first_line(error)}",
                hint=f"edge model check {self.info.model}",
                reason="engine_failed",
            ) from error
        return answers(self.info, len(batch), boxes, scores, labels)


def runtime() -> Any:
    """Return ONNX Runtime, with its telemetry off."""
    # Without this, importing onnxruntime writes a device id and queues telemetry.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime as ort  # noqa: PLC0415 - heavy, and only now is telemetry off

    return ort


def session_options(ort: Any) -> Any:
    """Return what every session here is made with: one thread, no spinning, no log."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Errors come back as exceptions; the log would only repeat them.
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def failures_of(ort: Any) -> Failures:
    """Everything that ONNX Runtime raises: its own classes, and what its binding maps them to."""
    state = ort.capi.onnxruntime_pybind11_state
    own = (value for value in vars(state).values() if isinstance(value, type))
    return (
        *(kind for kind in own if issubclass(kind, Exception)),
        RuntimeError,
        ValueError,
        MemoryError,
    )


def first_line(error: BaseException) -> str:
    """Return the beginning of what a failure says."""
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else repr(error)
