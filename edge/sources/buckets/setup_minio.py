"""What is to be set at a MinIO or at Amazon, in the words of their own tools; and what is set.

Nothing is changed there: a MinIO's targets are set by its administrator, and need a restart. After
MinIO's ``internal/config/notify`` and mc's ``cmd/event-add.go``: ``mc event add`` knows ``put`` and
no names of its own, which covers changes of tags, too; the box passes over those.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from edge.errors import PartFailed
from edge.sources.buckets.link import BucketLink
from edge.sources.buckets.minio_listen import CREATED, MinioListen
from edge.sources.buckets.setup import HOOK, Finding, Wanted, no_url
from edge.sources.buckets.topics import Topics
from edge.sources.buckets.topics_xml import Notification, plain

QUEUE: Final = "/var/lib/minio/edge-events"
"""Where MinIO keeps events while the box is away."""
ALIAS: Final = "edge"
_KEPT = f"queue_dir={QUEUE} queue_limit=100000"
_KINDS = {"hook": "webhook", "mqtt": "mqtt"}


def target_of(wanted: Wanted) -> str:
    """Return the id of the target in MinIO's configuration."""
    return re.sub(r"[^A-Za-z0-9_]", "_", wanted.id)


def commands(wanted: Wanted) -> list[str]:
    """Return the lines to run, for a shell; secrets are variables that a person sets.

    Raises:
        Rejected: ``no_url``: nobody said how the server reaches the box.

    """
    config, kind = wanted.config, _KINDS.get(wanted.config.via)
    bucket = f"{ALIAS}/{config.bucket}"
    lines = [
        _line("mc", "alias", "set", ALIAS, config.endpoint) + ' "$MINIO_ADMIN" "$MINIO_PASSWORD"',
        _line("mc", "mb", "--ignore-existing", bucket),
    ]
    if kind is None:
        return lines
    target = target_of(wanted)
    settings = _webhook(wanted) if kind == "webhook" else _mqtt(wanted)
    arn = f"arn:minio:sqs:{config.region if config.region != 'us-east-1' else ''}:{target}:{kind}"
    add = ["mc", "event", "add", "--ignore-existing", bucket, arn, "--event", "put"]
    add += ["--prefix", config.prefix] if config.prefix else []
    return [
        *lines,
        f"mc admin config set {ALIAS} notify_{kind}:{target} {settings}",
        _line("mc", "admin", "service", "restart", ALIAS),
        _line(*add),
    ]


def _webhook(wanted: Wanted) -> str:
    base = wanted.url or wanted.usual_url
    if not base:
        raise no_url(wanted, wanted.config.endpoint)
    endpoint = shlex.quote(f"endpoint={base.rstrip('/')}{HOOK}")
    token = ' auth_token="$EDGE_TOKEN"' if wanted.config.token.reveal() else ""
    return f"{endpoint}{token} {_KEPT}"


def _mqtt(wanted: Wanted) -> str:
    url = urlsplit(wanted.config.broker.reveal())
    scheme = {"mqtt": "tcp", "mqtts": "ssl"}.get(url.scheme, url.scheme)
    host = url.netloc.rpartition("@")[2]
    login = ' username="$MQTT_USER" password="$MQTT_PASSWORD"' if url.username else ""
    return (
        f"{shlex.quote(f'broker={scheme}://{host}')} {shlex.quote(f'topic={wanted.config.topic}')} "
        f"qos=1{login} {_KEPT}"
    )


def variables(wanted: Wanted) -> str:
    """Say in words what the variables of ``commands`` stand for."""
    said = ["MINIO_ADMIN and MINIO_PASSWORD: MinIO's administrator"]
    if wanted.config.via == "hook" and wanted.config.token.reveal():
        said.append(f"EDGE_TOKEN: what sources.{wanted.name}.token is")
    if wanted.config.via in _KINDS:
        said.append("where mc knows no such ARN: its region is the server's own (mc admin info)")
    if "MQTT_USER" in " ".join(commands(wanted)):
        said.append("MQTT_USER and MQTT_PASSWORD: as in broker of the source")
    return "; ".join(said)


def aws_words(wanted: Wanted) -> list[str]:
    """Return what is to be set at Amazon, a sentence each."""
    bucket, base = wanted.config.bucket, (wanted.url or wanted.usual_url or "https://BOX")
    return [
        f"make an SNS topic; its access policy lets s3.amazonaws.com sns:Publish for {bucket}",
        f"subscribe {base.rstrip('/')}{HOOK} to it (protocol https, raw message delivery off)"
        + (", with the source's token as its parameter token" * bool(wanted.config.token)),
        f"add an event notification named {wanted.id} to the bucket: s3:ObjectCreated:*"
        + (f", prefix {wanted.config.prefix!r}" if wanted.config.prefix else "")
        + ", to that topic",
    ]


async def check_notified(link: BucketLink, wanted: Wanted, *, minio: bool) -> Finding:
    """Look whether the bucket tells of what is created, to our target where it is a MinIO.

    Raises:
        PartFailed: as ``Topics``.

    """
    bucket = wanted.config.bucket
    there = await Topics(link).notifications(bucket)
    kind = _KINDS.get(wanted.config.via, "")
    ends = f":{target_of(wanted)}:{kind}"
    mine = [one for one in there if one.arn.endswith(ends) or not minio]
    hint = f"edge bucket setup {wanted.name} says what to run"
    if not mine:
        names = ", ".join(plain(one.arn) for one in there) or "nobody"
        text = f"{bucket} tells {names}; expected {f'…{ends}' if minio else 'a topic or a queue'}"
        return Finding(what="notification", state="fail", text=text, hint=hint)
    wrong = [list(_faults(one, wanted)) for one in mine]
    if all(wrong):
        text = f"{bucket} tells {plain(mine[0].arn)}: {'; '.join(wrong[0])}"
        return Finding(what="notification", state="fail", text=text, hint=hint)
    right = mine[wrong.index([])]
    return Finding(what="notification", state="ok", text=f"{bucket} tells {plain(right.arn)}")


def _faults(one: Notification, wanted: Wanted) -> Iterator[str]:
    if not one.tells_creations and not set(CREATED) <= set(one.events):
        yield "expected s3:ObjectCreated:*, or Put, Post, Copy and CompleteMultipartUpload"
    if not wanted.config.prefix.startswith(one.prefix):
        yield f"expected no prefix but {wanted.config.prefix!r}, or a part of it"
    for name, value in one.rules:
        if name == "suffix" and value:
            yield f"its suffix {plain(value)!r} keeps pictures back"


async def check_listen(link: BucketLink, wanted: Wanted) -> Finding:
    """Listen for a moment: the server lets us, and knows how."""
    listen = MinioListen(link, wanted.config.bucket, prefix=wanted.config.prefix, ping=1)

    async def nobody(_: bytes) -> None: ...

    def up() -> None:
        raise _ListensError

    try:
        await listen.run(nobody, up)
    except _ListensError:
        pass
    except PartFailed as error:
        return Finding.of("listen", error)
    return Finding(what="listen", state="ok", text=f"{listen.where} can be listened to")


class _ListensError(Exception):
    """The server listens: that is all that was to be known."""


def _line(*words: str) -> str:
    return " ".join(map(shlex.quote, words))
