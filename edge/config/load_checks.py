"""What no single key can know: faults between keys, and what is allowed but doubtful."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from edge.config import (
    load_checks_buckets,
    load_checks_bus,
    load_checks_jobs,
    load_checks_mqtt,
    load_checks_names,
)
from edge.config.bus import BusConfig, TriggerConfig
from edge.config.handlers import ForwardConfig, HandlerConfig
from edge.config.load_faults import Fault, Location, show_given
from edge.config.mqtt import MqttConfig
from edge.config.root import BoxConfig, Config, state_directory
from edge.config.secrets import has_reference
from edge.config.sources import (
    BucketConfig,
    CameraConfig,
    FolderConfig,
    JobsConfig,
    SourceConfig,
)
from edge.config.store import FolderStoreConfig, S3StoreConfig, StoreConfig
from edge.config.web import WebConfig

CAMERA_SCHEMES = ("rtsp", "rtsps", "http", "https")

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
# "//user:pa/ss@", but not "//host:554/a@b"
_RAW_PASSWORD = re.compile(r"[^/]*//[^/?#@:]*:(?!\d*[/?#])[^@]*[/?#][^@]*@")
_PASSWORD_VALUE = re.compile(r"(pass|pwd)[^=&]*=[^&]", re.IGNORECASE)
_SOURCE: TypeAdapter[Any] = TypeAdapter(SourceConfig)
_HANDLER: TypeAdapter[Any] = TypeAdapter(HandlerConfig)
_TRIGGER = TypeAdapter(TriggerConfig)
_STORE: TypeAdapter[Any] = TypeAdapter(StoreConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Those parts of a configuration that are sound by themselves."""

    #: every name in the tables of named parts, the unsound ones too
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    triggers: Mapping[str, TriggerConfig] = field(default_factory=dict)
    #: triggers of which the file names no subscriber, not even a faulty one
    unaddressed: tuple[str, ...] = ()
    handlers: Mapping[str, Any] = field(default_factory=dict)
    bus: BusConfig | None = None
    sources: Mapping[str, Any] = field(default_factory=dict)
    store: FolderStoreConfig | S3StoreConfig | None = None
    web: WebConfig | None = None
    jobs: JobsConfig | None = None
    box: BoxConfig | None = None
    mqtt: MqttConfig | None = None


def parts(raw: Mapping[str, Any]) -> Parts:
    """Read each part by itself, so that a fault in one does not hide those between others."""
    named = {name: _tables(raw.get(name)) for name in ("sources", "triggers", "handlers")}
    return Parts(
        names={name: tuple(tables) for name, tables in named.items()},
        sources=_sound(_SOURCE, named["sources"]),
        triggers=_sound(_TRIGGER, named["triggers"]),
        unaddressed=tuple(
            name
            for name, table in named["triggers"].items()
            if isinstance(table, dict)
            and table.get("subscriber") is None
            and not table.get("subscribers")
        ),
        handlers=_sound(_HANDLER, named["handlers"]),
        bus=_read(TypeAdapter(BusConfig), raw.get("bus", {})),
        store=_read(_STORE, raw.get("store")),
        web=_read(TypeAdapter(WebConfig), raw.get("web", {})),
        jobs=_read(TypeAdapter(JobsConfig), raw.get("jobs", {})),
        box=_read(TypeAdapter(BoxConfig), raw.get("box", {})),
        mqtt=_read(TypeAdapter(MqttConfig), raw.get("mqtt")),
    )


def _tables(given: object) -> Mapping[str, object]:
    return given if isinstance(given, dict) else {}


def _sound(adapter: TypeAdapter[Any], tables: Mapping[str, object]) -> dict[str, Any]:
    read = {name: _read(adapter, table) for name, table in tables.items()}
    return {name: part for name, part in read.items() if part is not None}


def _read(adapter: TypeAdapter[Any], value: object) -> Any:
    """Read one part, if need be without its faulty keys: those are reported with the whole."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        bad = {name for found in error.errors(include_input=False) for name in found["loc"][:2]}
    if not isinstance(value, dict) or not bad & set(value):
        return None
    return _read(adapter, {name: inner for name, inner in value.items() if name not in bad})


def faults(given: Parts, environ: Mapping[str, str]) -> Iterator[Fault]:
    """Yield what is wrong between the keys of ``given``."""
    yield from load_checks_bus.names(given.names)
    yield from load_checks_bus.unaddressed(given.unaddressed)
    known = (*given.names.get("handlers", ()), *load_checks_mqtt.handlers(given.mqtt))
    yield from load_checks_bus.faults(given.bus, given.triggers, given.handlers, known)
    for name, source in given.sources.items():
        yield from _blackout(("sources", name, "privacy", "blackout"), source)
        yield from _queue(("sources", name, "queue_size"), source)
        if isinstance(source, CameraConfig):
            yield from _camera(("sources", name, "url"), source.url.reveal())
    yield from _folders(given)
    yield from load_checks_buckets.faults(given.sources, given.store)
    if given.jobs is not None and given.jobs.bucket:
        yield from load_checks_jobs.faults(
            given.jobs, given.sources, given.names.get("sources", ())
        )
    yield from load_checks_names.faults(given.sources, given.store)
    if given.mqtt is not None:
        yield from load_checks_mqtt.faults(given.mqtt)
    if given.web is not None:
        yield from _web(given.web)
    if given.box is not None:
        yield from _state(given.box, environ)


def _queue(location: Location, source: Any) -> Iterator[Fault]:
    if source.queue == "latest" and source.queue_room > 1:
        yield Fault(
            location=location,
            given=str(source.queue_size),
            message='expected 1, or another queue: with queue = "latest" the newest alone waits',
        )


def _blackout(location: Location, source: Any) -> Iterator[Fault]:
    for at, polygon in enumerate(source.privacy.blackout):
        if len(polygon) < 3:
            yield Fault(
                location=(*location, at),
                given=f"{len(polygon)} points",
                message="expected at least three points; fewer cover nothing",
            )


def _camera(location: Location, url: str) -> Iterator[Fault]:
    match = _SCHEME.match(url)
    if not url.strip():
        yield Fault(location=location, message="is empty; expected an address, device or file")
    elif match and match[1].lower() not in CAMERA_SCHEMES:
        yield Fault(
            location=location,
            given=f"{match[1]}://…",
            message="expected rtsp://, rtsps://, http://, https://, a device or a file",
        )
    elif match and (problem := _url_problem(url)):
        yield Fault(location=location, given=f"{match[1]}://…", message=problem)


def _url_problem(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or re.search(r"\s", url) or _RAW_PASSWORD.match(url):
        return (
            "expected //host or //user:password@host; in a password write / as %2F, ? as %3F, "
            "# as %23, @ as %40, a space as %20, or use ${secret:name}, which does that by itself"
        )
    return ""


def _folders(given: Parts) -> Iterator[Fault]:
    watched: dict[str, str] = {}
    for name, source in given.sources.items():
        if not isinstance(source, FolderConfig):
            continue
        path = os.path.realpath(source.path)
        if path in watched:
            yield Fault(
                location=("sources", name, "path"),
                given=show_given(source.path),
                message=f"expected a folder of its own; sources.{watched[path]} reads this one",
            )
        watched.setdefault(path, name)
    if isinstance(given.store, FolderStoreConfig):
        out = os.path.realpath(given.store.path)
        for path, name in watched.items():
            if out == path or out.startswith(path.rstrip("/") + "/"):
                yield Fault(
                    location=("store", "path"),
                    given=show_given(given.store.path),
                    message=f"lies in the folder that sources.{name} watches; expected one "
                    "outside of it, else the box would redact its own pictures again and again",
                )


def _web(web: WebConfig) -> Iterator[Fault]:
    if not is_loopback(web.host) and not web.token:
        yield Fault(
            location=("web", "token"),
            message=f"missing; expected a secret, because host = {show_given(web.host)} "
            "is open to the network",
        )
    elif web.token is not None and not web.token:
        yield Fault(location=("web", "token"), message="is empty; expected a secret, or no token")


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach ``host``."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _state(box: BoxConfig, environ: Mapping[str, str]) -> Iterator[Fault]:
    path = state_directory(box, environ)
    there = path
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    problem = ""
    if not there.is_dir():
        problem = f"{there} is not a directory"
    elif not os.access(there, os.W_OK | os.X_OK):
        problem = f"{there} may not be written to by this user"
    if problem:
        yield Fault(
            location=("box", "state"),
            given=show_given(str(path)),
            message=f"{problem}; expected a directory that Edge may write to",
        )


def doubts(config: Config, raw: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is allowed but doubtful: secrets in plain text, no source at all."""
    if not config.sources:
        yield Fault(location=("sources",), message="none; only uploads will be redacted")
    yield from _plain_sources(config, raw)
    yield from _plain_handlers(config, raw)
    for section, name in (("store", "secret_key"), ("web", "token")):
        plain = raw.get(section, {}).get(name)
        if plain and not has_reference(plain):
            yield _in_plain_text((section, name), "a secret")


def _plain_sources(config: Config, raw: Mapping[str, Any]) -> Iterator[Fault]:
    for name, source in config.sources.items():
        plain = raw["sources"][name]
        if isinstance(source, CameraConfig) and _has_password(plain["url"]):
            yield _in_plain_text(("sources", name, "url"), "a password")
        elif isinstance(source, BucketConfig):
            for secret in ("secret_key", "token"):
                if plain.get(secret) and not has_reference(plain[secret]):
                    yield _in_plain_text(("sources", name, secret), "a secret")


def _plain_handlers(config: Config, raw: Mapping[str, Any]) -> Iterator[Fault]:
    for name, handler in config.handlers.items():
        plain = raw["handlers"][name]
        if isinstance(handler, ForwardConfig):
            if _has_password(plain["uri"]):
                yield _in_plain_text(("handlers", name, "uri"), "a password")
            if not all(map(has_reference, plain.get("headers", {}).values())):
                yield _in_plain_text(("handlers", name, "headers"), "what may be a secret")
        elif plain.get("api_key") and not has_reference(str(plain["api_key"])):
            yield _in_plain_text(("handlers", name, "api_key"), "a secret")


def _has_password(url: str) -> bool:
    if has_reference(url) or not _SCHEME.match(url):
        return False
    found = urlsplit(url)
    return bool(found.password or _PASSWORD_VALUE.search(found.query))


def _in_plain_text(location: Location, what: str) -> Fault:
    return Fault(
        location=location,
        message=f"{what} in plain text; better ${{secret:name}}, with the value in "
        "secrets/name beside this file (mode 0600)",
    )
