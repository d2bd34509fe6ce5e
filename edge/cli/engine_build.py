"""``edge engine build``: the running box builds, and tries what it built; how far that is.

Without a running box on this machine: ``engine_build_here.py``.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click

from edge.cli.box_client import BoxClient, RefusedByBox, box_options, where_is_box
from edge.cli.engine_show import looks
from edge.cli.show import answer, json_option, warn
from edge.errors import EdgeError, PartFailed, Rejected
from edge.web.present_engines import being_tried

_LACKS = {"no_gpu", "no_library"}
"""Reasons of a refusal that mean: something has to be installed first."""
LOOK_EVERY = 0.5
"""Seconds between two looks at how far a build is."""
TRIED_WITHIN = 600.0
"""Seconds that another engine may take to be opened and found fit."""

Show = Callable[[Mapping[str, Any]], None]


@click.command()
@click.argument("model_id", metavar="[MODEL]", default="")
@click.option("--force", is_flag=True, help="Build even if the box has a built one.")
@click.option("--no-wait", is_flag=True, help="Begin, and do not wait for the end.")
@click.option("--stop", is_flag=True, help="Stop the build that goes on.")
@box_options
@json_option
def build(
    *, model_id: str, force: bool, no_wait: bool, stop: bool, as_json: bool, **box: Any
) -> None:
    """Build the engine of a model for this GPU.

    The running box builds it, and it is waited for until the new engine looks or was found unfit.
    Where no box runs on this machine and none is named, it is built here, for the box's next start.
    """
    order = {"model": model_id, "force": force}
    try:
        with closing(BoxClient(where_is_box(**box))) as client:
            if stop:
                _stop(client, as_json=as_json)
            else:
                _have_built(client, order, wait=not no_wait, as_json=as_json)
    except (PartFailed, Rejected) as error:
        if stop or no_wait or not _none_runs(error, **box):
            raise
        _build_here(error, order, box["config"], as_json=as_json)


def _have_built(client: BoxClient, order: Mapping[str, Any], *, wait: bool, as_json: bool) -> None:
    try:
        begun = client.ask("/v1/engines/build", method="POST", payload=order)["build"]
    except RefusedByBox as error:
        if error.reason not in _LACKS:
            raise
        raise PartFailed(str(error), hint=error.hint, reason=error.reason) from error
    if not wait:
        answer(begun, f"{begun['model']}: {begun['state']}", as_json=as_json)
        return
    with bar(show=not as_json) as show:
        told = _follow(client, begun, show)
    _raise_for(told, begun)
    answer(told, _text(told, begun), as_json=as_json)


def _none_runs(error: EdgeError, url: str | None, token: str | None, config: Path | None) -> bool:
    """Tell whether nobody named a box, and none runs on this machine.

    Raises:
        PartFailed: one runs here, and does not answer at its address.

    """
    from edge.cli.engine_build_here import is_up

    del token  # the box's secrets need not be where an engine is built for it
    named = url or (config is None and os.environ.get("EDGE_URL"))
    if error.reason not in {"unreachable", "token"} or named:
        return False
    if error.reason == "unreachable" and is_up(config):
        raise PartFailed(
            f"{error}; a box runs on this machine, and listens at its socket",
            hint="edge ctl engine.build, or --url URL",
            reason="unreachable",
        ) from error
    return not is_up(config)


def _build_here(
    error: EdgeError, order: Mapping[str, Any], config: Path | None, *, as_json: bool
) -> None:
    from edge.cli.engine_build_here import build_here

    if error.reason == "unreachable":
        warn(f"{error}; a box elsewhere: --url URL")
    with bar(show=not as_json) as show:
        ended, then = build_here(order, config, begin=warn, show=show)
    _raise_unless_built(ended)
    answer({"build": ended}, f"{ended['model']}: {then}", as_json=as_json)


def _stop(client: BoxClient, *, as_json: bool) -> None:
    told = client.ask("/v1/engines/cancel", method="POST")
    answer(told, "stopped" if told["cancelled"] else "nothing is built now", as_json=as_json)


def _follow(client: BoxClient, build: Mapping[str, Any], show: Show) -> Mapping[str, Any]:
    """Ask how far it is until it was built and tried; return what the box says of its engines."""
    tried_until: float | None = None
    while True:
        told = _asked(client)
        now = told["build"]
        if being_tried(told):
            tried_until = tried_until or time.monotonic() + TRIED_WITHIN
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


def _asked(client: BoxClient) -> Mapping[str, Any]:
    try:
        told: Mapping[str, Any] = client.ask("/v1/engines")
    except PartFailed as error:
        raise PartFailed(
            f"the box stopped while the engine was built or tried: {error}",
            hint="its log says why; once it runs again: edge engine ls",
            reason="box_stopped",
        ) from error
    return told


def _raise_for(told: Mapping[str, Any], begun: Mapping[str, Any]) -> None:
    build = told["build"]
    _raise_unless_built(build)
    if build["state"] != "done" or build["key"] != begun["key"]:
        raise EdgeError(
            "the box says no more of this build: it was started anew, or builds another one",
            hint="edge engine ls",
            reason="build_lost",
        )
    why, hint = _unfit(told, anew=begun["state"] == "running")
    if why:
        raise EdgeError(
            f"the engine of {build['model']} was built, and does not look: {why}\n  {looks(told)}",
            hint=hint or "edge engine ls",
            reason="engine_refused",
        )


def _raise_unless_built(build: Mapping[str, Any]) -> None:
    if build["state"] == "failed":
        raise EdgeError(
            f"the engine of {build['model']} could not be built: {build['reason']}",
            hint=build["hint"],
            reason="build_failed",
        )
    if build["state"] == "cancelled":
        raise EdgeError(f"the build of {build['model']} was stopped", reason="build_cancelled")


def _unfit(told: Mapping[str, Any], *, anew: bool) -> tuple[str, str]:
    """Say why what was built does not look, and what to do; empty: nothing speaks against it."""
    build = told["build"]
    for plan in told["plans"]:
        # one that is back after it was built anew says so
        if plan["key"] == build["key"] and (plan["state"] == "refused" or (anew and plan["why"])):
            return plan["why"], ""
    for one in told["options"]:
        ours = one["name"] == "tensorrt" and build["model"] == told["model"]
        if ours and one["state"] == "refused":
            return one["why"], one["hint"]
    return "", ""


def _text(told: Mapping[str, Any], begun: Mapping[str, Any]) -> str:
    build = told["build"]
    lines = [f"{build['model']}: {_took(build, new=begun['state'] == 'running')}"]
    if being_tried(told):
        lines.append("it is still tried beside ONNX Runtime: edge engine ls")
    elif build["model"] != told["model"]:
        lines.append(f"it is kept, and tried once {build['model']} is the box's model")
    return "\n".join([*lines, looks(told)])


def _took(build: Mapping[str, Any], *, new: bool) -> str:
    if not new:
        return "it is built already; --force builds it anew"
    return f"built in {build['seconds']:.0f} s"


@contextmanager
def bar(*, show: bool) -> Iterator[Show]:
    """Draw how far a build is on standard error, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    phase = TextColumn("{task.description}", markup=False)
    columns = (phase, BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not (show and console.is_terminal)) as drawn:
        task = drawn.add_task("building", total=None)

        def update(build: Mapping[str, Any]) -> None:
            share = build["share"]
            words = build["phase"] or "building"
            if share is None:
                drawn.update(task, description=words, total=None)
            else:
                drawn.update(task, description=words, total=1.0, completed=share)

        yield update
