"""``edge engine build`` where no box runs: the machine is prepared for its first start.

It builds as the box does, into the cache of the box, which tries what it finds there before it
looks with it. Tried on the fakes (``tests/gpu``) alone: no build on a GPU has been seen.
"""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import EdgeError, PartFailed

if TYPE_CHECKING:
    from edge.app.engine_ways import TensorRT
    from edge.catalog.installed import Installed
    from edge.config.root import Config
    from edge.engine_status import Build

LOOK_EVERY = 0.25
"""Seconds between two looks at how far it is."""


def is_up(config: Path | None) -> bool:
    """Tell whether a box listens at its socket on this machine, or may do so unseen."""
    from edge.cli.ctl import SocketConnection, socket_of

    with closing(SocketConnection(socket_of(config))) as box:
        try:
            box.connect()
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        except OSError:  # it is there, and not for everybody
            return True
    return True


def build_here(
    order: Mapping[str, Any],
    config: Path | None,
    *,
    begin: Callable[[str], None],
    show: Callable[[Mapping[str, Any]], None],
) -> tuple[Mapping[str, Any], str]:
    """Build the engine of a model; interrupted, the builder is killed and nothing stays behind.

    Args:
        order: ``model``, its id, or empty for the one that the box's configuration wants;
            ``force`` builds even if the cache has it.
        config: the box's file; None: the usual one, or without one, what counts without.
        begin: told where it is built, before that.
        show: told how far it is.

    Returns:
        How it ended, as the fields of a ``Build``; and in words, also what becomes of it.

    Raises:
        PartFailed: this machine lacks something, or its user may not build for the box.
        EdgeError: the model is not installed, or another process builds.

    """
    from edge.app.engine_ways import TensorRT
    from edge.config.root import state_directory

    settings = _settings(config)
    way = TensorRT(settings, state_directory(settings.box), lambda: None)
    lack = way.lacks()
    if lack is not None:
        raise PartFailed(
            f"no engine can be built on this machine: {lack[0]}",
            hint=f"{lack[1]}; edge engine check lists all that there is",
            reason="no_gpu" if not way.facts.usable else "no_library",
        )
    installed = _installed(settings, order["model"] or settings.detect.model)
    begin(f"building here, into {way.plans.path}")
    ended, new = asyncio.run(_built(way, installed, force=order["force"], show=show))
    took = f"built in {ended.seconds:.0f} s" if new else "it is built already; --force builds anew"
    return asdict(ended), f"{took}\n{_what_becomes(settings, installed.id)}"


async def _built(
    way: TensorRT, model: Installed, *, force: bool, show: Callable[[Mapping[str, Any]], None]
) -> tuple[Build, bool]:
    """Return how it ended, and whether it was built now."""
    try:
        now = await way.build(model, force=force, asked=True)
        new = now.state == "running"
        while now.state == "running":
            show(asdict(now))
            await asyncio.sleep(LOOK_EVERY)
            now = way.build_status()
        return now, new
    finally:
        await way.close()


def _settings(config: Path | None) -> Config:
    """Return the configuration with which the box starts next, and where it keeps its state."""
    from edge.app.config import look, state_of
    from edge.cli.infer_plan import Asked
    from edge.config.load import config_file, tables_in
    from edge.config.root import state_directory

    path = config_file(config)
    if config is None and not os.environ.get("EDGE_CONFIG") and not path.exists():
        settings = Asked().settings()
        _see_whose(state_directory(settings.box))
        return settings
    state = state_of(path, tables_in(path))
    _see_whose(state)
    settings = look(path, secrets=False)[0].config
    box = settings.box.model_copy(update={"state": str(state)})
    return settings.model_copy(update={"box": box})


def _see_whose(state: Path) -> None:
    """See that the box, which runs as the owner of its state, takes what is built."""
    try:
        owner = state.stat().st_uid
    except FileNotFoundError:
        return
    if owner != os.geteuid():
        name = _name(owner)
        raise PartFailed(
            f"{state} belongs to {name}: the box would not take what {_name(os.geteuid())} builds",
            hint=f"sudo -u {name} edge engine build",
            reason="not_owner",
        )


def _installed(config: Config, model: str) -> Installed:
    from edge.app.parts import catalog_of

    catalog = catalog_of(config)
    found = catalog.find(model)
    if found is None:
        where = f" --models {catalog.path}"
        raise EdgeError(
            f"model {model} is not installed in {catalog.path}",
            hint=f"edge model pull {model}{where}, or edge model import FILE{where}",
            reason="no_model",
        )
    return found


def _what_becomes(config: Config, model: str) -> str:
    detect = config.detect
    if detect.engine not in {"auto", "tensorrt"}:
        return f'it is not tried: [detect] engine = "{detect.engine}" asks for another one'
    if detect.model != model:
        return f"it is kept; the box starts with {detect.model}"
    return "the box tries it beside ONNX Runtime when it starts, before it looks with it"


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
