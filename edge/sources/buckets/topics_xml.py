"""Notifications and topics as S3 and SNS write them in XML: written, and read in bounds.

After Amazon's "PutBucketNotificationConfiguration" and "CreateTopic", and what a Ceph RGW 16.2 and
MinIO make of them. Nothing is read that declares entities or a document type.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit
from xml.etree.ElementTree import Element, ParseError, fromstring
from xml.sax.saxutils import escape

MOST: Final = 4 * 2**20
"""Bytes of an answer: ten thousand topics."""
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_TARGETS = {"TopicConfiguration": "Topic", "QueueConfiguration": "Queue"}
_TARGETS["CloudFunctionConfiguration"] = "CloudFunction"
# what XML 1.0 cannot carry, whatever the escape
_UNFIT = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """Where a gateway pushes to."""

    name: str
    arn: str = ""
    #: the whole address, with its token: it does not print
    endpoint: str = field(default="", repr=False)
    persistent: bool = False
    opaque: str = field(default="", repr=False)
    #: other attributes of it, such as ``cloudevents``
    flags: tuple[tuple[str, str], ...] = ()

    @property
    def where(self) -> str:
        """The address without what may be secret in it."""
        return starred(self.endpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What a bucket tells, and whom. Names of others are as they came: ``plain`` shows them."""

    id: str
    #: of a topic or a queue
    arn: str
    events: tuple[str, ...] = ()
    #: ``prefix``, ``suffix`` (or Ceph's ``regex``), and its value
    rules: tuple[tuple[str, str], ...] = ()

    @property
    def prefix(self) -> str:
        """How keys have to begin; empty: in any way."""
        return dict(self.rules).get("prefix", "")

    @property
    def tells_removals(self) -> bool:
        """True: removals are told, too."""
        return any(one.removeprefix("s3:").startswith("ObjectRemoved") for one in self.events)

    @property
    def tells_creations(self) -> bool:
        """True: whatever is created is told."""
        return any(one.removeprefix("s3:").startswith("ObjectCreated:*") for one in self.events)


def write(notification: Notification) -> bytes:
    """Return a configuration that holds one notification of a topic.

    Raises:
        ValueError: a text that no XML can carry.

    """
    rules = "".join(
        f"<FilterRule><Name>{_text(name)}</Name><Value>{_text(value)}</Value></FilterRule>"
        for name, value in notification.rules
        if value
    )
    parts = (
        f"<Id>{_text(notification.id)}</Id><Topic>{_text(notification.arn)}</Topic>",
        "".join(f"<Event>{_text(event)}</Event>" for event in notification.events),
        f"<Filter><S3Key>{rules}</S3Key></Filter>" if rules else "",
    )
    inner = f"<TopicConfiguration>{''.join(parts)}</TopicConfiguration>"
    outer = "NotificationConfiguration"
    return f'<{outer} xmlns="{_NAMESPACE}">{inner}</{outer}>'.encode()


def read_notifications(body: bytes) -> list[Notification]:
    """Return the notifications of a bucket, those of topics and those of queues.

    Raises:
        ValueError: it is no such answer.

    """
    found = []
    for one in _root(body, "NotificationConfiguration"):
        target = _TARGETS.get(_name(one))
        if target is None:
            continue
        rules = tuple(
            (_of(rule, "Name").lower(), _of(rule, "Value"))
            for rule in one.iter()
            if _name(rule) == "FilterRule"
        )
        events = tuple(inner.text or "" for inner in one if _name(inner) == "Event")
        found.append(
            Notification(id=_of(one, "Id"), arn=_of(one, target), events=events, rules=rules)
        )
    return found


def read_topics(body: bytes) -> tuple[list[Topic], str]:
    """Return the topics of an answer to ``ListTopics``, and where the next page begins.

    Raises:
        ValueError: it is no such answer.

    """
    root = _root(body, "ListTopicsResponse")
    topics = [_topic(one) for one in root.iter() if _name(one) in {"member", "Topic"}]
    following = next((one.text or "" for one in root.iter() if _name(one) == "NextToken"), "")
    return [one for one in topics if one.arn], following


def read_arn(body: bytes) -> str:
    """Return the ARN of the topic that was made.

    Raises:
        ValueError: it is no answer to ``CreateTopic``.

    """
    for one in _root(body, "CreateTopicResponse").iter():
        if _name(one) == "TopicArn" and one.text:
            return one.text
    raise ValueError("expected a TopicArn")


def read_buckets(body: bytes) -> list[str]:
    """Return the names of all buckets of an account.

    Raises:
        ValueError: it is no such answer.

    """
    root = _root(body, "ListAllMyBucketsResult")
    return [_of(one, "Name") for one in root.iter() if _name(one) == "Bucket"]


def read_keys(body: bytes) -> list[str]:
    """Return the keys of one page of a listing.

    Raises:
        ValueError: it is no such answer.

    """
    root = _root(body, "ListBucketResult")
    return [_of(one, "Key") for one in root if _name(one) == "Contents"]


def starred(address: str) -> str:
    """Return an address with every value of its query as stars, and no user."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "***"
    query = "&".join(f"{plain(name)}=***" for name, _ in parse_qsl(parts.query, True))
    host = f"[{host}]" if ":" in host else host
    shown = f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"
    return plain(shown if parts.netloc else parts.path) + (f"?{query}" if query else "")


def plain(text: str) -> str:
    """Return what others wrote as it may be shown on a terminal: printable, and not for ever."""
    return "".join(one if one.isprintable() else "?" for one in text[:300])


def _topic(one: Element) -> Topic:
    inner = {_name(each): each.text or "" for each in one.iter()}
    args = dict(parse_qsl(inner.get("EndpointArgs", "")))
    flags = tuple(
        (name, value)
        for name, value in sorted(args.items())
        if name in {"cloudevents", "http-ack-level", "verify-ssl"}
    )
    return Topic(
        name=inner.get("Name", "") or inner.get("TopicArn", "").rpartition(":")[2],
        arn=inner.get("TopicArn", ""),
        endpoint=inner.get("EndpointAddress", ""),
        persistent=inner.get("Persistent", "").lower() == "true",
        opaque=inner.get("OpaqueData", ""),
        flags=flags,
    )


def _root(body: bytes, name: str) -> Element:
    """Read a document, if it is one of this kind.

    As text, so that no declaration of an encoding counts, and what is looked for here is what the
    parser sees.
    """
    try:
        text = body.decode()
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise ValueError("it declares entities")
        root = fromstring(text)  # noqa: S314 (no document type, no entity, at most MOST bytes)
    except (ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no XML: {error}") from error
    if _name(root) != name:
        raise ValueError(f"expected {name}, got {plain(_name(root))[:60]}")
    return root


def _name(one: Element) -> str:
    return one.tag.rpartition("}")[2]


def _of(one: Element, name: str) -> str:
    return next((inner.text or "" for inner in one if _name(inner) == name), "")


def _text(value: str) -> str:
    if _UNFIT.search(value):
        raise ValueError(f"{plain(value)!r} has characters that XML cannot carry")
    # a bare carriage return would come out as a newline
    return escape(value).replace("\r", "&#13;")
