"""``edge bucket``: have object stores tell this box of new pictures; find out why they do not."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge.cli.show import answer, config_option, json_option
from edge.config.load import config_file, examine
from edge.config.root import Config
from edge.config.sources import BucketConfig
from edge.errors import Rejected

if TYPE_CHECKING:
    from edge.cli.bucket_work import Report
    from edge.sources.buckets.setup import Server, Wanted

Command = TypeVar("Command", bound=Callable[..., Any])

_MARKS = {
    "ok": "✓",
    "made": "+",
    "removed": "-",
    "would": "~",
    "note": "·",
    "warn": "!",
    "fail": "✗",
}
_PLAIN_MARKS = {
    "ok": "ok     ",
    "made": "made   ",
    "removed": "removed",
    "would": "would  ",
    "note": "note   ",
    "warn": "warn   ",
    "fail": "FAIL   ",
}
_ADDRESS = re.compile(r"https?://[^/?#@\s]+/?")

_MAKES = """\
\b
Ceph, via hook   the bucket; a topic that pushes to URL/hooks/s3 (with the source's token);
                 a notification with the Id edge-NAME of what is created under prefix
Ceph, via pull   the bucket; topic, notification and subscription in the pubsub zone
MinIO            nothing is changed there: the mc lines to run are printed
Amazon           nothing is changed there: what to set is said in words
"""

_names = click.argument("names", nargs=-1, metavar="[NAME]...")
_server = click.option(
    "--server",
    type=click.Choice(["rgw", "minio", "aws"]),
    help="What the object store is, where its answers do not tell (behind a proxy).",
)


def _base(_context: object, _option: object, given: str | None) -> str:
    if given and not _ADDRESS.fullmatch(given):
        raise click.BadParameter("expected the box's address alone, like http://10.0.0.5:8080")
    return (given or "").rstrip("/")


_url = click.option(
    "--url",
    metavar="URL",
    callback=_base,
    help="How the object store reaches this box: http://10.0.0.5:8080. Left out: as it is set "
    "already, else [web] host and port, where that is not this machine alone.",
)


@click.group()
def bucket() -> None:
    """Have object stores tell this box of new pictures, and find out why they do not.

    NAME is a source of kind "bucket" in the configuration; left out: all that are enabled. The
    store is asked with that source's own keys.

    The first picture: set [sources.NAME] (endpoint, bucket, keys, token) and start the box. Then
    edge bucket setup NAME --url http://ADDRESS-OF-THE-BOX:8080, and edge bucket check NAME --probe.
    """


@bucket.command(epilog=_MAKES)
@_names
@_url
@click.option(
    "--persistent/--no-persistent",
    default=None,
    help="Ceph: the gateway keeps what it cannot deliver (128 MiB, then uploads fail with 503). "
    "Left out: as it is, else not. Without it the box's sweep finds what was missed.",
)
@click.option("--opaque", metavar="TEXT", help="Ceph: a text that goes along with each event.")
@click.option(
    "--removals",
    is_flag=True,
    help='Ceph, with when_removed = "erase": removals are notified, too. Mind: a removal of many '
    "objects at once then ends radosgw 16.2. Without it the sweep finds removals.",
)
@_server
@click.option("--dry-run", is_flag=True, help="Only say what would be made.")
@config_option
@json_option
def setup(
    *,
    names: tuple[str, ...],
    config: Path | None,
    dry_run: bool,
    server: Server | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Make what is missing, so that the object store tells this box of new pictures.

    The store's bucket is made, too, if it is one. Run it again at any time, also after token, URL
    or prefix changed: what is right stays, and what others have set is never touched. Exit 4 where
    something is still wrong.
    """
    from edge.cli.bucket_work import set_up

    settings, wanted = _wanted(config, names, dry=dry_run, **given)
    for one in wanted:
        if one.removals and one.config.when_removed != "erase":
            text = f'--removals: sources.{one.name}.when_removed is "keep": nobody would use them'
            raise click.UsageError(text)
    reports = _each(wanted, lambda one: set_up(one, settings, server))
    return _tell(reports, as_json=as_json, code=4)


@bucket.command()
@_names
@_url
@click.option(
    "--probe",
    is_flag=True,
    help="Put a small grey picture (PREFIXedge-probe-….jpg) into the bucket, wait until the "
    "running box has seen it, and delete it. It is redacted and stored like any other.",
)
@click.option(
    "--wait",
    type=click.FloatRange(0.1, 600),
    default=45.0,
    show_default=True,
    metavar="SECONDS",
    help="So long for the probe to be told of: a fresh persistent topic may take 30.",
)
@click.option(
    "--box",
    metavar="URL",
    help="Address of the running box for --probe. Else $EDGE_URL, the configuration's [web].",
)
@click.option("--token", help="What that box wants to be shown. Else $EDGE_TOKEN, or the file's.")
@_server
@config_option
@json_option
def check(
    *,
    names: tuple[str, ...],
    url: str,
    probe: bool,
    wait: float,
    config: Path | None,
    server: Server | None,
    as_json: bool,
    **box: Any,
) -> int:
    """Say what is wrong with what is set up, and what to do about it. Changes nothing.

    Looks at: bucket, keys and clock; notification, topic, token and address; the box's hook, from
    this machine; store and source. Exit 1 where something is wrong.
    """
    from edge.cli.bucket_probe import probed, unprobed
    from edge.cli.bucket_work import look

    settings, wanted = _wanted(config, names, url=url)
    where = _box(config, **box) if probe else None

    async def work(one: Wanted) -> Report:
        report = await look(one, settings, server)
        if where is None:
            return report
        return await probed(report, one, where, patience=wait) if report.well else unprobed(report)

    return _tell(_each(wanted, work), as_json=as_json, code=1)


@bucket.command(name="list")
@_names
@_server
@config_option
@json_option
def list_(
    *, names: tuple[str, ...], config: Path | None, server: Server | None, as_json: bool
) -> None:
    """List topics, notifications and subscriptions; * marks what edge bucket setup made."""
    from edge.cli.bucket_work import everything

    _, wanted = _wanted(config, names)
    found = _each(wanted, lambda one: everything(one, server))
    answer({"sources": found}, "\n".join(_lines(found)), as_json=as_json)


@bucket.command()
@click.argument("name")
@_server
@config_option
@json_option
def remove(*, name: str, config: Path | None, server: Server | None, as_json: bool) -> int:
    """Remove what edge bucket setup made for NAME: notification, topic, subscription.

    The bucket, its objects, and what others have set stay. A topic that others use stays.
    """
    from edge.cli.bucket_work import take_away

    _, wanted = _wanted(config, (name,))
    return _tell(_each(wanted, lambda one: take_away(one, server)), as_json=as_json, code=4)


def _wanted(config: Path | None, names: Sequence[str], **given: Any) -> tuple[Config, list[Wanted]]:
    """Return the configuration, and what is wanted of each source that was named."""
    from edge.cli.bucket_work import usual_url
    from edge.sources.buckets.setup import Wanted

    path = config_file(config)
    settings = examine(path).config
    there = {name: one for name, one in settings.sources.items() if isinstance(one, BucketConfig)}
    meant = names or [name for name, one in there.items() if one.enabled]
    if not meant:
        hint = "edge config explain sources"
        text = f'{path} has no source of kind "bucket" that is enabled'
        raise Rejected(text, hint=hint, reason="no_bucket_source")
    strange = [name for name in names if name not in there]
    if strange:
        raise click.UsageError(f"NAME: expected one of {', '.join(there)}, got {strange[0]!r}")
    return settings, [
        Wanted(
            name=name,
            config=there[name],
            usual_url=usual_url(settings.web, there[name].endpoint),
            **given,
        )
        for name in dict.fromkeys(meant)
    ]


def _box(config: Path | None, *, box: str | None, token: str | None) -> Any:
    from edge.cli.box_client import where_is_box

    return where_is_box(box, token, config)


T = TypeVar("T")


def _each(wanted: Sequence[Wanted], work: Callable[[Wanted], Awaitable[T]]) -> list[T]:
    async def run() -> list[T]:
        return [await work(one) for one in wanted]

    return asyncio.run(run())


def _tell(reports: Sequence[Report], *, as_json: bool, code: int) -> int:
    well = all(one.well for one in reports)
    data = {"ok": well, "sources": [one.facts() for one in reports]}
    answer(data, "\n".join(line for one in reports for line in _of(one)), as_json=as_json)
    return 0 if well else code


def _of(report: Report) -> Iterator[str]:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    marks = _MARKS if encoding.startswith("utf") else _PLAIN_MARKS
    width = max((len(one.what) for one in report.findings), default=0)
    yield f"{report.name}:"
    for one in report.findings:
        mark = marks[one.state]
        yield f"  {mark} {one.what:{width}}  {one.text}"
        if one.hint:
            yield f"{' ' * (len(mark) + width + 5)}hint: {one.hint}"
    if report.todo:
        yield "  to do, by whoever runs the object store:"
        yield from (f"    {line}" for line in report.todo)
    if report.variables:
        yield f"  where {report.variables}"


def _lines(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for source in found:
        yield f"{source['source']}: {source['endpoint']}/{source['bucket']} ({source['server']})"
        for one in source["notifications"]:
            rules = "".join(f", {name} {value!r}" for name, value in one["rules"].items())
            events = ", ".join(one["events"])
            yield f"  {_mark(one)} notification {one['id']}: {events}{rules} -> {one['to']}"
        for one in source["topics"]:
            kept = " (persistent)" if one["persistent"] else ""
            kept += " (the notification's copy)" if one["copy"] else ""
            yield f"  {_mark(one)} topic {one['name']} -> {one['endpoint'] or 'nowhere'}{kept}"
        for one in source.get("zone", {}).get("topics", ()):
            told = "not of this bucket"
            if one["events"] is not None:
                told = ", ".join(one["events"]) or "everything"
            subscriptions = ", ".join(one["subscriptions"]) or "nobody"
            yield f"  {_mark(one)} zone topic {one['name']}: {told} -> {subscriptions}"


def _mark(one: Mapping[str, Any]) -> str:
    return "*" if one["ours"] else " "
