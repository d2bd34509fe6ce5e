"""``edge event``: send events to the box, watch, record and replay them; convert notifications."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any, BinaryIO, TextIO
from urllib.parse import quote

import click

from edge.cli import recording
from edge.cli.box_client import BoxClient, box_options, where_is_box
from edge.cli.recording import Recorded
from edge.cli.show import answer, json_option, warn
from edge.cloudevents import http, json_format, json_text
from edge.errors import EdgeError, PartFailed, Rejected, TryLater
from edge.event import WireEvent
from edge.sources.buckets import records
from edge.sources.buckets.records_s3 import Keys, legacy

BATCH = 100
"""Events in a batch at most."""
BATCH_BYTES = 4 * 2**20


@click.group()
def event() -> None:
    """Send, watch, record, replay and convert events; follow one of them."""


@event.command()
@click.option(
    "-f",
    "--file",
    type=click.File("rb"),
    required=True,
    metavar="FILE|-",
    help="One event in JSON, an array of them, JSON lines, or what edge event tail --record wrote.",
)
@click.option(
    "--mode",
    type=click.Choice(["structured", "binary", "batch"]),
    default="structured",
    help="How they go over HTTP.",
)
@click.option("--pace", is_flag=True, help="Keep the gaps with which they were recorded.")
@click.option(
    "--patience",
    type=click.FloatRange(0, 86400),
    default=30.0,
    metavar="SECONDS",
    help="How long to try again while the box says later (429, 503).",
)
@box_options
@json_option
def send(
    *, file: BinaryIO, mode: str, pace: bool, patience: float, as_json: bool, **box: Any
) -> None:
    """Send events; each is on the box's disk when it is counted.

    The first one that is refused ends it. What was sent before stays sent: sent again, the box
    knows source and id, and does nothing twice. YAML is not read.
    """
    if pace and mode == "batch":
        raise click.UsageError("--pace sends one by one: it does not go with --mode batch")
    began, sent = time.monotonic(), 0
    events = _paced(recording.read(file)) if pace else recording.read(file)
    with closing(BoxClient(where_is_box(**box))) as client:
        try:
            for count, message in _requests(events, mode):
                _send(client, message, patience)
                sent += count
        except EdgeError:
            if sent:
                warn(f"{_events(sent)} sent before it ended")
            raise
    seconds = time.monotonic() - began
    told = {"sent": sent, "seconds": round(seconds, 3)}
    answer(told, f"sent {_events(sent)} in {seconds:.1f} s", as_json=as_json)


def _requests(events: Iterable[Recorded], mode: str) -> Iterator[tuple[int, http.Message]]:
    """Yield requests, and how many events are in each."""
    if mode == "batch":
        for batch in _batches(event for event, _ in events):
            yield len(batch), http.encode_batch(batch)
        return
    encode = http.encode_binary if mode == "binary" else http.encode_structured
    for event, _ in events:
        yield 1, encode(event)


def _batches(events: Iterable[WireEvent]) -> Iterator[list[WireEvent]]:
    batch: list[WireEvent] = []
    size = 0
    for event in events:
        more = len(event.data or b"")
        if batch and (len(batch) >= BATCH or size + more > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += more
    if batch:
        yield batch


def _paced(events: Iterable[Recorded]) -> Iterator[Recorded]:
    """Yield each event when it is due: as long after the first as it was recorded."""
    start: tuple[float, datetime] | None = None
    for one in events:
        if one.at is None:
            raise Rejected(
                '--pace needs recorded traffic: lines {"at": …, "event": {…}}',
                hint="edge event tail --record FILE writes it",
                reason="no_times",
            )
        start = start or (time.monotonic(), one.at)
        due = start[0] + (one.at - start[1]).total_seconds()
        time.sleep(max(0.0, due - time.monotonic()))
        yield one


def _send(client: BoxClient, message: http.Message, patience: float) -> None:
    until = time.monotonic() + patience
    while True:
        try:
            client.send("POST", "/v1/events", body=message.body, headers=message.headers)
        except TryLater as later:
            if time.monotonic() + later.after > until:
                raise
            time.sleep(later.after)
        else:
            return


@event.command()
@click.option(
    "--filter",
    "filters",
    metavar="JSON",
    callback=lambda _context, _option, given: _filters(given),
    help="Filters as a trigger has them; all must match.",
)
@click.option("--type", "type_", metavar="PREFIX", help="Only types that begin so.")
@click.option("--source", metavar="PREFIX", help="Only sources that begin so.")
@click.option("--subject", metavar="PREFIX", help="Only subjects that begin so.")
@click.option(
    "--record",
    type=click.File("w", encoding="utf-8", lazy=False),
    metavar="FILE",
    help="Write them to FILE, too, for edge event send --pace.",
)
@click.option("-n", "--count", type=click.IntRange(1), help="End after so many.")
@box_options
@json_option
def tail(
    *,
    filters: str | None,
    type_: str | None,
    source: str | None,
    subject: str | None,
    record: TextIO | None,
    count: int | None,
    as_json: bool,
    **box: Any,
) -> None:
    """Show events as they pass, a line each; --json shows them whole.

    A box under load shows some of them only: watching never holds it up.
    """
    query = {"filters": filters, "type": type_, "source": source, "subject": subject}
    shown = 0
    with (
        closing(BoxClient(where_is_box(**box))) as client,
        closing(client.events("/v1/events", query)) as events,
    ):
        for text in events:
            if record is not None:
                record.write(recording.line_of(text))
                record.flush()
            print(text if as_json else _short(text), flush=True)
            shown += 1
            if shown == count:
                return
    raise PartFailed(
        f"the box ended the stream after {_events(shown)}",
        hint="it stopped, or the reader was too slow: call it again",
        reason="stream_ended",
    )


def _filters(given: str | None) -> str | None:
    """Check that it is JSON; a single filter becomes a list of one."""
    if given is None:
        return None
    try:
        filters = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"expected JSON: {error}") from error
    return json.dumps(filters if isinstance(filters, list) else [filters])


def _short(text: str) -> str:
    """Return an event on a line for people: when, what, where, which, and how much data."""
    event = json_format.decode(text.encode())
    size = "no data" if event.data is None else f"{len(event.data)} bytes"
    parts = (event.time or "-", event.type, event.source, event.subject or "-", event.id, size)
    return "  ".join(parts)


@event.command()
@click.option(
    "--from",
    "form",
    type=click.Choice(["s3"]),
    required=True,
    help="s3: MinIO, Ceph RGW, Amazon S3, also within SNS, EventBridge or CloudEvents.",
)
@click.option(
    "--keys",
    type=click.Choice(["auto", "plain", "encoded"]),
    default="auto",
    help="How object keys are written: auto goes by the server.",
)
@click.option(
    "--types",
    type=click.Choice(["standard", "legacy", "both"]),
    default="standard",
    help="standard: com.amazonaws.s3.…, what a box makes. legacy: type and source of Knative's old "
    "RGW source, for filters that still go by dev.knative.source.rgwpubsub.",
)
@click.argument("file", type=click.File("rb"), metavar="FILE|-")
def convert(*, form: str, keys: Keys, types: str, file: BinaryIO) -> None:
    """Print the events that a notification becomes, a JSON line each; no box is asked.

    FILE has one notification as it was received, or one on each line. What is printed can be sent:
    edge event send -f -.
    """
    del form  # there is one
    for body in _notifications(file.read(recording.LONGEST)):
        for found in records.read(body, keys=keys):
            named = {"standard": [found], "legacy": [legacy(found)]}
            for one in named.get(types, [found, legacy(found)]):
                print(json_format.encode_line(one).decode(), flush=True)


def _notifications(text: bytes) -> list[bytes]:
    """Return the one JSON text of a file, or its lines where the first is complete."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and json_text.is_value(lines[0]):
        return lines
    return [text]


@event.command()
@click.argument("event_id", metavar="ID")
@box_options
@json_option
def show(*, event_id: str, as_json: bool, **box: Any) -> None:
    """Follow an event: accepted, delivered to whom, what came of it, how it ended."""
    with closing(BoxClient(where_is_box(**box))) as client:
        found = client.ask(f"/v1/events/{quote(event_id, safe='')}")
    lines = [line for trace in found["traces"] for line in _trace(trace, "")]
    answer(found, "\n".join(lines), as_json=as_json)


def _trace(trace: Mapping[str, Any], margin: str) -> Iterator[str]:
    facts = trace["attributes"]
    yield f"{margin}{facts['id']}  {facts['type']}  {facts['source']}"
    ended = f", {trace['outcome']} {trace['ended_at']}" if trace["ended_at"] else ", under way"
    yield f"{margin}  accepted {trace['accepted_at']}{ended}"
    for passage in trace["passages"]:
        yield from _passage(passage, margin + "  ")
    for reply in trace["replies"]:
        yield from _trace(reply, margin + "    ")


def _passage(passage: Mapping[str, Any], margin: str) -> Iterator[str]:
    when = passage["ended_at"] or (passage["due"] and f"not before {passage['due']}") or ""
    yield f"{margin}{passage['trigger']}: {passage['state']} {when}".rstrip()
    for attempt in passage["attempts"]:
        how = f"{attempt['reason']}: {attempt['error']}" if attempt["reason"] else "worked"
        status = f" ({attempt['status']})" if attempt["status"] else ""
        span = f"{attempt['seconds']:.3f} s"
        yield f"{margin}  {attempt['at']}  {attempt['subscriber']}  {span}  {how}{status}"
    for reply in passage["replies"]:
        yield f"{margin}  reply {reply}"
    if passage["parcel"]:
        yield f"{margin}  parcel {passage['parcel']}"


def _events(count: int) -> str:
    return f"{count} event{'' if count == 1 else 's'}"
