"""``edge engine``: build, list, check, choose and measure what looks at the pictures.

``ls`` and ``use`` ask the running box; ``build`` does, too, where one runs; ``check`` and ``bench``
look at this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import click

from edge.cli.box_client import BoxClient, box_options, where_is_box
from edge.cli.engine_bench import bench
from edge.cli.engine_build import TRIED_WITHIN, build
from edge.cli.engine_check import check
from edge.cli.engine_child import build_child
from edge.cli.engine_show import listing, looks
from edge.cli.show import answer, json_option

_SHORTEST = 6
"""Characters of a key that are enough to name it."""


@click.group()
def engine() -> None:
    """Build, list, check, choose and measure engines."""


engine.add_command(bench)
engine.add_command(build)
engine.add_command(check)
engine.add_command(build_child)


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
    with closing(BoxClient(where_is_box(**box), timeout=TRIED_WITHIN)) as client:
        wanted = _whole(name, client.ask("/v1/engines")["plans"])
        told = client.ask("/v1/engines/use", method="POST", payload={"engine": wanted})
    answer(told, looks(told), as_json=as_json)


def _whole(name: str, plans: list[Mapping[str, Any]]) -> str:
    """Return the key that ``name`` is the beginning of, if it is the beginning of one."""
    keys = [plan["key"] for plan in plans if plan["key"].startswith(name)]
    return keys[0] if len(name) >= _SHORTEST and len(keys) == 1 else name
