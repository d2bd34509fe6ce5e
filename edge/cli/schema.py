"""``edge schema``: the published JSON Schemas of what the box says of its pictures."""

from __future__ import annotations

import click

from edge.cli.show import answer, json_option
from edge.messages.published import ALL


@click.command()
@click.argument("name", type=click.Choice([one.name for one in ALL]))
@json_option
def schema(*, name: str, as_json: bool) -> None:
    """Print the JSON Schema of a kind of message; result: what goes with a redacted picture."""
    del as_json  # it is JSON in any case
    answer(next(one for one in ALL if one.name == name).schema(), as_json=True)
