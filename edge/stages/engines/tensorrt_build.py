"""How a plan (a built TensorRT engine) is made from an engine form. Runs in a process of its own.

The builder is native code that needs gigabytes, takes minutes and may crash; ``edge/control/
builds.py`` starts the process, watches it and tells the rest what comes of it. Precision lies in
the graph: networks are strongly typed, so the same code builds with TensorRT 10.3 to 11 and with
TensorRT-RTX. Only names that all of them have are used (``tests/stages/engines/
tensorrt_names.py``). Never built: plans for other versions, since those carry code of their own.

Verified with the real builder and parser of TensorRT-RTX 1.7 (no GPU needed); with TensorRT itself
only by the names.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from edge.errors import PartFailed
from edge.stages.engines.tensorrt_probe import LIBRARIES
from edge.stages.engines.tensorrt_runtime import Lines, logger, reach

Tell = Callable[[str, float | None], None]
"""Hears the phase and the share that is done (0 to 1, None: not known). From any thread. Raises
OSError where nobody listens any more; then the building ends."""

INPUT, OUTPUTS = "image", {"boxes", "scores", "labels"}
_LESS = "less [tensorrt] workspace or a lower level may help"
_FAILURES = (TypeError, ValueError, RuntimeError, MemoryError)
"""What the bindings raise; a factory that could not make its object is a TypeError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What to build, as it comes on standard input."""

    #: the engine form; and where to write the plan: a file that is not there yet
    onnx: str
    plan: str
    #: a file that makes the next building faster; empty: none
    timing_cache: str = ""
    #: ``tensorrt`` or ``tensorrt_rtx``, the version that is expected, and its directory
    library: str
    library_version: str
    library_path: str = ""
    #: name of the GPU, for the answer
    device: str = ""
    #: pictures in a batch: at most, and usually
    most: int = 1
    usual: int = 1
    #: how hard to look for faster tactics, 0 to 5
    level: int = 3
    #: bytes of GPU memory that a tactic may use
    workspace: int = 2**30

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """Read a request from JSON.

        Raises:
            PartFailed: ``bad_request``: it is none; the message says why.

        """
        try:
            request = cls(**json.loads(text))
            for one in fields(cls):
                value = getattr(request, one.name)
                if type(value).__name__ != one.type:
                    raise TypeError(f"{one.name} is a {one.type}: got {value!r}")  # noqa: TRY301
        except (TypeError, ValueError) as error:
            raise PartFailed(f"no request for a build: {error}", reason="bad_request") from error
        if request.library not in LIBRARIES or not 1 <= request.usual <= request.most:
            raise PartFailed(
                f"no request for a build: library is one of {', '.join(LIBRARIES)} and usual from "
                f"1 to most: got {request.library!r}, {request.usual}, {request.most}",
                reason="bad_request",
            )
        return request


def build(request: BuildRequest, tell: Tell) -> str:
    """Build a plan and write it. Blocks for seconds to an hour.

    Returns:
        Name and version of the library that built it.

    Raises:
        PartFailed: nothing was written, and the message has the library's last words. ``reason``
            is one of ``no_library``, ``library_changed``, ``no_builder``, ``bad_graph``,
            ``build_failed``, ``no_room``, ``not_writable``.

    """
    tell("loading the library", None)
    trt = load(request)
    lines = _Journal()
    try:
        body = _built(trt, request, lines, tell)
    except _FAILURES as error:
        what = f"{type(error).__name__}: {error}; {lines.said()}"
        raise _failed(lines, "build_failed", what, _LESS) from error
    tell("writing", None)
    _write(Path(request.plan), body)
    return f"{request.library} {trt.__version__}"


def load(request: BuildRequest) -> Any:
    """Import the library.

    Raises:
        PartFailed: ``no_library``; or ``library_changed``: it is another version than expected,
            and a plan of it would be kept under the wrong key.

    """
    reach(request.library_path)
    try:
        trt = importlib.import_module(request.library)
    except (ImportError, OSError) as error:
        raise PartFailed(
            f"{request.library} cannot be loaded: {error}",
            hint="edge engine check says what is missing",
            reason="no_library",
        ) from error
    found = str(trt.__version__)
    if found != request.library_version:
        raise PartFailed(
            f"{request.library} is of version {found} now, expected {request.library_version}",
            hint="the library was changed while Edge runs: restart Edge",
            reason="library_changed",
        )
    return trt


class _Journal(Lines):
    """The library's errors, which also go where they are read after a crash."""

    def add(self, line: str) -> None:
        super().add(line)
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{line.strip()[:500]}\n")


def _failed(lines: Lines, reason: str, what: str = "", hint: str = "") -> PartFailed:
    said = what or lines.said()
    return PartFailed(f"the engine could not be built: {said}", hint=hint, reason=reason)


def _built(trt: Any, request: BuildRequest, lines: Lines, tell: Tell) -> Any:
    """Return the plan's bytes (something that keeps the buffer protocol)."""
    try:
        log = logger(trt, lines)
        builder = trt.Builder(log)
    except TypeError as error:
        raise _failed(
            lines,
            "no_builder",
            f"{lines.said()} ({error})",
            hint="does the GPU's driver work? nvidia-smi",
        ) from error
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    tell("reading the graph", None)
    parser = trt.OnnxParser(network, log)  # the network's weights are its own until the end
    _parse(parser, lines, request)
    _check(network, lines)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace)
    config.builder_optimization_level = request.level
    monitor = _monitor(trt, Progress(tell))
    config.progress_monitor = monitor
    _profile(builder, network, config, lines, request)
    cache = Path(request.timing_cache) if request.timing_cache else None
    _recall(config, cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _failed(lines, "build_failed", hint=_LESS)
    _remember(config, cache)
    return memoryview(plan)


def _parse(parser: Any, lines: Lines, request: BuildRequest) -> None:
    try:
        body = Path(request.onnx).read_bytes()
    except OSError as error:
        raise _failed(lines, "bad_graph", f"{request.onnx}: {error.strerror}") from error
    if not parser.parse(body):
        faults = [parser.get_error(index) for index in range(parser.num_errors)]
        said = "; ".join(
            " ".join(filter(None, (one.node_operator(), one.node_name(), one.desc())))
            for one in faults
        )[:1000]
        raise _failed(
            lines,
            "bad_graph",
            said,
            hint="this network is looked at by ONNX Runtime; another model may do better",
        )


def _check(network: Any, lines: Lines) -> None:
    inputs = {network.get_input(index).name for index in range(network.num_inputs)}
    outputs = {network.get_output(index).name for index in range(network.num_outputs)}
    if inputs != {INPUT} or outputs != OUTPUTS:
        # A profile for a wrong name would be accepted, and fail much later with other words.
        raise _failed(
            lines,
            "bad_graph",
            f"an engine form has {INPUT} in and {', '.join(sorted(OUTPUTS))} out: "
            f"got {sorted(inputs)} and {sorted(outputs)}",
        )


def _profile(builder: Any, network: Any, config: Any, lines: Lines, request: BuildRequest) -> None:
    """Say how many pictures a batch has, where the graph leaves that open."""
    batch, *rest = tuple(network.get_input(0).shape)
    if any(side < 0 for side in rest):
        raise _failed(lines, "bad_graph", f"only the batch may be open: got {[batch, *rest]}")
    if batch >= 0:
        return
    profile = builder.create_optimization_profile()
    sizes = (1, request.usual, request.most)
    profile.set_shape(INPUT, *((size, *rest) for size in sizes))
    if config.add_optimization_profile(profile) < 0:
        raise _failed(lines, "build_failed", f"the profile {sizes} was refused")


def _recall(config: Any, path: Path | None) -> None:
    """Use what earlier buildings measured. What does not fit this library or GPU is left out."""
    body = b""
    if path is not None:
        with contextlib.suppress(OSError):
            body = path.read_bytes()
    for said in (body, b""):
        cache = config.create_timing_cache(said)
        if cache is not None and config.set_timing_cache(cache, False):
            return


def _remember(config: Any, path: Path | None) -> None:
    """Write what this building measured; without it the next one takes longer, no more."""
    cache = config.get_timing_cache() if path is not None else None
    if path is None or cache is None:
        return
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    with contextlib.suppress(PartFailed, OSError, *_FAILURES):
        _write(fresh, memoryview(cache.serialize()))
        fresh.replace(path)


def _write(path: Path, body: Any) -> None:
    """Write a new file, flushed, readable by this user alone; nothing stays of half a file."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(body)
                out.flush()
                os.fsync(out.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PartFailed(
            f"the engine cannot be written to {path.parent}: {error.strerror}",
            hint="is there room, and may Edge write there?",
            reason="not_writable",
        ) from error


@dataclass(slots=True)
class _Phase:
    parent: str
    steps: int
    done: int = 0


class Progress:
    """Turns the builder's phases, which nest, into one phase and one share.

    It may be called from several threads. A share never falls.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._phases: dict[str, _Phase] = {}
        self._share = 0.0
        self._said = ("", -1.0)
        self._over = False

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase begins, within another one or on its own."""
        with self._lock:
            self._phases[phase] = _Phase(parent or "", max(1, steps))
        self._say(phase)

    def step(self, phase: str, step: int) -> bool:
        """A step of a phase is done; False ends the building, because nobody listens."""
        with self._lock:
            if phase in self._phases:
                self._phases[phase].done = step + 1
        self._say(phase)
        return not self._over

    def finish(self, phase: str) -> None:
        """A phase is over."""
        with self._lock:
            self._phases.pop(phase, None)

    def _say(self, phase: str) -> None:
        with self._lock:
            self._share = max(self._share, min(1.0, self._whole()))
            said = (phase, round(self._share, 3))
            if said == self._said:
                return
            self._said = said
            try:
                self._tell(*said)
            except OSError:
                self._over = True

    def _whole(self, parent: str = "", depth: int = 0) -> float:
        """What is done of the phases within ``parent``, as a share of the first that is at work."""
        for name, phase in self._phases.items():
            if phase.parent == parent and depth < 20:
                inside = self._whole(name, depth + 1) if phase.done < phase.steps else 0.0
                return (min(phase.done, phase.steps) + inside) / phase.steps
        return 0.0


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return progress.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    return Monitor()
