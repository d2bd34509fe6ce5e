"""``edge dlq``: the running box's dead letters, listed, shown, delivered anew, forgotten."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

import click

from edge.cli.box_client import BoxClient, box_options, where_is_box
from edge.cli.show import answer, json_option, warn

Command = TypeVar("Command", bound=Callable[..., Any])

_BOX = ("url", "token", "config")


@click.group()
def dlq() -> None:
    """List, show, replay and drop dead letters."""


def _moment(_context: object, _option: object, given: str | None) -> str | None:
    """Read a time, or how long ago, as ISO 8601 with zone; a time without zone is local."""
    from edge.config.units import parse_duration

    if not given:
        return None
    try:
        if given[:1].isdigit() and given[-1:].isalpha() and "T" not in given:
            return (datetime.now(UTC) - timedelta(seconds=parse_duration(given))).isoformat()
        return datetime.fromisoformat(given).astimezone().isoformat()
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            "expected a time, like 2026-05-04T09:30:00Z, or how long ago, like 2h or 3d"
        ) from error


def _filter_options(command: Command) -> Command:
    """Give a command the filters; several must all match."""
    for option in (
        click.option("--until", metavar="WHEN", callback=_moment, help="Only those before."),
        click.option(
            "--since", metavar="WHEN", callback=_moment, help="A time, or how long ago: 2h, 3d."
        ),
        click.option("--subject", metavar="PART", help="Part of the event's subject."),
        click.option("--source", help="The event's source."),
        click.option("--type", help="The event's type."),
        click.option("--reason", help="Why it died: a short code, as ls shows."),
        click.option("--trigger", help="Which trigger could not deliver it; store: a picture."),
    ):
        command = option(command)
    return command


def _order_options(command: Command) -> Command:
    """Give a command what ``replay`` and ``drop`` take."""
    for option in (
        json_option,
        box_options,
        click.option("--yes", "-y", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Only say what would happen."),
        click.option("--limit", type=click.IntRange(1), help="The oldest so many at most."),
        click.option("--all", "all_", is_flag=True, help="Every letter."),
        _filter_options,
        click.argument("ids", nargs=-1, metavar="[ID]..."),
    ):
        command = option(command)
    return command


@dlq.command()
@_filter_options
@click.option("--limit", type=click.IntRange(1, 1000), default=100, help="So many at most.")
@click.option("--after", metavar="ID", help="Those after this one: the next page.")
@box_options
@json_option
def ls(*, as_json: bool, **given: Any) -> None:
    """List dead letters, the oldest first."""
    box = {name: given.pop(name) for name in _BOX}
    with closing(BoxClient(where_is_box(**box))) as client:
        found = client.ask("/v1/dlq", query=given)
    answer(found, "\n".join(_table(found["letters"])) or "no dead letters", as_json=as_json)
    if found["next"] and not as_json:
        warn(f"there are more: --after {found['next']}")


@dlq.command()
@click.argument("letter_id", metavar="ID")
@box_options
@json_option
def show(*, letter_id: str, as_json: bool, **box: Any) -> None:
    """Show one letter: every try, and the event as it came."""
    with closing(BoxClient(where_is_box(**box))) as client:
        found = client.ask(f"/v1/dlq/{quote(letter_id, safe='')}")
    answer(found, "\n".join(_facts(found)), as_json=as_json)


@dlq.command()
@_order_options
def replay(**given: Any) -> None:
    """Deliver letters anew, under their own ids; they are letters no more."""
    _carry_out("replay", **given)


@dlq.command()
@_order_options
def drop(**given: Any) -> None:
    """Forget letters for good."""
    _carry_out("drop", **given)


def _carry_out(
    verb: str, *, all_: bool, dry_run: bool, yes: bool, as_json: bool, **given: Any
) -> None:
    box = {name: given.pop(name) for name in _BOX}
    order = {name: value for name, value in given.items() if value}
    if not all_ and not order.keys() - {"limit"}:
        raise click.UsageError(f"name what to {verb}: an ID, a filter, or --all")
    order["all"] = all_
    with closing(BoxClient(where_is_box(**box))) as client:
        if dry_run or not yes:
            would = client.ask(f"/v1/dlq/{verb}", method="POST", payload=order | {"dry_run": True})
            if dry_run:
                answer(would, _would(would), as_json=as_json)
                return
            _confirm(would, as_json=as_json)
        done = client.ask(f"/v1/dlq/{verb}", method="POST", payload=order)
    past = {"replay": "replayed", "drop": "dropped"}[verb]
    answer(done, f"{past} {_letters(done['count'])}", as_json=as_json)
    missing = len(set(order.get("ids", ()))) - done["count"]
    if missing > 0:
        warn(f"{_letters(missing)} of those named were not there, or fit no filter")
        click.get_current_context().exit(1)


def _confirm(would: Mapping[str, Any], *, as_json: bool) -> None:
    if not would["count"]:
        return
    if as_json or not sys.stdin.isatty():
        raise click.UsageError(
            f"{_would(would).splitlines()[0]}: say --yes where nobody can be asked"
        )
    if not click.confirm(_would(would) + "\nGo on?", err=True):
        click.get_current_context().exit(1)


def _would(would: Mapping[str, Any]) -> str:
    lines = [f"would {would['verb']} {_letters(would['count'])}, {would['bytes']} bytes"]
    for name, title in (("triggers", "trigger"), ("reasons", "reason")):
        if would[name]:
            counts = (f"{key} {count}" for key, count in sorted(would[name].items()))
            lines.append(f"  by {title}: {', '.join(counts)}")
    return "\n".join(lines)


def _table(letters: list[Mapping[str, Any]]) -> Iterator[str]:
    rows = [
        (
            letter["id"],
            letter["died_at"],
            letter["trigger"],
            letter["reason"],
            str(letter["attributes"].get("type", "")),
            str(letter["attributes"].get("subject") or letter["attributes"].get("id", "")),
        )
        for letter in letters
    ]
    if rows:
        rows.insert(0, ("ID", "DIED", "TRIGGER", "REASON", "TYPE", "SUBJECT"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _facts(letter: Mapping[str, Any]) -> Iterator[str]:
    yield f"{letter['id']}: {letter['reason']}: {letter['error']}"
    yield f"  trigger  {letter['trigger']}, to {letter['where']}"
    yield f"  died     {letter['died_at']} after {letter['tries']} tries, status {letter['code']}"
    for attempt in letter["attempts"]:
        status = f" ({attempt['status']})" if attempt["status"] else ""
        how = f"{attempt['reason']}: {attempt['error']}".rstrip(": ") or "worked"
        yield f"  try      {attempt['at']}  {attempt['subscriber']}  {how}{status}"
    for name, value in letter["attributes"].items():
        yield f"  {name:8} {value}"
    yield f"  bytes    {letter['bytes']} (the event itself: --json)"


def _letters(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"
