"""``edge route``: try routing rules on a key before they are deployed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import click

from edge.bus.route import BadRules, Route, Trial
from edge.cli.show import answer, config_option, json_option
from edge.config.handlers import RouteConfig
from edge.config.load import config_file, examine
from edge.config.load_faults import ConfigError, Fault, Location, show_given
from edge.event import PICTURE_REDACTED, Event, Value, WireEvent


@click.group()
def route() -> None:
    """Try routing rules."""


@route.command()
@click.argument("key")
@click.option(
    "--type",
    "kind",
    default=PICTURE_REDACTED,
    show_default=True,
    help="Type of the event.",
)
@click.option("--source", default="/site/box/camera", show_default=True, help="Its source.")
@config_option
@click.option("--handler", default="", help="Name of the handler, where there are several.")
@json_option
@click.pass_context
def test(
    context: click.Context,
    *,
    key: str,
    kind: str,
    source: str,
    config: Path | None,
    handler: str,
    as_json: bool,
) -> None:
    """Say which rules match an event with KEY as its subject, and what comes out.

    Nothing is sent, and the box need not run. Exit 1 where no rule matches.
    """
    if not kind or not source:
        raise click.UsageError("--type and --source: expected text, got nothing")
    path = config_file(config)
    name, rules = _handler(examine(path, secrets=False).config.handlers, handler, path)
    event: WireEvent = Event(id="test", source=source, type=kind, subject=key, data=None)
    trial = asyncio.run(_route(name, rules, path).trial(event))
    facts = {
        "handler": name,
        "rules": len(rules.rules),
        "matched": trial.matched,
        "changed": trial.changed,
        "type": trial.event.type,
        "set": _made(trial.event, event),
    }
    answer(facts, _text(trial, event, name, len(rules.rules)), as_json=as_json)
    context.exit(0 if trial.matched else 1)


def _handler(handlers: Mapping[str, object], asked: str, path: Path) -> tuple[str, RouteConfig]:
    """Return the name and section of the handler to try."""
    routes = {name: one for name, one in handlers.items() if isinstance(one, RouteConfig)}
    if not routes:
        fault = Fault(location=("handlers",), message='expected one with kind = "route"')
        raise ConfigError(str(path), [fault])
    names = ", ".join(routes)
    if asked and asked not in routes:
        raise click.UsageError(f"--handler: expected one of {names}, got {show_given(asked)}")
    if not asked and len(routes) > 1:
        raise click.UsageError(f"{path} has several handlers with rules: --handler one of {names}")
    name = asked or next(iter(routes))
    return name, routes[name]


def _route(name: str, config: RouteConfig, path: Path) -> Route:
    try:
        return Route(config, f"edge:{name}")
    except BadRules as error:
        faults = [
            Fault(
                location=_location(name, fault.rule, fault.key),
                given=show_given(fault.given),
                message=(f"at character {fault.position}: " if fault.position else "")
                + fault.message,
            )
            for fault in error.faults
        ]
        raise ConfigError(str(path), faults) from error


def _location(handler: str, rule: int, key: str) -> Location:
    place: Location = (rule - 1, *key.split(".", 1)) if rule else ()
    return ("handlers", handler, "rules", *place)


def _made(after: WireEvent, before: WireEvent) -> dict[str, Value]:
    return {
        name: value
        for name, value in after.extensions.items()
        if before.extensions.get(name) != value
    }


def _text(trial: Trial, before: WireEvent, name: str, count: int) -> str:
    if not trial.matched:
        return f"{name}: none of {count} rule{'s' if count != 1 else ''} matches"
    numbers = " and ".join(map(str, trial.matched))
    which = f"rule{'s' if len(trial.matched) != 1 else ''} {numbers} of {count}"
    lines = [f"{name}: {which}"]
    if trial.event.type != before.type:
        lines.append(f"  type  {trial.event.type}  (was {before.type})")
    lines += [f"  {key} = {value}" for key, value in _made(trial.event, before).items()]
    if not trial.changed:
        lines.append("  changes nothing: no event comes of it")
    return "\n".join(lines)
