"""TensorRT's library: its import, its log, and a plan that becomes an engine.

TensorRT returns its errors (False, None) and says why in its log. So the log is kept, and its last
errors go into what is raised. Only names that 10.3, 10.16, 11.4 and TensorRT-RTX 1.7 have are used.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from edge.errors import PartFailed
from edge.stages.engines.tensorrt_probe import LIBRARIES, places, probe


def library(library_path: str = "", device: int = 0) -> Any:
    """Import TensorRT, after the driver has answered.

    Args:
        library_path: directory of its Python package; appended to ``sys.path``.
        device: which GPU, as the driver counts.

    Returns:
        The module ``tensorrt``, or ``tensorrt_rtx``, which has the same names.

    Raises:
        PartFailed: ``no_gpu`` or ``no_library``.

    """
    facts = probe(library_path, device)
    if not facts.usable:
        raise PartFailed(facts.lacks, hint=facts.hint, reason="no_gpu")
    if facts.lacks:
        raise PartFailed(facts.lacks, hint=facts.hint, reason="no_library")
    return without_driver(library_path)


def without_driver(library_path: str = "") -> Any:
    """Import TensorRT whether or not there is a driver. For builders that need none (RTX).

    Raises:
        PartFailed: ``no_library``.

    """
    reach(library_path)
    failures = []
    for name in LIBRARIES:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            failures.append(f"{name}: {error}")
    raise PartFailed(
        f"TensorRT cannot be imported: {'; '.join(failures)}",
        hint="its version has to fit Python's and the driver's; see [tensorrt] library_path",
        reason="no_library",
    )


def reach(library_path: str) -> None:
    """Append the places of system packages to ``sys.path``; never before Edge's own packages."""
    sys.path.extend(place for place in places(library_path) if place not in sys.path)


class Lines:
    """The last lines of TensorRT's log. Its own threads write, so nothing here may block."""

    def __init__(self) -> None:
        self._errors: deque[str] = deque(maxlen=5)
        self._lock = threading.Lock()

    def add(self, line: str) -> None:
        """Keep an error."""
        with self._lock:
            self._errors.append(line.strip()[:300])

    def said(self) -> str:
        """Return the errors since the last call, for people."""
        with self._lock:
            text = "; ".join(self._errors)
            self._errors.clear()
        return text or "TensorRT gave no reason"


def logger(trt: Any, lines: Lines) -> Any:
    """Return a logger for TensorRT that keeps errors in ``lines``."""

    class Logger(trt.ILogger):  # type: ignore[misc] # the library is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if severity in {trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR}:
                lines.add(text)

    return Logger()


@contextlib.contextmanager
def bindings(what: str) -> Iterator[None]:
    """Translate what TensorRT's Python bindings raise, which is little: most is returned.

    Raises:
        PartFailed: ``engine_failed``.

    """
    try:
        yield
    except (TypeError, ValueError, RuntimeError, MemoryError) as error:
        raise PartFailed(
            f"TensorRT fails at {what}: {error}", hint="edge engine check", reason="engine_failed"
        ) from error


def deserialise(trt: Any, plan: bytes) -> tuple[Any, Lines]:
    """Make an engine of a plan. In the GPU thread, with the context current.

    A plan is code: it has to come from this box's own cache, and its digest has to be right.

    Returns:
        The engine, and where TensorRT's errors are.

    Raises:
        PartFailed: ``bad_plan``: not a plan, or of another version or GPU. ``engine_failed``.

    """
    hears, lines = _log_of(trt)
    with bindings("making its runtime"):
        engine = trt.Runtime(hears).deserialize_cuda_engine(plan)
    if engine is None:
        raise PartFailed(
            f"TensorRT {trt.__version__} refuses the plan: {lines.said()}",
            hint="edge engine build --force makes a new one",
            reason="bad_plan",
        )
    return engine, lines


_logs: dict[str, tuple[Any, Lines]] = {}
_logs_lock = threading.Lock()


def _log_of(trt: Any) -> tuple[Any, Lines]:
    """Return this process's logger and its lines.

    TensorRT goes on with the first logger that it was given, whoever gives another one; so there
    is one, which is never freed.
    """
    with _logs_lock:
        if trt.__name__ not in _logs:
            lines = Lines()
            _logs[trt.__name__] = (logger(trt, lines), lines)
        return _logs[trt.__name__]
