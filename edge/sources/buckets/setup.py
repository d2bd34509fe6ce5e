"""What a bucket source needs at its server: words for it, and what all servers have in common.

::

    Wanted --> setup_rgw (push), setup_pull (pubsub zone), setup_minio (printed) --> Findings
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal, Protocol
from urllib.parse import parse_qsl, quote, urlsplit

from edge.config.secret import Secret
from edge.config.sources import BucketConfig
from edge.errors import EdgeError, PartFailed, Rejected
from edge.sources.buckets.link import Ask, BucketLink
from edge.sources.buckets.sigv import Keys
from edge.sources.buckets.topics import refusal
from edge.sources.buckets.topics_xml import MOST, read_keys

HOOK: Final = "/hooks/s3"
Server = Literal["rgw", "minio", "aws"]
State = Literal["ok", "made", "removed", "would", "note", "warn", "fail"]
"""made: it was not so before. would: it would be made. note: worth knowing, nothing is wrong."""

_CEPH_REQUEST = re.compile(r"tx[0-9a-f]{21}-[0-9a-f]{10}-")
_FIRST = (("list-type", "2"), ("max-keys", "1"))
_SKEW_DOUBT, _SKEW_FATAL = 60.0, 900.0
"""Seconds between two clocks; servers refuse from 15 minutes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found or done about one thing; safe to show."""

    #: ``bucket``, ``key``, ``clock``, ``topic``, ``notification``, ``subscription``, ``hook``, …
    what: str
    state: State
    text: str
    #: what to do about it
    hint: str = ""

    @classmethod
    def of(cls, what: str, error: EdgeError) -> Finding:
        """Tell an error of the house as a finding."""
        return cls(what=what, state="fail", text=str(error), hint=error.hint)

    def facts(self) -> Mapping[str, str]:
        """Return it as JSON values."""
        return {"what": self.what, "state": self.state, "text": self.text, "hint": self.hint}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a person asked for, about one source."""

    name: str
    config: BucketConfig = field(repr=False)
    #: how the server reaches the box, ``http://box:8080``; empty: as it is set now
    url: str = ""
    #: where there is no address yet, and none was named; empty: nobody can tell
    usual_url: str = ""
    #: None: as it is
    persistent: bool | None = None
    opaque: str | None = None
    #: removals are notified, too
    removals: bool = False
    #: nothing is changed
    dry: bool = False

    @property
    def id(self) -> str:
        """Id of the notification: by it ours is told from others."""
        return f"edge-{self.name}"

    @property
    def topic(self) -> str:
        """Name of the topic: topics are the whole tenant's."""
        return re.sub(r"[^A-Za-z0-9_-]", "_", f"edge-{self.config.bucket}-{self.name}")

    def hook(self, base: str) -> str:
        """Return the whole address that is called, with the token: a secret."""
        token = self.config.token.reveal()
        query = f"?token={quote(token, safe='')}" if token else ""
        return f"{base.rstrip('/')}{HOOK}{query}"


def no_url(wanted: Wanted, server: str) -> Rejected:
    """Return the error of who does not know how a server reaches the box."""
    return Rejected(
        f"how does {server} reach this box? [web] host lets nobody in but this machine",
        hint=f"set web.host and sources.{wanted.name}.token, and say --url http://ADDRESS:PORT",
        reason="no_url",
    )


class Place(Protocol):
    """A bucket, as a source's or the store's section has it."""

    @property
    def endpoint(self) -> str: ...
    @property
    def bucket(self) -> str: ...
    @property
    def prefix(self) -> str: ...
    @property
    def access_key(self) -> Secret: ...
    @property
    def secret_key(self) -> Secret: ...
    @property
    def region(self) -> str: ...
    @property
    def path_style(self) -> bool: ...
    @property
    def ca_file(self) -> str: ...


def connect(place: Place, endpoint: str = "") -> BucketLink:
    """Return a connection to a bucket's server, or to another ``endpoint`` with its keys.

    Raises:
        PartFailed: ``bad_endpoint``, ``bad_ca_file``.

    """
    keys = Keys(
        access_key=place.access_key.reveal(),
        secret_key=place.secret_key.reveal(),
        region=place.region,
    )
    return BucketLink(
        endpoint or place.endpoint, keys, path_style=place.path_style, ca_file=place.ca_file
    )


async def server_of(link: BucketLink, bucket: str, fallback: Server | None = None) -> Server:
    """Tell by its answer what a server is. Ceph up to 16 says no name, but numbers its requests.

    Raises:
        PartFailed: ``unknown_server``, and what ``BucketLink`` raises.

    """
    # no HEAD: a Ceph 16 sends a body with some of those
    async with link.ask(Ask(bucket=bucket, query=_FIRST)) as answer:
        name = answer.headers.get("Server", "")
        number = answer.headers.get("x-amz-request-id", "")
        known = _known(name, number, answer.headers)
    if known or fallback:
        return known or fallback or "rgw"
    raise PartFailed(
        f"{link.where} does not say what it is (Server: {name[:60]!r})",
        hint="say it: --server rgw, minio or aws",
        reason="unknown_server",
    )


def _known(name: str, number: str, headers: Mapping[str, str]) -> Server | None:
    if name.startswith("Ceph") or _CEPH_REQUEST.match(number):
        return "rgw"
    if name.startswith("MinIO") or any(one.lower().startswith("x-minio-") for one in headers):
        return "minio"
    return "aws" if name.startswith("AmazonS3") else None


async def ensure_bucket(place: Place, link: BucketLink, server: Server, *, dry: bool) -> Finding:
    """Make a bucket where it is missing. What is no Ceph and no AWS is not changed."""
    name, where = place.bucket, f"{link.where}/{place.bucket}"
    async with link.ask(Ask(bucket=name, query=_FIRST)) as answer:
        if answer.status == 200:
            return Finding(what="bucket", state="ok", text=f"{where} is there")
        if answer.status != 404:
            return _refused(await refusal(answer, where), name)
    if server == "minio":
        hint = "the lines below make it"
        return Finding(what="bucket", state="fail", text=f"{where} is missing", hint=hint)
    if dry:
        return Finding(what="bucket", state="would", text=f"{where} is made")
    elsewhere = server == "aws" and place.region != "us-east-1"
    inner = f"<LocationConstraint>{quote(place.region)}</LocationConstraint>" if elsewhere else ""
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    outer = "CreateBucketConfiguration"
    body = f'<{outer} xmlns="{space}">{inner}</{outer}>'.encode() if inner else b""
    async with link.ask(Ask(method="PUT", bucket=name, body=body)) as answer:
        if answer.status not in (200, 204):
            return _refused(await refusal(answer, where), name)
    return Finding(what="bucket", state="made", text=f"{where} is made")


def _refused(error: PartFailed, name: str) -> Finding:
    if error.status == 403 and error.reason == "denied":
        error.hint = f"are access_key and secret_key right, and is {name} theirs?"
    if error.status in (301, 307, 400) and error.reason == "refused":
        error.hint = "are region and path_style right?"
    return Finding.of("bucket", error)


async def check_bucket(place: Place, link: BucketLink) -> list[Finding]:
    """Look whether the bucket is there, may be listed and read, and what its clock says."""
    name, where = place.bucket, f"{link.where}/{place.bucket}"
    query = [*_FIRST, ("prefix", place.prefix)]
    async with link.ask(Ask(bucket=name, query=query)) as answer:
        clock = _clock(answer.headers.get("Date", ""), link.where)
        if answer.status != 200:
            error = await refusal(answer, where)
            return [Finding.of("clock" if error.reason == "clock" else "bucket", error), *clock]
        body = await answer.read(MOST)
    try:
        keys = read_keys(body)
    except ValueError as error:
        text = f"{where}: a listing was expected: {error}"
        return [
            Finding(what="bucket", state="fail", text=text, hint="is endpoint an object store?")
        ]
    found = [Finding(what="bucket", state="ok", text=f"{where} can be listed"), *clock]
    return found + await _readable(link, name, keys)


async def _readable(link: BucketLink, bucket: str, keys: list[str]) -> list[Finding]:
    """Ask for the head of one object: nobody can tell otherwise whether objects may be read."""
    parts = keys[0].split("/") if keys else ["."]
    if "." in parts or ".." in parts or not keys[0]:
        text = "no object is there yet on which to see whether the key may read"
        return [Finding(what="key", state="note", text=text)]
    async with link.ask(Ask(method="HEAD", bucket=bucket, path=f"/{keys[0]}")) as answer:
        status = answer.status
    if status == 403:
        hint = "give the key s3:GetObject on the bucket's objects"
        text = f"{link.where}/{bucket}: the key may list objects and not read them"
        return [Finding(what="key", state="fail", text=text, hint=hint)]
    return [Finding(what="key", state="ok", text="the key may list and read")]


def _clock(date: str, where: str) -> list[Finding]:
    try:
        there = parsedate_to_datetime(date)
        apart = abs((datetime.now(UTC) - there).total_seconds())
    except (ValueError, TypeError):
        return []
    if apart < _SKEW_DOUBT:
        return []
    text = f"{where} is {apart:.0f} s apart from this machine; from 900 s on it refuses requests"
    state: State = "fail" if apart > _SKEW_FATAL else "warn"
    return [Finding(what="clock", state=state, text=text, hint="set both by NTP")]


async def check_hook(address: str, token: str) -> Finding:
    """Call the hook as a server would, without a body: once with what ``address`` shows.

    Args:
        address: the whole address, with its token.
        token: what the source wants to be shown; empty: nothing of its own.

    """
    try:
        parts = urlsplit(address)
        base = f"{parts.scheme}://{parts.netloc}"
        link = BucketLink(base, Keys(access_key="", secret_key=""))
        query = parse_qsl(parts.query, keep_blank_values=True)
    except (ValueError, PartFailed) as error:
        hint = "expected http://box:8080, with --url"
        text = f"nobody can call this address: {error}"
        return Finding(what="hook", state="fail", text=text, hint=hint)
    where = f"{base}{parts.path}"
    try:
        async with link.ask(
            Ask(method="HEAD", path=parts.path, query=query, silence=10.0)
        ) as answer:
            return _hook_says(answer.status, where, token)
    except PartFailed as error:
        error.hint = (
            "does the box run there (else: edge bucket setup --url), and does web.host let others "
            "in? Tried from this machine; the object store has to reach it, too"
        )
        return Finding.of("hook", error)
    finally:
        await link.close()


def _hook_says(status: int, where: str, token: str) -> Finding:
    if 200 <= status < 300:
        return Finding(what="hook", state="ok", text=f"{where} answers, from this machine")
    hint = {
        401: "the address shows another token than the box wants: edge bucket setup"
        if token
        else "the box wants to be shown a token: set token of the source, then edge bucket setup",
        403: "is this the box, and does web.allowed_hosts name it?",
        404: 'does the box run with this configuration (kind = "bucket")? edge config show',
        421: "name it in web.allowed_hosts, or set a token of the source",
    }.get(status, "is this the address of the box?")
    text = f"{where} answers {status}, expected 200"
    return Finding(what="hook", state="fail", text=text, hint=hint)
