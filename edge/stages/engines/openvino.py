"""The engine on OpenVINO, on the CPU: an optional second one behind the contract of ``onnx.py``.

It runs the same canonical graphs, NMS included. One thread looks at a picture, and as many pictures
may be looked at at once as the process has cores. On some models it is twice as fast as ONNX
Runtime, on others slower: measure. Tried with 2026.4.1:

* It is not to be believed without parity (``edge.engine_status.Agreement``). In full precision ten
  of the models that ship see the same people in all 82 labelled pictures, to 1e-3 of a score. In
  the eleventh, ``picodet_s_640``, it overwrites a part of a picture's features while they are still
  needed, without a word, and of 154 people it misses 151.
* ``bf16``, the CPU's own lower precision, is up to twice as fast; none of those models passes
  parity in it (a person lost in 82 pictures, or a box off by a third). So it is not the default.
* Its ReLU makes 0 of what is not a number, so a broken weight may go unnoticed that ONNX Runtime
  would pass on to the scores.

Importing it as it comes writes a client id into the home directory and sends a message to its
makers: both are kept from happening here.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from edge.detections import Detections, EngineInfo
from edge.errors import PartFailed
from edge.stages.engines.canonical_form import (
    OUTPUTS,
    answers,
    broken,
    check_batch,
    info_of,
)

Precision = Literal["f32", "bf16"]

PACKAGE = "openvino"
FAILURES = (RuntimeError, ValueError, TypeError, KeyError, IndexError, MemoryError)
"""What its binding raises; it has no class of its own."""
_CHATTY = ("openvino_telemetry", "openvino.tools.ovc")
"""What it imports beside itself: the messenger, and a converter that starts it."""


class OpenVinoEngine:
    """Finds people with a canonical graph. Keeps ``edge.contracts.Engine``."""

    def __init__(self, compiled: Any, info: EngineInfo, precision: Precision) -> None:
        self.info = info
        self.precision = precision
        self._compiled = compiled
        #: requests that nobody uses now; each runs one picture at a time
        self._requests: list[Any] = []

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        threshold: float | None = None,
        precision: Precision = "f32",
        streams: int = 0,
    ) -> Self:
        """Load a canonical graph and run it once.

        Args:
            path: ``model.onnx`` of an installed model.
            threshold: scores below are not people, 0.01 to 1; None for the model's own.
            precision: ``f32``, or ``bf16`` where the CPU has it (``precisions``).
            streams: pictures that may be looked at at once; 0: as many as there are cores.

        Raises:
            PartFailed: OpenVINO is not installed, or the file cannot be read, is not a canonical
                graph, or does not run.

        """
        core = _core()
        try:
            body = path.read_bytes()
            graph = core.read_model(body)
            facts = _facts(graph)
        except OSError as error:
            raise broken(path, f"cannot be read: {error.strerror}") from error
        except FAILURES as error:
            raise broken(path, f"cannot be loaded: {said(error)}") from error
        info = info_of(path, facts, hashlib.sha256(body).hexdigest(), threshold, "openvino")
        _check_precision(core, precision)
        width, height = info.input_size
        try:
            # a CPU gains nothing from batches, and a graph of known shapes is the faster one
            graph.reshape({"image": [1, height, width, 3]})
            compiled = core.compile_model(graph, "CPU", _settings(precision, streams or _cores()))
        except FAILURES as error:
            raise broken(path, f"does not run on OpenVINO: {said(error)}") from error
        engine = cls(compiled, info, precision)
        engine._run(np.zeros((1, height, width, 3), np.uint8))
        return engine

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        """Find people; see ``edge.contracts.Engine.infer``."""
        check_batch(self.info, batch, sources)
        return [found for row in batch for found in self._run(row[np.newaxis])]

    def close(self) -> None:
        self._compiled = None
        self._requests.clear()

    def _run(self, picture: NDArray[np.uint8]) -> list[Detections]:
        compiled = self._compiled
        if compiled is None:
            raise PartFailed(f"the engine of {self.info.model} is closed", reason="engine_closed")
        try:
            request = self._requests.pop()
        except IndexError:
            request = None
        try:
            request = compiled.create_infer_request() if request is None else request
            request.infer({"image": picture})
            # views into the request's own memory: read before another may use it
            boxes, scores, labels = (request.get_tensor(name).data for name in OUTPUTS)
        except FAILURES as error:
            raise PartFailed(
                f"{self.info.model} failed on OpenVINO: {said(error)}",
                hint=f"edge model check {self.info.model}",
                reason="engine_failed",
            ) from error
        found = answers(self.info, 1, boxes, scores, labels)
        self._requests.append(request)
        return found


def installed() -> str:
    """Return the version of OpenVINO that is installed, empty if none is. Imports nothing."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return ""


def precisions() -> tuple[Precision, ...]:
    """Return what this CPU computes in: ``f32``, and ``bf16`` where it has instructions for it.

    Raises:
        PartFailed: OpenVINO is not installed, or broken.

    """
    return _precisions(_core())


def said(error: BaseException) -> str:
    """Return what OpenVINO says went wrong, without where in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    rest = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    # of a long report this is the line that names the operation
    named = [line for line in rest if line.startswith("-- No conversion rule")]
    return (named or rest or lines or [repr(error)])[0].removeprefix("-- ")[:300]


def _core() -> Any:
    """Import OpenVINO, without its messenger, and start it.

    Raises:
        PartFailed: it is not installed, or cannot be loaded.

    """
    for name in _CHATTY:
        # an entry of None makes its import fail, and OpenVINO goes on without it
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    try:
        return importlib.import_module(PACKAGE).Core()
    except (ImportError, OSError, AttributeError, *FAILURES) as error:
        missing = not installed()
        raise PartFailed(
            "OpenVINO is not installed" if missing else f"OpenVINO does not load: {said(error)}",
            hint='pip install "edge[openvino]", or set [detect] engine = "onnx"',
            reason="no_library" if missing else "engine_failed",
        ) from error


def _facts(graph: Any) -> dict[str, str]:
    """Return the ``edge.*`` properties of a graph."""
    found = {}
    for name in ("canonical", "id", "width", "height", "resize", "pad", "labels", "threshold"):
        place = ["framework", f"edge.{name}"]
        if graph.has_rt_info(place):
            found[f"edge.{name}"] = graph.get_rt_info(place).astype(str)
    return found


def _settings(precision: Precision, streams: int) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": precision,
        # what other streams would gain in speed, a second thread a picture would cost twice
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": streams,
        "ENABLE_CPU_PINNING": False,
    }


def _check_precision(core: Any, precision: Precision) -> None:
    have = _precisions(core)
    if precision not in have:
        raise PartFailed(
            f"this CPU computes in {', '.join(have)}: got {precision}",
            hint="use f32",
            reason="no_precision",
        )


def _precisions(core: Any) -> tuple[Precision, ...]:
    try:
        able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except FAILURES as error:
        raise PartFailed(
            f"OpenVINO does not know this CPU: {said(error)}", reason="engine_failed"
        ) from error
    return ("f32", "bf16") if "BF16" in able else ("f32",)


def _cores() -> int:
    return len(os.sched_getaffinity(0))
