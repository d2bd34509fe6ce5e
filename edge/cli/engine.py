"""``edge engine``: build, list, check, choose and measure what looks at the pictures.

``build``, ``ls`` and ``use`` ask the running box; ``check`` and ``bench`` look at this machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import click

from edge.cli.box_client import BoxClient, box_options, where_is_box
from edge.cli.engine_bench import bench
from edge.cli.engine_check import check
from edge.cli.engine_child import build_child
from edge.cli.engine_show import listing, looks
from edge.cli.show import answer, json_option, warn
from edge.errors import EdgeError
from edge.web.present_engines import being_tried

LOOK_EVERY = 0.5
"""Seconds between two looks at how far a build is."""
_SWAP = 600.0
"""Seconds that another engine may take to be opened and found fit."""
_SHORTEST = 6
"""Characters of a key that are enough to name it."""

Show = Callable[[Mapping[str, Any]], None]


@click.group()
def engine() -> None:
    """Build, list, check, choose and measure engines."""


engine.add_command(bench)
engine.add_command(check)
engine.add_command(build_child)


@engine.command()
@click.argument("model_id", metavar="[MODEL]", default="")
@click.option("--force", is_flag=True, help="Build even if the box has a built one.")
@click.option("--no-wait", is_flag=True, help="Begin, and do not wait for the end.")
@click.option("--stop", is_flag=True, help="Stop the build that goes on.")
@box_options
@json_option
def build(
    *, model_id: str, force: bool, no_wait: bool, stop: bool, as_json: bool, **box: Any
) -> None:
    """Have the running box build the engine of a model for its GPU."""
    with closing(BoxClient(where_is_box(**box))) as client:
        if stop:
            _stop(client, as_json=as_json)
            return
        order = {"model": model_id, "force": force}
        begun = client.ask("/v1/engines/build", method="POST", payload=order)["build"]
        if no_wait:
            answer(begun, f"{begun['model']}: {begun['state']}", as_json=as_json)
            return
        with _bar(show=not as_json) as show:
            told = _follow(client, begun, show)
    _raise_for(told)
    took = f"built in {told['build']['seconds']:.0f} s"
    answer(told, f"{told['build']['model']}: {took}\n{looks(told)}", as_json=as_json)


@engine.command()
@box_options
@json_option
def ls(*, as_json: bool, **box: Any) -> None:
    """List the running box's engines, and why this one looks."""
    with closing(BoxClient(where_is_box(**box))) as client:
        told = client.ask("/v1/engines")
    answer(told, listing(told), as_json=as_json)


@engine.command()
@click.argument("name", metavar="NAME|KEY")
@box_options
@json_option
def use(*, name: str, as_json: bool, **box: Any) -> None:
    """Let another engine look.

    By name (onnx, openvino, tensorrt, or auto for the fastest) or by the key of a built one. The
    engine before looks until the other was found fit.
    """
    with closing(BoxClient(where_is_box(**box), timeout=_SWAP)) as client:
        wanted = _whole(name, client.ask("/v1/engines")["plans"])
        told = client.ask("/v1/engines/use", method="POST", payload={"engine": wanted})
    answer(told, looks(told), as_json=as_json)


def _stop(client: BoxClient, *, as_json: bool) -> None:
    told = client.ask("/v1/engines/cancel", method="POST")
    answer(told, "stopped" if told["cancelled"] else "nothing is built now", as_json=as_json)


def _follow(client: BoxClient, build: Mapping[str, Any], show: Show) -> Mapping[str, Any]:
    """Ask how far it is until it was built and tried; return what the box says of its engines."""
    tried_until: float | None = None
    while True:
        told: Mapping[str, Any] = client.ask("/v1/engines")
        now = told["build"]
        if being_tried(told):
            tried_until = tried_until or time.monotonic() + _SWAP
            now = {"phase": "trying it beside ONNX Runtime", "share": None}
        elif now["state"] != "running":
            return told
        if told["build"]["key"] != build["key"] or time.monotonic() > (tried_until or math.inf):
            return told
        show(now)
        try:
            time.sleep(LOOK_EVERY)
        except KeyboardInterrupt:
            warn("the box goes on building; edge engine build --stop ends it")
            raise


def _raise_for(told: Mapping[str, Any]) -> None:
    build = told["build"]
    for plan in told["plans"]:
        if plan["key"] == build["key"] and plan["state"] == "refused":
            raise EdgeError(
                f"the engine of {build['model']} was built, and found unfit: {plan['why']}",
                hint="edge engine ls",
                reason="engine_refused",
            )
    if build["state"] == "failed":
        raise EdgeError(
            f"the engine of {build['model']} could not be built: {build['reason']}",
            hint=build["hint"],
            reason="build_failed",
        )
    if build["state"] == "cancelled":
        raise EdgeError(f"the build of {build['model']} was stopped", reason="build_cancelled")
    if build["state"] != "done":
        raise EdgeError(
            "the box says no more of this build: it was started anew, or builds another one",
            hint="edge engine ls",
            reason="build_lost",
        )


def _whole(name: str, plans: list[Mapping[str, Any]]) -> str:
    """Return the key that ``name`` is the beginning of, if it is the beginning of one."""
    keys = [plan["key"] for plan in plans if plan["key"].startswith(name)]
    return keys[0] if len(name) >= _SHORTEST and len(keys) == 1 else name


@contextmanager
def _bar(*, show: bool) -> Iterator[Show]:
    """Draw how far a build is on standard error, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    phase = TextColumn("{task.description}", markup=False)
    columns = (phase, BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not (show and console.is_terminal)) as bar:
        task = bar.add_task("building", total=None)

        def update(build: Mapping[str, Any]) -> None:
            share = build["share"]
            words = build["phase"] or "building"
            if share is None:
                bar.update(task, description=words, total=None)
            else:
                bar.update(task, description=words, total=1.0, completed=share)

        yield update
