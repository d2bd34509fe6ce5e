"""``edge model``: fetch, list, import, check and quantise models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from edge.catalog.check import check as check_model
from edge.catalog.installed import Catalog, Damaged, Installed
from edge.catalog.manifest import Manifest
from edge.catalog.pull import NETWORK, Progress
from edge.catalog.wishes import Wishes
from edge.cli.show import answer, json_option
from edge.config.detect import DetectConfig
from edge.config.root import BoxConfig, state_directory
from edge.errors import EdgeError, PartFailed

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT: str = DetectConfig().model


def models_option(command: Command) -> Command:
    """Give a command ``--models DIR``, as ``models``."""
    return click.option(
        "--models",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Directory of installed models. Else $STATE_DIRECTORY/models, "
        "~/.local/state/edge/models.",
    )(command)


def _labels(_: click.Context, __: click.Parameter, said: tuple[str, ...]) -> dict[str, int]:
    """Read ``person=0``: a label and the index of its class."""
    found = {}
    for text in said:
        name, _equals, index = text.partition("=")
        if not name or not index.isdecimal():
            raise click.BadParameter(f"{text!r} is not NAME=INDEX, for example person=0")
        found[name] = int(index)
    return found


def _size(_: click.Context, __: click.Parameter, said: str | None) -> tuple[int, int] | None:
    """Read ``416x320``: width and height in pixels."""
    if said is None:
        return None
    sides = said.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() for side in sides):
        raise click.BadParameter(f"{said!r} is not WIDTHxHEIGHT, for example 416x416")
    return int(sides[0]), int(sides[1])


@click.group()
def model() -> None:
    """Fetch, list, import, check and quantise models."""


@model.command()
@click.argument("model_id", metavar="[ID]", default=DEFAULT)
@click.option("--url", default="", help="Another address of the same file, a mirror say.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="What came by then is kept, and the next try goes on from there.",
)
@models_option
@json_option
def pull(*, model_id: str, url: str, timeout: float, models: Path | None, as_json: bool) -> None:
    """Fetch a known model from its public address and install it."""
    catalog = _catalog(models)
    with _exit_codes(), _bar(model_id, show=not as_json) as progress:
        installed = asyncio.run(catalog.pull(model_id, timeout=timeout, progress=progress, url=url))
    answer(_facts(installed), _installed_text(installed), as_json=as_json)


@model.command()
@models_option
@json_option
def ls(*, models: Path | None, as_json: bool) -> None:
    """List the models that are installed, and those that can be fetched."""
    catalog = _catalog(models)
    with _exit_codes():
        here = catalog.ls()
        known = dict(catalog.manifests)
    rows = [_row(one) for one in here]
    have = {one.id for one in here}
    rows += [_known_row(one) for one in known.values() if one.id not in have]
    width = max((len(row["id"]) for row in rows), default=0)
    lines = [f"{row['id']:{width}}  {row['state']:9}  {row['about']}" for row in rows]
    answer(rows, "\n".join(lines), as_json=as_json)


@model.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--id", "name", default="", help="Its name here; else the known one, or the file's.")
@click.option("--like", default="", metavar="ID", help="It is fed and read like this known model.")
@click.option("--family", default="", help="How it writes down what it saw, e.g. picodet, yolox.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    callback=_labels,
    metavar="NAME=INDEX",
    help="What to look for, and which class of the network it is.",
)
@click.option(
    "--input",
    "size",
    callback=_size,
    metavar="WIDTHxHEIGHT",
    help="Input size in pixels, where the file leaves it open.",
)
@click.option("--threshold", type=click.FloatRange(0.01, 0.99), help="Scores below are nobody.")
@click.option("--resize", type=click.Choice(["stretch", "letterbox"]), help="How a picture fits.")
@click.option("--pad", type=click.IntRange(0, 255), help="Value around a letterbox.")
@click.option("--colour", type=click.Choice(["RGB", "BGR"]), help="Order of the colour planes.")
@click.option("--scale", type=float, help="Colour values go in as (x * scale - mean) / std.")
@click.option("--mean", type=(float, float, float), help="Three values, after scaling.")
@click.option("--std", type=(float, float, float), help="Three values, after scaling.")
@models_option
@json_option
def import_(*, file: Path, models: Path | None, as_json: bool, **said: Any) -> None:
    """Install a model from FILE (ONNX, as published).

    A file that Edge knows by its digest needs nothing else. For any other, say --like ID, or as
    much as Edge asks for.
    """
    catalog = _catalog(models)
    with _exit_codes():
        installed = catalog.import_file(file, _wishes(said))
    answer(_facts(installed), _installed_text(installed), as_json=as_json)


@model.command()
@click.argument("model_id", metavar="[ID]", default=DEFAULT)
@models_option
@json_option
def check(*, model_id: str, models: Path | None, as_json: bool) -> None:
    """Check that an installed model is whole, loads, and answers sensibly."""
    from edge.stages.engines.onnx import OnnxEngine

    with _exit_codes():
        report = check_model(_catalog(models), model_id, OnnxEngine.open)
    facts = _facts(report.model) | {
        "passed": list(report.passed),
        "milliseconds": round(report.milliseconds, 1),
    }
    lines = [*(f"ok  {line}" for line in report.passed)]
    lines.append(f"{model_id}: ok, {report.milliseconds:.1f} ms a picture")
    answer(facts, "\n".join(lines), as_json=as_json)


@model.command()
@click.argument("model_id", metavar="[ID]", default=DEFAULT)
@click.option(
    "--to",
    type=click.Choice(["fp16", "int8"]),
    required=True,
    help="Half precision, or 8-bit convolutions.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Pictures of the place. int8 needs them (32 or more); fp16 is compared on them too.",
)
@models_option
@json_option
def quantize(
    *, model_id: str, to: str, calibration: Path | None, models: Path | None, as_json: bool
) -> None:
    """Make ID_fp16 or ID_int8 for a GPU. It is installed only if it sees what ID sees."""
    from edge.cli import model_quantize

    with _exit_codes():
        model_quantize.quantize(_catalog(models), model_id, to, calibration, as_json=as_json)


def _catalog(models: Path | None) -> Catalog:
    return Catalog(models or state_directory(BoxConfig()) / "models")


def _wishes(said: Mapping[str, Any]) -> Wishes:
    keys = ("resize", "pad", "colour", "scale", "mean", "std")
    return Wishes(
        id=said["name"],
        family=said["family"],
        like=said["like"],
        labels=said["labels"],
        size=said["size"],
        threshold=said["threshold"],
        input={key: said[key] for key in keys if said[key] is not None},
    )


@contextmanager
def _exit_codes() -> Iterator[None]:
    """Only the network is a dependency here (4); all else is this command's own failure (1)."""
    try:
        yield
    except PartFailed as error:
        if error.reason in NETWORK:
            raise
        raise EdgeError(str(error), hint=error.hint, reason=error.reason) from error


@contextmanager
def _bar(name: str, *, show: bool) -> Iterator[Progress]:
    """Draw the download on standard error, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as RichProgress

    console = Console(stderr=True)
    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with RichProgress(*columns, console=console, disable=not (show and console.is_terminal)) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _facts(installed: Installed) -> dict[str, Any]:
    manifest = installed.manifest
    return {
        "id": installed.id,
        "state": "installed",
        "path": str(installed.path),
        "digest": installed.digest,
        "installed_at": installed.installed_at.isoformat(),
        "manifest": manifest.model_dump(mode="json"),
    }


def _installed_text(installed: Installed) -> str:
    manifest = installed.manifest
    fed = f"{manifest.input.width}x{manifest.input.height}, {manifest.input.resize}"
    return (
        f"{installed.id}: installed ({manifest.about or manifest.family})\n"
        f"  family     {manifest.family}, {fed}, {manifest.input.colour}\n"
        f"  looks for  {', '.join(manifest.labels)}, from a score of {manifest.threshold:g}\n"
        f"  licence    {manifest.licence}"
        + (f" ({manifest.author})" if manifest.author else "")
        + f"\n  file       {installed.path}"
    )


def _row(one: Installed | Damaged) -> dict[str, Any]:
    if isinstance(one, Damaged):
        return {"id": one.id, "state": "damaged", "about": one.reason}
    return _facts(one) | {"about": f"{one.manifest.about}; {one.manifest.licence}"}


def _known_row(one: Manifest) -> dict[str, Any]:
    way = f"edge model pull {one.id}" if one.url else "edge model import FILE"
    return {
        "id": one.id,
        "state": "known",
        "about": f"{one.about}; {one.licence}; {one.bytes / 1e6:.1f} MB; {way}",
        "manifest": one.model_dump(mode="json"),
    }
