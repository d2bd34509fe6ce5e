"""One S3 record, the ``Records[i]`` of a notification, as an event and as a reference.

Amazon, MinIO and Ceph RGW write the same shape with different habits. Keys: Amazon encodes them as
in a form (``+`` is a blank), and so does MinIO to webhooks and MQTT; RGW never does, nor MinIO's
Listen. An event remembers in the extension ``s3keys`` which of the two its record has.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal
from urllib.parse import quote, unquote_plus

from edge.cloudevents.attributes import check_text, event_of, is_time
from edge.cloudevents.faults import Malformed, shown
from edge.errors import Rejected
from edge.event import Value, WireEvent

Keys = Literal["auto", "plain", "encoded"]

TYPES: Final = "com.amazonaws.s3."
KEY_FORM: Final = "s3keys"
"""Extension: ``plain`` or ``encoded``, how the key stands in the record that is the data."""
LEGACY_TYPE: Final = "dev.knative.source.rgwpubsub"
LEGACY_SOURCE: Final = "rgwpubsub"
"""What Knative's old RGW source called every event, whatever had happened, and itself."""
REASON: Final = "malformed_notification"

_META: Final = b"x-amz-meta-"
_HINT: Final = "send notifications as S3, MinIO or Ceph RGW write them"
_LONGEST: Final = 4096
"""Characters of one text of a record; S3 allows 1024 bytes for the longest, a key."""
_SIZE: Final = re.compile(r"[0-9]{1,18}")


def malformed(where: str, given: object, expected: str) -> Rejected:
    """Return the error for a part of a notification that cannot be what it should be."""
    got = "nothing" if given is None or given == "" else shown(given)
    return Rejected(
        f"{where}: expected {expected}, got {got}",
        hint=_HINT,
        reason=REASON,
    )


def malformed_at(where: str, error: Rejected) -> Rejected:
    """Return the error for what a codec refused in a notification."""
    return Rejected(f"{where}: {error}", hint=_HINT, reason=REASON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a record says. What it does not say is empty; ``size`` is None then."""

    #: without ``s3:``
    name: str
    #: ``aws:s3``, ``minio:s3``, ``ceph:s3`` …
    origin: str
    region: str
    bucket: str
    #: as the object is called, decoded where need be
    key: str
    key_form: Literal["plain", "encoded"]
    version: str
    etag: str
    size: int | None
    sequencer: str
    #: what the server calls the happening, parts that it left empty left out
    ids: tuple[str, ...]
    time: str


def facts_of(
    record: Mapping[str, Any], where: str, keys: Keys = "auto", plain_path: str = ""
) -> Facts:
    """Read a record.

    Args:
        record: its members; numbers may be text.
        where: how messages call it, ``Records[0]``.
        keys: how keys are written; ``auto``: as the record's server does.
        plain_path: ``bucket/key`` in plain form, where the envelope says it (MinIO).

    Raises:
        Rejected: ``malformed_notification``.

    """
    fields = _Fields(record, where)
    origin = fields.text("eventSource", required=True)
    name = fields.text("eventName", required=True).removeprefix("s3:")
    bucket = fields.text("s3", "bucket", "name", required=True)
    raw = fields.text("s3", "object", "key", required=True)
    form = _form(keys, origin, f"{bucket}/{raw}", plain_path)
    # a change feed does not know what the object is by now: it makes size and eTag up
    guessed = origin == "ceph:s3" and name.endswith(":*")
    sequencer = fields.text("s3", "object", "sequencer")
    return Facts(
        name=name,
        origin=origin,
        region=fields.text("awsRegion"),
        bucket=bucket,
        key=_key(raw, form, f"{where}.s3.object.key"),
        key_form=form,
        version=fields.text("s3", "object", "versionId"),
        etag="" if guessed else fields.text("s3", "object", "eTag").strip('"'),
        size=None if guessed else fields.size("s3", "object", "size"),
        sequencer=sequencer,
        ids=_ids(fields, sequencer),
        time=fields.text("eventTime"),
    )


def left_behind(event: WireEvent) -> WireEvent:
    """Return a record's event without what users wrote about the object (``x-amz-meta-...``).

    Whoever stores a picture writes what he likes there, such as a small copy of it. Events are
    kept on the box's disk and passed on, and dead letters are shown; what is to go along with a
    picture is read when it is fetched. All else stays as the server wrote it.
    """
    if _META not in (event.data or b"").lower():
        return event
    record = json.loads(event.data or b"{}")
    found = record["s3"]["object"]
    for name in ("metadata", "userMetadata"):  # Ceph: a list of key and val; MinIO: an object
        said = found.get(name)
        if isinstance(said, list):
            found[name] = [
                one for one in said if not isinstance(one, dict) or not _is_users(one.get("key"))
            ]
        elif isinstance(said, dict):
            found[name] = {key: value for key, value in said.items() if not _is_users(key)}
    return replace(event, data=json.dumps(record, ensure_ascii=False).encode())


def _is_users(name: object) -> bool:
    return str(name).lower().startswith(_META.decode())


def _ids(fields: _Fields, sequencer: str) -> tuple[str, ...]:
    """Return what the server calls the happening: its own id, else the request's."""
    event_id = fields.text("eventId")
    if event_id:
        return (event_id,)
    requested = [
        fields.text("responseElements", f"x-amz-{name}") for name in ("request-id", "id-2")
    ]
    return tuple(filter(None, [*requested, sequencer]))


def to_event(facts: Facts, data: bytes, where: str) -> WireEvent:
    """Make the event of a record; ``data`` is the record as JSON.

    Its id has what the server calls the happening, and a digest of what happened to which object:
    one request may delete many, and two gateways may share a clock.

    Raises:
        Rejected: ``malformed_notification``: a text that no attribute can hold.

    """
    found: dict[str, Value] = {
        "specversion": "1.0",
        "id": ".".join((*facts.ids, _digest(facts))),
        "source": ".".join(
            quote(part, safe=":") for part in (facts.origin, facts.region, facts.bucket)
        ),
        "type": TYPES + facts.name,
        "subject": _subject(facts.key),
        "datacontenttype": "application/json",
        KEY_FORM: facts.key_form,
    }
    if is_time(facts.time):
        found["time"] = facts.time
    try:
        return event_of(found, data)
    except Malformed as error:
        raise malformed_at(where, error) from error


def legacy(event: WireEvent) -> WireEvent:
    """Return an event under the names of Knative's old RGW source; id, time and data stay.

    A box makes standard events only, and a trigger matches the type that an event has, never an
    alias: a ``not`` or an expression could not say which of the two it meant. Filters that go by
    the old type are fed by a ``route`` rule with ``set_type``, or by ``edge event convert``.
    """
    return replace(event, type=LEGACY_TYPE, source=LEGACY_SOURCE)


def _digest(facts: Facts) -> str:
    happening = [
        *(facts.name, facts.bucket, facts.key, facts.version),
        *(facts.etag, facts.sequencer, facts.time),
    ]
    return hashlib.sha256(json.dumps(happening).encode()).hexdigest()[:16]


def _form(keys: Keys, origin: str, raw_path: str, plain_path: str) -> Literal["plain", "encoded"]:
    if keys != "auto":
        return keys
    if origin == "ceph:s3" or plain_path == raw_path:
        return "plain"
    # MinIO says the plain path beside the records where it encodes keys, and nowhere else
    return "plain" if origin == "minio:s3" and not plain_path else "encoded"


def _key(raw: str, form: str, where: str) -> str:
    try:
        key = raw if form == "plain" else unquote_plus(raw, errors="strict")
        key.encode()
    except UnicodeError as error:
        raise malformed(where, raw, "a key in UTF-8") from error
    return key


def _subject(key: str) -> str:
    """Return the key; one with control characters, which no attribute can hold, with them as %XX.

    Filters look at it. Whoever fetches the object takes the key from the record.
    """
    try:
        check_text("subject", key)
    except Malformed:
        return "".join(one if one.isprintable() else quote(one) for one in key)
    return key


class _Fields:
    """Texts of a record by their path; wrong ones are named."""

    def __init__(self, record: Mapping[str, Any], where: str) -> None:
        self._record, self._where = record, where

    def text(self, *path: str, required: bool = False) -> str:
        value = self._find(path)
        if value is None or value == "":
            if required:
                raise malformed(self._at(path), value, "text that is not empty")
            return ""
        if not isinstance(value, str) or len(value) > _LONGEST:
            raise malformed(self._at(path), value, f"text of at most {_LONGEST} characters")
        return value

    def size(self, *path: str) -> int | None:
        value = self.text(*path)
        if not value:
            return None
        if not _SIZE.fullmatch(value):
            raise malformed(self._at(path), value, "a number of bytes")
        return int(value)

    def _find(self, path: tuple[str, ...]) -> object:
        value: object = self._record
        for depth, name in enumerate(path):
            if value is None:
                return None
            if not isinstance(value, Mapping):
                raise malformed(self._at(path[:depth]), value, "an object")
            value = value.get(name)
        return value

    def _at(self, path: tuple[str, ...]) -> str:
        return ".".join((self._where, *path))
