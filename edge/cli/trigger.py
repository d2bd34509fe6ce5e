"""``edge trigger``: the running box's triggers, listed, shown, set and removed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, BinaryIO
from urllib.parse import quote

import click

from edge.cli.box_client import BoxClient, box_options, where_is_box
from edge.cli.show import answer, json_option
from edge.errors import Rejected


@click.group()
def trigger() -> None:
    """List, show, set and remove triggers: who gets which events."""


@trigger.command()
@box_options
@json_option
def ls(*, as_json: bool, **box: Any) -> None:
    """List the triggers, and how they are."""
    with closing(BoxClient(where_is_box(**box))) as client:
        found = client.ask("/v1/triggers")
    lines = [line for one in found["triggers"] for line in _lines(one)]
    answer(found, "\n".join(lines) or "no triggers", as_json=as_json)


@trigger.command()
@click.argument("name")
@box_options
@json_option
def show(*, name: str, as_json: bool, **box: Any) -> None:  # noqa: ARG001 (it is JSON anyway)
    """Print a trigger as JSON, so that it can be changed and put back."""
    with closing(BoxClient(where_is_box(**box))) as client:
        answer(client.ask(_path(name)), as_json=True)


@trigger.command()
@click.argument("name")
@click.option(
    "-f",
    "--file",
    type=click.File("rb"),
    required=True,
    metavar="FILE|-",
    help='JSON: {"filters": […], "subscriber": {…}}, or what edge trigger show prints.',
)
@box_options
@json_option
def put(*, name: str, file: BinaryIO, as_json: bool, **box: Any) -> None:
    """Set a trigger; the box keeps it across restarts. YAML is not read."""
    try:
        spec = json.loads(file.read())
    except (ValueError, RecursionError) as error:
        raise Rejected(f"{file.name}: expected JSON: {error}", reason="not_json") from error
    with closing(BoxClient(where_is_box(**box))) as client:
        found = client.ask(_path(name), method="PUT", payload=spec)
    answer(found, "\n".join(_lines(found)), as_json=as_json)


@trigger.command()
@click.argument("name")
@box_options
@json_option
def rm(*, name: str, as_json: bool, **box: Any) -> None:
    """Remove a trigger; what waits for it becomes dead letters."""
    with closing(BoxClient(where_is_box(**box))) as client:
        client.ask(_path(name), method="DELETE")
    answer({"removed": name}, f"removed {name}", as_json=as_json)


def _path(name: str) -> str:
    return f"/v1/triggers/{quote(name, safe='')}"


def _lines(one: Mapping[str, Any]) -> Iterator[str]:
    status = one["status"]
    ready = status["conditions"][0]
    word = "ready" if ready["status"] == "True" else f"not ready ({ready['reason']})"
    counts = ", ".join(
        f"{status[name]} {text}"
        for name, text in (
            ("waiting", "waiting"),
            ("under_way", "under way"),
            ("done", "done"),
            ("dead", "dead"),
        )
    )
    yield f"{one['name']} ({one['origin']}): {word}; {counts}"
    if ready["message"]:
        yield f"  {ready['message']}"
