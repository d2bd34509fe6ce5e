"""``edge engine bench``: how fast each engine of this machine is with a model, and if it agrees."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.cli.engine_show import table
from edge.cli.model import models_option
from edge.cli.show import answer, config_option, json_option
from edge.contracts import Engine
from edge.control.engines import REFERENCE
from edge.engine_status import Agreement
from edge.errors import EdgeError, PartFailed
from edge.web.present_engines import milliseconds

Agree = Callable[[Engine, Engine], Agreement]

if TYPE_CHECKING:
    from edge.app.engine_ways import Way
    from edge.catalog.installed import Installed
    from edge.config.root import Config
    from edge.frame import Pixels

_SEED, _SIZE, _PEOPLE, _PICTURES = 1, (1280, 720), 5, 8
_LEAST_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An engine that may be on this machine."""

    name: str
    #: raises PartFailed where it is not here or does not run
    open: Callable[[], Engine]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured of one engine."""

    name: str
    #: milliseconds of one batch, the median, by its size
    milliseconds: dict[int, float] = field(default_factory=dict)
    #: with ONNX Runtime; None: it is that, or it could not be asked
    agreement: Agreement | None = None
    #: why there are no numbers, and what to do
    why: str = ""
    hint: str = ""


def _sizes(_: click.Context, __: click.Parameter, said: str) -> tuple[int, ...]:
    """Read ``1,4,8``."""
    sizes = said.split(",")
    if not all(size.strip().isdecimal() and 1 <= int(size) <= 64 for size in sizes):
        raise click.BadParameter(f"{said!r} is no list of sizes from 1 to 64, for example 1,4,8")
    return tuple(dict.fromkeys(int(size) for size in sizes))


@click.command()
@click.argument("model_id", metavar="[MODEL]", default="")
@click.option(
    "--batch", "sizes", default="1,4,8", show_default=True, callback=_sizes, help="Batch sizes."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, max=600),
    default=2.0,
    show_default=True,
    help="How long each size of each engine is measured.",
)
@models_option
@config_option
@json_option
def bench(
    *,
    model_id: str,
    sizes: tuple[int, ...],
    seconds: float,
    models: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Measure each engine of this machine with a model.

    Milliseconds a batch, and agreement with ONNX Runtime over drawn pictures. It needs no running
    box; one that runs meanwhile makes all numbers worse.
    """
    from edge.app.engine_ways import parity
    from edge.cli.infer_plan import Asked

    settings = Asked(models=models, config=config).settings()
    installed = _installed(settings, model_id or settings.detect.model)
    found = list(measure(candidates(settings, installed), sizes, seconds, parity))
    data = {"model": installed.id, "engines": [asdict(one) for one in found]}
    answer(data, "\n".join([f"{installed.id}, milliseconds a batch", *_table(found, sizes)]),
           as_json=as_json)  # fmt: skip
    if all(one.why for one in found):
        raise EdgeError(f"no engine runs {installed.id} here", hint="edge engine check")


def candidates(config: Config, installed: Installed) -> list[Candidate]:
    """Return the engines that this machine may have; ONNX Runtime, the reference, first.

    One that needs a GPU is among them only where there is a GPU, or it is asked for by name.
    """
    from edge.app.engine_ways import ways_of
    from edge.config.root import state_directory
    from edge.stages.engines.onnx import OnnxEngine

    found = [Candidate(name=REFERENCE, open=lambda: OnnxEngine.open(installed.path))]
    for way in ways_of(config, state_directory(config.box), lambda: None).values():
        lack = way.lacks()
        if lack is None or not way.on_gpu or config.detect.engine == way.name:
            found.append(Candidate(name=way.name, open=partial(_opened, way, lack, installed)))
    return found


def _opened(way: Way, lack: tuple[str, str] | None, installed: Installed) -> Engine:
    if lack is not None:
        raise PartFailed(lack[0], hint=lack[1], reason="missing")
    if not way.identity(installed):
        raise PartFailed(
            "it is not built yet, or was refused",
            hint="edge engine build; with --force if it was refused",
            reason="not_built",
        )
    return way.open(installed, None)


def measure(
    engines: Sequence[Candidate], sizes: Sequence[int], seconds: float, agree: Agree
) -> Iterator[Measured]:
    """Open, measure and close one engine after the other; the first is what others agree with."""
    reference: Engine | None = None
    with ExitStack() as held:
        for one in engines:
            try:
                engine = one.open()
                held.callback(engine.close)
                took = _took(engine, sizes, seconds)
                agreement = None if reference is None else agree(reference, engine)
            except PartFailed as error:
                yield Measured(name=one.name, why=str(error), hint=error.hint)
                continue
            reference = reference or engine
            yield Measured(name=one.name, milliseconds=took, agreement=agreement)


def _took(engine: Engine, sizes: Sequence[int], seconds: float) -> dict[int, float]:
    pictures = drawn(engine.info.input_size)
    return {size: _milliseconds(engine, pictures, size, seconds) for size in sizes}


def _milliseconds(engine: Engine, pictures: Sequence[Pixels], size: int, seconds: float) -> float:
    """Return the median time of a batch, after one that does not count."""
    import numpy as np

    batch = np.stack([pictures[row % len(pictures)] for row in range(size)])
    nobody = (None,) * size
    engine.infer(batch, nobody)
    took: list[float] = []
    until = time.perf_counter() + seconds
    while len(took) < _LEAST_ROUNDS or time.perf_counter() < until:
        began = time.perf_counter()
        engine.infer(batch, nobody)
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


def drawn(size: tuple[int, int]) -> list[Pixels]:
    """Return drawn pictures with people, ``(h, w, 3)`` uint8 BGR at ``size``."""
    import cv2
    import numpy as np

    from edge.sources.scene_drawing import SceneDrawing

    drawing = SceneDrawing(_SEED, *_SIZE, _PEOPLE)
    scenes = (drawing.draw(5 * index, 1.0)[0] for index in range(_PICTURES))
    return [cv2.resize(scene, size).astype(np.uint8, copy=False) for scene in scenes]


def _installed(config: Config, model: str) -> Installed:
    from edge.app.parts import models_directory
    from edge.catalog.installed import Catalog

    found = Catalog(models_directory(config), max_bytes=config.models.max_bytes).find(model)
    if found is None:
        raise EdgeError(
            f"{model} is not installed",
            hint=f"edge model pull {model}, or edge model import FILE",
            reason="not_installed",
        )
    return found


def _table(found: Sequence[Measured], sizes: Sequence[int]) -> Iterator[str]:
    rows = [["ENGINE", *(f"BATCH {size}" for size in sizes), "AGREES"]]
    for one in found:
        took = [milliseconds(one.milliseconds[size]) for size in sizes if one.milliseconds]
        rows.append([one.name, *(took or ["-"] * len(sizes)), _agrees(one)])
    yield from table(rows)
    for one in found:
        if one.hint:
            yield f"  {one.name}: {one.hint}"


def _agrees(one: Measured) -> str:
    if one.why:
        return one.why
    if one.agreement is None:
        return "it is the reference"
    return f"{'yes' if one.agreement.passed else 'NO'}: {one.agreement.text}".rstrip(": ")
