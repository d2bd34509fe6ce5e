"""What ``edge bucket`` does, one source after the other: whom it asks, and what comes of it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from edge.config.load_checks_buckets import overlap
from edge.config.root import Config
from edge.config.store import S3StoreConfig
from edge.config.web import WebConfig
from edge.errors import EdgeError
from edge.sources.buckets.link import BucketLink
from edge.sources.buckets.setup import (
    Finding,
    Server,
    Wanted,
    check_bucket,
    connect,
    ensure_bucket,
    server_of,
)
from edge.sources.buckets.setup_minio import (
    aws_words,
    check_listen,
    check_notified,
    commands,
    variables,
)
from edge.sources.buckets.setup_pull import PullSetup, PullZone
from edge.sources.buckets.setup_rgw import RgwSetup
from edge.sources.buckets.topics import Topics
from edge.sources.buckets.topics_xml import Notification, Topic, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found or done about one source."""

    name: str
    findings: tuple[Finding, ...]
    #: what a person has to run or to do, a line each
    todo: tuple[str, ...] = ()
    #: what the variables in ``todo`` stand for
    variables: str = ""

    @property
    def well(self) -> bool:
        """False: something is wrong."""
        return all(one.state != "fail" for one in self.findings)

    def facts(self) -> Mapping[str, object]:
        """Return it as JSON values."""
        return {
            "source": self.name,
            "ok": self.well,
            "findings": [one.facts() for one in self.findings],
            "todo": list(self.todo),
            "variables": self.variables,
        }


@dataclass(slots=True)
class _Notes:
    """Findings as they come; what is raised on the way is one of them."""

    what: str = "server"
    found: list[Finding] = field(default_factory=list)
    todo: tuple[str, ...] = ()
    variables: str = ""


async def set_up(wanted: Wanted, config: Config, server: Server | None) -> Report:
    """Have everything of one source as it should be, and look at it."""
    async with _noting(wanted) as (notes, link):
        kind = server or await _server(link, wanted)
        notes.what = "bucket"
        notes.found.append(await ensure_bucket(wanted.config, link, kind, dry=wanted.dry))
        if isinstance(config.store, S3StoreConfig):
            notes.found.append(await _ensure_store(config.store, server, dry=wanted.dry))
        notes.found += _overlap(wanted, config)
        if kind == "rgw" and notes.found[0].state == "fail":
            return _report(wanted, notes)
        notes.what = "notification"
        if kind != "rgw":
            _say_what_to_do(notes, wanted, kind)
            notes.found += await _check_foreign(link, wanted, minio=kind == "minio")
        elif wanted.config.via == "pull":
            async with _zone(wanted) as zone:
                notes.found += await PullSetup(zone, wanted).ensure()
        elif wanted.config.via == "hook":
            notes.found += await RgwSetup(link, wanted).ensure()
        else:
            notes.found.append(_not_there(wanted, kind))
    return _report(wanted, notes)


async def look(wanted: Wanted, config: Config, server: Server | None) -> Report:
    """Say what is wrong with what is set up for one source; nothing is changed."""
    async with _noting(wanted) as (notes, link):
        kind = server or await _server(link, wanted)
        notes.what = "bucket"
        notes.found += await check_bucket(wanted.config, link)
        notes.found += _overlap(wanted, config)
        if any(one.what == "bucket" and one.state == "fail" for one in notes.found):
            return _report(wanted, notes)
        notes.what = "notification"
        if kind != "rgw":
            notes.found += await _check_foreign(link, wanted, minio=kind == "minio")
        elif wanted.config.via == "pull":
            async with _zone(wanted) as zone:
                notes.found += await PullSetup(zone, wanted).check()
        elif wanted.config.via == "hook":
            notes.found += await RgwSetup(link, wanted).check()
        else:
            notes.found.append(_not_there(wanted, kind))
    return _report(wanted, notes)


async def take_away(wanted: Wanted, server: Server | None) -> Report:
    """Remove what ``set_up`` made for one source; the bucket and its objects stay."""
    async with _noting(wanted) as (notes, link):
        kind = server or await _server(link, wanted)
        notes.what = "notification"
        if kind == "rgw" and wanted.config.via == "pull":
            async with _zone(wanted) as zone:
                notes.found += await PullSetup(zone, wanted).remove()
        elif kind == "rgw":
            notes.found += await RgwSetup(link, wanted).remove()
        else:
            text = "nothing was set here by edge; what is there is its administrator's to remove"
            notes.found.append(Finding(what="notification", state="note", text=text))
    return _report(wanted, notes)


async def everything(wanted: Wanted, server: Server | None) -> Mapping[str, Any]:
    """Return the topics, notifications and subscriptions that one source can see.

    Raises:
        PartFailed: the server cannot be asked.

    """
    config = wanted.config
    facts: dict[str, Any] = {"source": wanted.name, "bucket": config.bucket, "via": config.via}
    async with _linked(connect(config)) as link:
        kind = server or await _server(link, wanted)
        facts |= {"endpoint": link.where, "server": kind}
        topics = Topics(link)
        facts["notifications"] = [
            _of_notification(one, wanted) for one in await topics.notifications(config.bucket)
        ]
        found = await topics.all() if kind == "rgw" else []
        facts["topics"] = [_of_topic(one, wanted) for one in found]
    if kind == "rgw" and config.via == "pull":
        async with _zone(wanted) as link:
            facts["zone"] = await _of_zone(PullZone(link), wanted)
    return facts


def usual_url(web: WebConfig, endpoint: str) -> str:
    """Return how a server reaches the box where nobody said; empty: it cannot, or nobody knows."""
    server = urlsplit(endpoint).hostname or ""
    if not web.port:
        return ""
    if _is_here(server):
        host = "127.0.0.1" if web.host in {"", "0.0.0.0", "localhost"} else web.host  # noqa: S104 (compared)
    elif web.host in {"", "0.0.0.0", "::"}:  # noqa: S104 (compared)
        host = _own_address(server, urlsplit(endpoint).port or 80)
    else:
        host = "" if _is_here(web.host) else web.host
    host = {"::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{web.port}" if host else ""


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _own_address(server: str, port: int) -> str:
    """Return this machine's address towards a server; nothing is sent."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
            try:
                probe.connect((server, port))
                return str(probe.getsockname()[0])
            except OSError:
                continue
    return ""


async def _server(link: BucketLink, wanted: Wanted) -> Server:
    """Ask a server what it is; one that does not say is the only one that knows this way."""
    only: dict[str, Server] = {"pull": "rgw", "listen": "minio", "mqtt": "minio"}
    return await server_of(link, wanted.config.bucket, only.get(wanted.config.via))


def _not_there(wanted: Wanted, kind: Server) -> Finding:
    text = f'via = "{wanted.config.via}" is not for {kind}: only MinIO knows it'
    hint = 'take via = "hook", or "pull" with a pubsub zone; --server if this is no Ceph'
    return Finding(what="notification", state="fail", text=text, hint=hint)


def _say_what_to_do(notes: _Notes, wanted: Wanted, kind: Server) -> None:
    if kind == "aws":
        notes.todo = tuple(aws_words(wanted))
        return
    notes.todo, notes.variables = tuple(commands(wanted)), variables(wanted)


async def _check_foreign(link: BucketLink, wanted: Wanted, *, minio: bool) -> list[Finding]:
    """Look at a server that is no Ceph: what is set there is set by hand."""
    if wanted.config.via == "pull":
        text, hint = 'via = "pull": only Ceph has a pubsub zone', 'take via = "hook"'
        return [Finding(what="notification", state="fail", text=text, hint=hint)]
    if wanted.config.via == "listen":
        return [await check_listen(link, wanted)]
    return [await check_notified(link, wanted, minio=minio)]


async def _ensure_store(store: S3StoreConfig, server: Server | None, *, dry: bool) -> Finding:
    async with _linked(connect(store)) as link:
        kind = server or await server_of(link, store.bucket, "rgw")
        found = await ensure_bucket(store, link, kind, dry=dry)
    return Finding(what="store", state=found.state, text=found.text, hint=found.hint)


def _overlap(wanted: Wanted, config: Config) -> Iterator[Finding]:
    store, source = config.store, wanted.config
    if not isinstance(store, S3StoreConfig) or store.bucket != source.bucket:
        return
    same = store.model_copy(update={"endpoint": source.endpoint})
    if overlap(source, same):
        text = f"the store writes into {store.bucket}, too, at {store.endpoint}"
        hint = "if both endpoints are one server, the box redacts its own pictures: another bucket"
        yield Finding(what="store", state="warn", text=text, hint=hint)


@asynccontextmanager
async def _linked(link: BucketLink) -> AsyncIterator[BucketLink]:
    try:
        yield link
    finally:
        await link.close()


def _zone(wanted: Wanted) -> AbstractAsyncContextManager[BucketLink]:
    config = wanted.config
    return _linked(connect(config, config.pull_endpoint or config.endpoint))


@asynccontextmanager
async def _noting(wanted: Wanted) -> AsyncIterator[tuple[_Notes, BucketLink]]:
    """Keep what is found; an error of the house ends the work, and is found, too."""
    notes = _Notes()
    try:
        async with _linked(connect(wanted.config)) as link:
            yield notes, link
    except EdgeError as error:
        notes.found.append(Finding.of(notes.what, error))


def _report(wanted: Wanted, notes: _Notes) -> Report:
    found = tuple(notes.found)
    return Report(name=wanted.name, findings=found, todo=notes.todo, variables=notes.variables)


def _of_notification(one: Notification, wanted: Wanted) -> Mapping[str, object]:
    return {
        "id": plain(one.id),
        "to": plain(one.arn),
        "events": [plain(event) for event in one.events],
        "rules": {plain(name): plain(value) for name, value in one.rules},
        "ours": one.id == wanted.id,
    }


def _of_topic(one: Topic, wanted: Wanted) -> Mapping[str, object]:
    copy = f"{wanted.id}_{wanted.topic}"
    return {
        "name": plain(one.name),
        "arn": plain(one.arn),
        "endpoint": one.where,
        "persistent": one.persistent,
        "ours": one.name in {wanted.topic, copy},
        "copy": one.name == copy,
    }


async def _of_zone(zone: PullZone, wanted: Wanted) -> Mapping[str, object]:
    told = await zone.notifications(wanted.config.bucket)
    return {
        "endpoint": zone.where,
        "topics": [
            {
                "name": plain(name),
                "subscriptions": [plain(one) for one in subscriptions],
                "events": told.get(name),
                "ours": name == wanted.topic,
            }
            for name, subscriptions in await zone.topics()
        ],
    }
