"""``edge sim``: simulated boxes, for sizing a broker and for trying what listens to boxes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from edge.cli.fleet_broker import broker_options, duration, take_broker
from edge.cli.show import json_option
from edge.cli.sim_plan import Plan, raise_limit, read_faults

if TYPE_CHECKING:
    from edge.cli.sim_plan import Faults


def _faults(_context: object, _option: object, given: str) -> Faults:
    try:
        return read_faults(given)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option("--boxes", type=click.IntRange(1, 60_000), default=10, help="How many.")
@click.option(
    "--rate", type=click.FloatRange(0, 1000), default=0.1, help="Results a second of each box."
)
@click.option("--sources", type=click.IntRange(1, 100), default=4, help="Sources of each box.")
@click.option("--site", default="sim", help="Name of their site.")
@click.option("--sites", type=click.IntRange(1), default=1, help="Spread them over so many sites.")
@click.option(
    "--health",
    default="60s",
    callback=duration,
    metavar="TIME",
    help="How often each says how it is.",
)
@click.option(
    "--connect-rate",
    type=click.FloatRange(0, min_open=True),
    default=200.0,
    help="So many connect in a second at the start.",
)
@click.option(
    "--historical-after",
    default="60s",
    callback=duration,
    metavar="TIME",
    help="A result that waited longer is marked historical.",
)
@click.option(
    "--faults",
    default="",
    callback=_faults,
    metavar="LIST",
    help="offline=SHARE of the time, away=TIME each, reconnect=TIME between storms, loss=SHARE and "
    "duplicate=SHARE of the results.",
)
@click.option("--duration", callback=duration, metavar="TIME", help="For how long; else for ever.")
@click.option("--seed", type=int, default=0, help="Of chance: the same again is the same.")
@click.option("--keep", is_flag=True, help="Leave at the broker what it keeps of the boxes.")
@json_option
@broker_options
def sim(*, as_json: bool, duration: float | None, keep: bool, **given: Any) -> None:
    """Simulate boxes against a broker: their presence, results, replies and faults."""
    from edge.cli.sim_run import Simulation, text

    def report(found: Mapping[str, Any]) -> None:
        print(json.dumps(found) if as_json else text(found), flush=True)

    broker = take_broker(given)
    plan = Plan(**given)
    raise_limit(plan.boxes)
    report(asyncio.run(Simulation(plan, broker, report).run(duration, keep=keep)))
