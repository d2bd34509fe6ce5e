"""Notifications of object stores, from whichever server and in whichever envelope, as events.

Known: MinIO (Listen, webhook, MQTT), Ceph RGW (push and pubsub), Amazon S3, those inside SNS
envelopes, EventBridge, and CloudEvents that carry any of them. The attributes are those of the
CloudEvents adapter for Amazon S3; the data is the single record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from edge.cloudevents import json_format, json_text
from edge.cloudevents.faults import Malformed
from edge.cloudevents.json_text import Member
from edge.errors import Rejected
from edge.event import WireEvent
from edge.frame import ObjectRef
from edge.sources.buckets.records_foreign import of_event_bridge, of_pubsub
from edge.sources.buckets.records_s3 import (
    KEY_FORM,
    REASON,
    TYPES,
    Facts,
    Keys,
    facts_of,
    malformed,
    malformed_at,
    to_event,
)

MOST_RECORDS: Final = 10_000
"""Records of one notification; Amazon and MinIO send one, RGW's pages have 1,000 at most."""
DEEPEST: Final = 64
_LONGEST_ADDRESS: Final = 1024
MOST_ENVELOPES: Final = 4
"""Envelopes around a notification: a record in SNS in a CloudEvent in a list is the fourth."""


def read(body: bytes, *, keys: Keys = "auto") -> list[WireEvent]:
    """Read a notification, whatever its content type said.

    A redelivery gives the same ``source`` and ``id`` again; two happenings never share both.
    Nothing comes of test messages, keep-alives (``{"Records": null}``) and empty pages.

    Args:
        body: the JSON text, blanks around it allowed.
        keys: how the records write keys: ``plain`` (MinIO's Listen), ``encoded`` as in a form
            (MinIO's webhook and MQTT), or ``auto``, which can tell: MinIO encodes them where it
            says ``Key`` beside the records.

    Raises:
        Rejected: ``malformed_notification``; the message says what, where, and what was expected.

    """
    return list(_Reader(keys).document(body, 0))


def object_of(event: WireEvent) -> ObjectRef:
    """Return which object an event of ``read`` (or of another S3 adapter) is about.

    ``size`` is None and ``etag`` empty where the notification did not say, or made them up.

    Raises:
        Rejected: ``malformed_notification``: the data is no record.

    """
    facts = _facts(event)
    return ObjectRef(
        bucket=facts.bucket,
        key=facts.key,
        version=facts.version,
        etag=facts.etag,
        size=facts.size,
    )


def _facts(event: WireEvent) -> Facts:
    form = event.extensions.get(KEY_FORM)
    keys: Keys = "plain" if form == "plain" else "encoded" if form == "encoded" else "auto"
    try:
        record = _parse(event.data or b"")
    except Malformed as error:
        raise malformed_at("data", error) from error
    if not isinstance(record.value, dict):
        raise malformed("data", record.value, "an S3 record as an object")
    # other adapters hand on what a webhook was sent
    path = "" if form or record.value.get("eventSource") != "minio:s3" else "?"
    return facts_of(record.value, "data", keys, path)


def _parse(body: bytes) -> Member:
    text = json_text.text_of(body, DEEPEST)
    found = json_text.value_at(text, json_text.skip(text, 0))
    json_text.check_end(text, found.end)
    return found


class _Reader:
    """Reads one notification: how it writes keys, and how many records it may still have."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._left = MOST_RECORDS

    def document(self, body: bytes, envelopes: int) -> Iterator[WireEvent]:
        """Yield the events of a JSON text."""
        if envelopes > MOST_ENVELOPES:
            raise malformed("notification", None, f"at most {MOST_ENVELOPES} envelopes around it")
        try:
            text = json_text.text_of(body, DEEPEST).removeprefix("\ufeff")
            at = json_text.skip(text, 0)
            if text[at : at + 1] == "[":
                member = json_text.value_at(text, at)
                json_text.check_end(text, member.end)
                for _, _, one in self._elements("list", member, text):
                    yield from self.document(one.encode(), envelopes + 1)
                return
            members, end = json_text.object_at(text, at)
            json_text.check_end(text, end)
        except Malformed as error:
            raise malformed_at("notification", error) from error
        yield from self._object(members, text, at, end, envelopes)

    def _object(
        self, members: dict[str, Member], text: str, at: int, end: int, envelopes: int
    ) -> Iterator[WireEvent]:
        values = {name: member.value for name, member in members.items()}
        if "specversion" in members:
            yield from self._cloud_event(text[at:end].encode(), envelopes)
        elif "Records" in members:
            yield from self._records(members["Records"], text, values.get("Key"))
        elif "events" in members:
            yield from self._pubsub(members["events"], text)
        elif "Message" in members or "SubscribeURL" in members:
            yield from self._sns(values, envelopes)
        else:
            yield from self._single(values, text[at:end])

    def _single(self, values: dict[str, Any], written: str) -> Iterator[WireEvent]:
        """Yield the event of a notification that stands alone; nothing of a test."""
        if "detail-type" in values:
            yield self._made(of_event_bridge(values), "detail")
        elif "info" in values and "event" in values:
            # what Knative's old RGW source sent: one event, bare
            yield self._made(of_pubsub(values, "event"), "event")
        elif "s3" in values:
            yield self._one(values, written, "record", "")
        elif values.get("Event") != "s3:TestEvent":
            raise malformed(
                "notification",
                ", ".join(list(values)[:5]),
                "Records, events, or an envelope of SNS, EventBridge or CloudEvents",
            )

    def _elements(
        self, name: str, member: Member, text: str
    ) -> Iterator[tuple[str, dict[str, Any], str]]:
        """Yield where each object of an array stands, its value, and how it was written."""
        if member.value is None:
            return
        if not isinstance(member.value, list):
            raise malformed(name, member.value, "a list")
        self._left -= len(member.value)
        if self._left < 0:
            raise malformed(name, "more", f"at most {MOST_RECORDS} records")
        at = member.start + 1
        for number, value in enumerate(member.value):
            where = f"{name}[{number}]"
            if not isinstance(value, dict):
                raise malformed(where, value, "an object")
            one = json_text.value_at(text, json_text.skip(text, at))
            yield where, value, text[one.start : one.end]
            at = json_text.skip(text, one.end) + 1  # the comma

    def _records(self, member: Member, text: str, path: object) -> Iterator[WireEvent]:
        plain_path = path if isinstance(path, str) else ""
        for where, record, written in self._elements("Records", member, text):
            yield self._one(record, written, where, plain_path)

    def _one(self, record: dict[str, Any], written: str, where: str, path: str) -> WireEvent:
        return to_event(facts_of(record, where, self._keys, path), written.encode(), where)

    def _pubsub(self, member: Member, text: str) -> Iterator[WireEvent]:
        for where, event, _ in self._elements("events", member, text):
            yield self._made(of_pubsub(event, where), where)

    def _made(self, record: dict[str, Any], where: str) -> WireEvent:
        """Return the event of a record that was made here, whose key is plain."""
        return to_event(facts_of(record, where, "plain"), json.dumps(record).encode(), where)

    def _sns(self, values: dict[str, Any], envelopes: int) -> Iterator[WireEvent]:
        kind, message = values.get("Type"), values.get("Message")
        if kind == "UnsubscribeConfirmation":
            return
        if kind == "SubscriptionConfirmation":
            # its address is never called: anybody could have it ask anything of this network
            raise _confirmation(values.get("SubscribeURL"))
        if not isinstance(message, str):
            raise malformed("Message", message, "a notification as text")
        yield from self.document(_utf8(message, "Message"), envelopes + 1)

    def _cloud_event(self, body: bytes, envelopes: int) -> Iterator[WireEvent]:
        try:
            event = json_format.decode(body)
        except Malformed as error:
            raise malformed_at("CloudEvent", error) from error
        if not event.type.startswith(TYPES):
            yield from self.document(event.data or b"", envelopes + 1)
            return
        _facts(event)
        self._left -= 1
        yield replace(event, type=TYPES + event.type.removeprefix(TYPES).removeprefix("s3:"))


def _confirmation(address: object) -> Rejected:
    """Return the refusal of a subscription, with what confirms it: a body is not kept whole."""
    sound = isinstance(address, str) and address.startswith("https://") and address.isprintable()
    where = f": {address[:_LONGEST_ADDRESS]}" if isinstance(address, str) and sound else ""
    return Rejected(
        f"SNS asks whether it may send notifications here{where}",
        hint="confirm the subscription by hand: open its SubscribeURL, if the topic is yours",
        reason=REASON,
    )


def _utf8(text: str, where: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise malformed(where, text, "text in UTF-8") from error
