"""(x) TensorRT on this box's GPU against the CUDA provider of ONNX Runtime, and eight cameras.

Needs a GPU, TensorRT and pycuda; for the comparison ``onnxruntime-gpu`` in the place of
``onnxruntime``, with CUDA's and cuDNN's libraries. Not measured on any GPU yet.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.app.engine_ways import TensorRT
from edge.catalog.installed import Catalog, Installed
from edge.config.root import Config
from edge.contracts import Engine
from edge.errors import EdgeError
from edge.stages.engines.onnx import runtime
from tests.bench.inputs import Inputs
from tests.bench.result import Missing, Row, at_least, middle
from tests.bench.t_engine import BATCHES, MODEL, in_turn, pictures
from tests.bench.u_batching import CAMERAS, FULL, SECONDS, served
from tests.parts import until

CUDA = "CUDAExecutionProvider"
ROUNDS = 50
BUILD_S = 1800.0
Builder = tuple[Sequence[str], Path]


def measure(
    inputs: Inputs,
    *,
    library_path: str = "",
    builder: Builder | None = None,
    provider: str = CUDA,
    rounds: int = ROUNDS,
) -> list[Row]:
    """Measure on the GPU that the configuration's default names.

    Raises:
        Missing: there is none, or TensorRT is not there or does not build.

    """
    inputs.model(MODEL)
    installed = Catalog(inputs.models).find(MODEL)
    assert installed is not None
    with (
        tempfile.TemporaryDirectory() as state,
        _engine(installed, Path(state), library_path, builder) as engine,
    ):
        frames = pictures(inputs, engine)
        return [
            *_against(provider, installed, engine, frames, rounds),
            *_cameras(engine, frames, rounds),
        ]


@contextmanager
def _engine(
    installed: Installed, state: Path, library_path: str, builder: Builder | None
) -> Iterator[Engine]:
    """Build a plan and open it."""
    given = {"tensorrt": {"library_path": library_path}} if library_path else {}
    config = Config.model_validate({"store": {"kind": "folder", "path": str(state)}, **given})
    way = TensorRT(config, state, lambda: None)
    lack = way.lacks()
    if lack is not None:
        raise Missing(f"{lack[0]}; {lack[1]}")
    if builder is not None:
        way.builds._command = builder
    try:
        asyncio.run(_built(way, installed))
        engine = way.open(installed, None)
    except EdgeError as error:
        raise Missing(f"a plan that this GPU runs: {error}") from error
    try:
        yield engine
    finally:
        engine.close()


async def _built(way: TensorRT, installed: Installed) -> None:
    await way.build(installed, force=False, asked=True)
    await until(lambda: way.build_status().state != "running", BUILD_S)
    status = way.build_status()
    await way.close()
    if status.state != "done":
        raise Missing(f"a plan: {status}")


def _against(
    provider: str, installed: Installed, engine: Engine, frames: NDArray[np.uint8], rounds: int
) -> Iterator[Row]:
    session = _session(provider, installed.path)
    for size in BATCHES:
        batch = frames[:size]
        calls: dict[str, Callable[[], object]] = {
            "tensorrt": partial(engine.infer, batch, ["gate"] * size)
        }
        if session is not None:
            calls["other"] = partial(session.run, None, {"image": batch})
        times = {name: middle(taken) for name, taken in in_turn(calls, rounds).items()}
        each = {name: f"{seconds / size * 1000:.2f}" for name, seconds in times.items()}
        what = f"TensorRT, batch {size}"
        if session is None:
            note = "CUDA provider not measured: needs onnxruntime-gpu, CUDA and cuDNN"
            value = times["tensorrt"] / size * 1000
            yield Row(part="x", what=what, value=value, unit="ms a picture", note=note)
            continue
        yield Row(
            part="x",
            what=what,
            value=times["other"] / times["tensorrt"],
            unit="times as fast",
            against=f"{each['tensorrt']} to {each['other']} ms a picture of {provider}",
            note=f"{MODEL}, medians of {rounds} calls in turn, copies included",
        )


def _session(provider: str, path: Path) -> Any | None:
    """Open the model with another provider of ONNX Runtime; None where it is not there."""
    ort = runtime()
    if provider not in ort.get_available_providers():
        return None
    session = ort.InferenceSession(path.read_bytes(), providers=[provider])
    # it falls back to the processor without a word where CUDA's libraries are missing
    return session if session.get_providers()[0] == provider else None


def _cameras(engine: Engine, frames: NDArray[np.uint8], rounds: int) -> Iterator[Row]:
    """Eight cameras that ask for one picture each, against batches that are always full."""
    full = in_turn({"full": partial(engine.infer, frames, ["gate"] * CAMERAS)}, rounds)
    most = CAMERAS / middle(full["full"])
    counts = served(engine, {f"gate-{number}": 2 for number in range(CAMERAS)})
    speed = sum(counts.values()) / SECONDS
    goal, kept = at_least(speed / most, FULL)
    yield Row(
        part="x",
        what="batching on the GPU, 8 cameras",
        value=speed / most,
        unit="of full batches",
        against=f"{speed:.0f} to {most:.0f} pictures/s",
        goal=goal,
        kept=kept,
    )
