"""``edge fleet``: every box of a broker, without a server in between."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from edge.cli.fleet_broker import broker_options, duration, take_broker
from edge.cli.show import json_option

_EVERY = click.option(
    "--every", default="60s", callback=duration, metavar="TIME",
    help="How often boxes say how they are: health_every of [mqtt].",
)  # fmt: skip
_WITHIN = click.option(
    "--within", default="30s", callback=duration, metavar="TIME",
    help="How long what the broker keeps may take to come.",
)  # fmt: skip


@click.group()
def fleet() -> None:
    """See and command every box of a broker."""


@fleet.command()
@click.option("--site", default="", help="That site alone.")
@click.option("--bad", is_flag=True, help="Only boxes that are not well.")
@click.option("--watch", is_flag=True, help="Go on, and show what changes.")
@_EVERY
@_WITHIN
@json_option
@broker_options
def status(*, as_json: bool, watch: bool, **given: Any) -> None:
    """Say how every box is, by what the broker keeps. Exit code 1: some are not well, or none."""
    from edge.cli.fleet_status import Watch

    look = Watch(take_broker(given), as_json=as_json, **given)
    if watch:
        asyncio.run(look.ever())
    elif not asyncio.run(look.once()):
        click.get_current_context().exit(1)


@fleet.command()
@click.argument("target", metavar="SITE[/NODE]|all")
@click.argument("verb")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--args", "text", metavar="JSON", help="Arguments as a JSON object.")
@click.option("--id", "command_id", help="The command's id: sent again, it is not done again.")
@click.option(
    "--timeout",
    callback=duration,
    metavar="TIME",
    help="How long to wait for replies. Else as long as the verb may take.",
)
@click.option(
    "--expires", default="1h", callback=duration, metavar="TIME", help="How long it counts."
)
@click.option("--offline", is_flag=True, help="Also to boxes that are away: they get it later.")
@click.option(
    "--group", is_flag=True, help="One message a site, to all its boxes, those unheard of too."
)
@click.option(
    "--sign",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="KEYFILE",
    help="Sign it: an Ed25519 key as PEM (openssl genpkey -algorithm ed25519).",
)
@click.option("--key", "key_id", metavar="NAME", help="Its name in [control.keys]; else KEYFILE's.")
@click.option("--yes", "-y", is_flag=True, help="Needed to change all boxes at once.")
@_EVERY
@_WITHIN
@json_option
@broker_options
def send(*, as_json: bool, **given: Any) -> None:
    """Send a command and gather the replies: edge fleet send north/gate source.test name=cam1."""
    from edge.cli.fleet_send import run

    code = run(take_broker(given), as_json=as_json, **given)
    click.get_current_context().exit(code)
