"""The broker as a person reaches it: options, who connects, and a link that is up."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from edge.cli.show import warn
from edge.config.units import parse_duration
from edge.errors import PartFailed, Rejected
from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import Login, MqttSettings, Tls, bad_broker, read_url
from edge.topics import PREFIX

Command = TypeVar("Command", bound=Callable[..., Any])

USER, PASSWORD = "EDGE_BROKER_USER", "EDGE_BROKER_PASSWORD"
_OLDER = frozenset({"version", "no_welcome"})
"""Why a broker may have refused MQTT 5, and take 3.1.1."""
_MOST_PASSWORD = 64 * 1024
_NAMES = (
    "broker", "user", "password_file", "prefix", "ca_file", "cert_file", "key_file",
    "server_name", "alpn", "proxy", "version",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A broker, and what all topics begin with there."""

    settings: MqttSettings
    prefix: str = PREFIX
    user: str = ""
    password: str = field(default="", repr=False)
    #: read anew at each connect; empty: ``password``
    password_file: str = ""

    def login(self) -> Login:
        """Return who connects; blocks for a moment (reads a file)."""
        if not self.password_file:
            return Login(self.user, self.password)
        return Login(self.user, read_password(self.password_file))

    def named(self, client_id: str, **more: Any) -> MqttSettings:
        """Return the settings of one client."""
        return replace(self.settings, client_id=client_id, **more)


def read_password(path: str) -> str:
    """Return the first line of a file.

    Raises:
        Rejected: it cannot be read.

    """
    try:
        with Path(path).open("rb") as file:
            return file.readline(_MOST_PASSWORD).decode().rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise Rejected(
            f"the password file {path}: {error}", hint="--password-file FILE", reason="password"
        ) from error


def broker_options(command: Command) -> Command:
    """Give a command the broker's options, which ``take_broker`` takes."""
    file = click.Path(exists=True, dir_okay=False)
    for option in (
        click.option(
            "--mqtt", "version", type=click.Choice(["auto", "5", "3.1.1"]), default="auto",
            help="MQTT version; auto: 5, else 3.1.1.",
        ),
        click.option(
            "--proxy", envvar="EDGE_BROKER_PROXY",
            help="http://host:port of a proxy. Else $EDGE_BROKER_PROXY.",
        ),
        click.option("--alpn", multiple=True, help="Protocol to offer; may be given again."),
        click.option("--server-name", default="", help="Name in the broker's certificate."),
        click.option("--key-file", type=file, help="Key of --cert-file."),
        click.option("--cert-file", type=file, help="Your own certificate."),
        click.option("--ca-file", type=file, help="CA bundle in the system's place."),
        click.option("--prefix", default=PREFIX, help=f"What all topics begin with: {PREFIX}."),
        click.option(
            "--password-file", type=file, help=f"Its first line is the password. Else ${PASSWORD}."
        ),
        click.option("--user", envvar=USER, default="", help=f"User name. Else ${USER}."),
        click.option(
            "--broker", envvar="EDGE_BROKER", required=True, metavar="URL",
            help="mqtt://host:1883, mqtts://…, ws://… or wss://…. Else $EDGE_BROKER.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def take_broker(given: dict[str, Any]) -> Broker:
    """Take the broker's options out of what a command was given.

    Raises:
        click.UsageError: an option is none.

    """
    said = {name: given.pop(name) for name in _NAMES}
    url = said["broker"]
    try:
        settings, login = read_url(url, client_id="", tls=_tls(said))
    except PartFailed as error:
        raise click.BadParameter(str(error), param_hint="--broker") from error
    if login.password and os.environ.get("EDGE_BROKER") != url:
        warn(f"everybody here can read a password in an address: --password-file or ${PASSWORD}")
    prefix = said["prefix"].strip("/")
    if not prefix or set(prefix) & set("+#\0"):
        raise click.BadParameter("expected levels of a topic, no + or #", param_hint="--prefix")
    settings = replace(
        settings,
        version=said["version"],
        proxy=_proxy(said["proxy"] or ""),
        session_expiry=0,
        longest_wait=10.0,
    )
    return Broker(
        settings=settings,
        prefix=prefix,
        user=said["user"] or login.user,
        password=login.password or os.environ.get(PASSWORD, ""),
        password_file=said["password_file"] or "",
    )


def _tls(said: dict[str, Any]) -> Tls | None:
    names = ("ca_file", "cert_file", "key_file", "server_name", "alpn")
    found = {name: said[name] for name in names if said[name]}
    secure = urlsplit(said["broker"]).scheme in {"mqtts", "wss"}
    if found and not secure:
        words = ", ".join("--" + name.replace("_", "-") for name in found)
        raise click.UsageError(f"{words}: for mqtts:// and wss:// only")
    return Tls(**found) if secure else None


def _proxy(url: str) -> str:
    try:
        parts = urlsplit(url)
        fine = not url or (parts.scheme == "http" and parts.hostname and parts.port != 0)
    except ValueError:
        fine = False
    if not fine:
        raise click.BadParameter("expected http://host:port", param_hint="--proxy")
    return url


def duration(_context: object, option: click.Parameter, given: str | None) -> float | None:
    """Read a duration with its unit, as a callback of an option."""
    if given is None:
        return None
    try:
        return parse_duration(given)
    except ValueError as error:
        raise click.BadParameter(str(error), param=option) from error


class _FirstLosses:
    """Why a link does not come up; that a broker is older is no reason yet."""

    def __init__(self) -> None:
        self.last: PartFailed | None = None
        self.told = asyncio.Event()

    def note(self, error: PartFailed) -> None:
        if self.last is not None or error.reason not in _OLDER:
            self.told.set()
        self.last = error


@asynccontextmanager
async def opened(
    broker: Broker, *, lost: Callable[[PartFailed], None] = lambda _: None, **more: Any
) -> AsyncIterator[MqttLink]:
    """Give a link that is up, and close it in the end. Later it connects anew by itself.

    Args:
        broker: where.
        lost: told why a connection ended, later.
        more: further settings of the link.

    Raises:
        PartFailed: the broker is out of reach, or refuses.

    """
    first = _FirstLosses()

    def note(error: PartFailed) -> None:
        first.note(error)
        lost(error)

    settings = broker.named(f"edge-fleet-{secrets.token_hex(6)}", **more)
    link = MqttLink(settings, login=broker.login, lost=note, name="fleet")
    running = asyncio.create_task(link.run(), name="fleet link")
    up = asyncio.create_task(link.room(), name="fleet waits for the broker")
    failed = asyncio.create_task(first.told.wait(), name="fleet waits for a refusal")
    try:
        await asyncio.wait({running, up, failed}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        if not up.done():
            raise first.last or bad_broker(settings.where)
        failed.cancel()
        yield link
    finally:
        up.cancel()
        failed.cancel()
        await link.close()
        await asyncio.wait({running}, timeout=3)
        running.cancel()
        await asyncio.gather(running, up, failed, return_exceptions=True)
