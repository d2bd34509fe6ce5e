"""What a box tells its broker, and how. ``app``'s part for MQTT.

::

    store has it, erased, labels, alarms --> [ queue (spool) ] --> publisher --+
    birth, info, health, sources ---------------------------> presence --------+--> link --> broker

Built only where there is ``[mqtt]``. Commands that come over the link belong here, too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
import tomllib
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from edge.app_presence import Facts
from edge.app_remote import Remote
from edge.cloudevents.json_format import encode_line
from edge.config.bus import SubscriberConfig, TriggerConfig
from edge.config.mqtt import MqttConfig
from edge.config.root import Config
from edge.config.secrets import Secrets
from edge.contracts import Note
from edge.errors import PartFailed, Rejected, TryLater
from edge.event import PICTURE_ANNOTATED, PICTURE_CLASSIFIED, PICTURE_ERASED, WireEvent
from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import Limits, Login, MqttSettings, Tls, Will, read_url
from edge.sinks.outbox import Waiting
from edge.sinks.upstream.alarms import Alarms
from edge.sinks.upstream.plan import Plan
from edge.sinks.upstream.presence import Presence, now
from edge.sinks.upstream.publisher import Publisher
from edge.sinks.upstream.queue import Outgoing, UpstreamQueue
from edge.topics import Topics

if TYPE_CHECKING:
    from edge.app import Box

log = logging.getLogger(__name__)

UPSTREAM = "upstream"
"""The handler that sends events to the broker, and the built-in trigger that uses it."""
LOOK_EVERY = 1.0
OURS = ("seq", "historical")
"""Extensions that the box itself adds on the way."""
_ALARMS = "alarms"
_SETTLE_S = 0.05
_PICTURE = re.compile(r"^io\.edge\.picture\.([a-z]+)\.v\d+$")

Start: TypeAlias = Callable[[str, Coroutine[Any, Any, None]], None]


class Upstream:
    """Everything between a box and its broker. Built closed.

    Args:
        box: whose it is; its spool, outbox, bus and commands are there already.
        config: ``[mqtt]``.
        path: the file of the box's configuration, if it has one.

    Raises:
        PartFailed: ``bad_broker``.

    """

    def __init__(self, box: Box, config: MqttConfig, path: Path | None) -> None:
        self._box, self._config = box, config
        about = box.config.box
        self.topics = Topics(site=about.site, node=about.node, prefix=config.prefix)
        self.link = MqttLink(
            settings_of(box.config, config),
            login=FreshLogin(config, path, box.desired.tables or None),
            will=self._will,
            up=self._up,
            lost=self._lost,
        )
        self.plan = Plan(box.config.upstream)
        self.queue = UpstreamQueue(box.spool, box.config.upstream, box.metrics)
        self.publisher = Publisher(
            self.queue, self.link, self.topics, box.config.upstream, box.metrics, self.plan
        )
        self.facts = Facts(box)
        self._alarms = Alarms()
        self._told = ""
        self.presence: Presence | None = None
        self.remote = Remote(box, self.link, self.topics)

    # -- life

    async def open(self) -> None:
        """Get ready: the spool is open, the store not yet asked. Nothing is sent."""
        self.presence = Presence(
            self.link,
            self.topics,
            start=self._box.boots.number,
            every=self._config.health_every,
        )
        self._alarms = Alarms(await self._box.commands.ledger.kept(_ALARMS))
        self._box.forwarder.also.append(self.stored)

    def start(self, start: Start) -> None:
        """Begin to connect and to send; all sources are there."""
        if self.presence is None:
            raise RuntimeError("open it first")
        start("mqtt", self._box.supervisor.keep("mqtt", self._run_link))
        start("presence", self._box.supervisor.keep("presence", self._run_presence))
        start("publisher", self._box.supervisor.keep("publisher", self._run_publisher))
        start("look", self._keep_looking())
        self.remote.start(start)

    async def close(self, budget: float) -> None:
        """Send what can be sent within ``budget`` seconds, say goodbye, and disconnect."""
        with suppress(TimeoutError):
            async with asyncio.timeout(budget):
                while self.queue.stats().waiting and self.link.status().state == "up":
                    await asyncio.sleep(_SETTLE_S)
        self.publisher.pause()
        if self.presence is not None:
            await self.presence.stop()
        await self.link.close()

    async def reload(self, wanted: Config) -> None:
        """Take over what of ``[upstream]`` can change while the box runs."""
        self.plan.configure(wanted.upstream)

    async def _run_link(self, up: Callable[[], None]) -> None:
        up()
        await self.link.run()

    async def _run_presence(self, up: Callable[[], None]) -> None:
        up()
        if self.presence is not None:
            await self.presence.run()

    async def _run_publisher(self, up: Callable[[], None]) -> None:
        up()
        await self.publisher.run()

    # -- the bus

    def handlers(self) -> dict[str, ToBroker]:
        """Make the handler that triggers may name."""
        return {UPSTREAM: ToBroker(self.queue)}

    def triggers(self) -> dict[str, TriggerConfig]:
        """Return the trigger that is there unless the file has one of that name."""
        types = (PICTURE_ERASED, PICTURE_CLASSIFIED, PICTURE_ANNOTATED)
        return {
            UPSTREAM: TriggerConfig(
                filters=[{"any": [{"exact": {"type": name}} for name in types]}],
                subscriber=SubscriberConfig(ref=UPSTREAM),
            )
        }

    def stored(self, waiting: Waiting) -> Note | None:
        """Return what notes, as the store takes a parcel, that the broker is to learn of it."""
        try:
            event = self._box.bus.originals.stored_event(waiting.parcel)
        except Rejected as error:
            log.warning("the broker does not learn of %s: %s", waiting.parcel.key, error)
            return None
        return self.queue.note(outgoing_of(event, "result", waiting.parcel.source))

    # -- the link

    def _will(self) -> Will | None:
        return None if self.presence is None else self.presence.will()

    def _up(self, limits: Limits) -> None:
        where = self.link.status().broker
        log.info("connected to %s, MQTT %s", where, limits.version)
        self._told = ""
        if self.presence is not None:
            self.presence.up(limits)

    def _lost(self, error: PartFailed) -> None:
        if error.reason != self._told:  # a try every minute for days is one line
            log.warning("%s. %s", error, error.hint)
        self._told = error.reason

    # -- looking

    async def _keep_looking(self) -> None:
        while True:
            look, troubles = self.facts.look()
            if self.presence is not None:
                self.presence.show(look)
            at = datetime.now(UTC)
            news = self._alarms.see(troubles, time.monotonic(), at)
            if news:
                messages = [alarm.message(self._box.origin, now()) for alarm in news]
                await self._tell([_alarm(one, at) for one in messages])
            await asyncio.sleep(LOOK_EVERY)

    async def _tell(self, alarms: list[Outgoing]) -> None:
        while True:
            try:
                await self.queue.put(*alarms)
                await self._box.commands.ledger.keep(_ALARMS, self._alarms.kept())
            except TryLater as error:
                log.warning("an alarm waits for room: %s", error)
                await asyncio.sleep(error.after or LOOK_EVERY)
            else:
                return


class ToBroker:
    """The handler that sends events to the broker: it is done when they are in the spool."""

    where = "edge:upstream"
    sees_pictures = False

    def __init__(self, queue: UpstreamQueue) -> None:
        self._queue = queue

    async def __call__(self, event: WireEvent) -> None:
        """Take an event.

        Raises:
            TryLater: there is no room on the disk.

        """
        source = event.source.rstrip("/").rpartition("/")[2]
        await self._queue.put(outgoing_of(event, "event", source))

    async def close(self) -> None:
        """Nothing is held here."""


class FreshLogin:
    """Who connects. Secrets are looked up anew each time, since they may rotate.

    The references are those that the file had when the box started: a password that is meant for
    another broker, which the file names by now, is not told to this one.
    """

    def __init__(
        self, config: MqttConfig, path: Path | None, tables: Mapping[str, Any] | None = None
    ) -> None:
        self._login = _login_of(config)
        self._secrets = Secrets(None if path is None else path.resolve().parent, os.environ)
        if tables is None and path is not None:
            with suppress(OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
                tables = tomllib.loads(path.read_text(encoding="utf-8"))
        found = (tables or {}).get("mqtt")
        self._written: Mapping[str, Any] = found if isinstance(found, dict) else {}

    def __call__(self) -> Login:
        """Return user and password as they are now; as they were, where one cannot be read."""
        try:
            self._login = Login(
                self._now("user", self._login.user), self._now("password", self._login.password)
            )
        except ValueError as error:
            log.warning("the broker's credentials stay as they were: %s", error)
        return self._login

    def _now(self, key: str, before: str) -> str:
        written = self._written.get(key)
        return self._secrets.resolve(written) if isinstance(written, str) else before


def settings_of(config: Config, mqtt: MqttConfig) -> MqttSettings:
    """Return where the broker is and how to talk to it.

    Raises:
        PartFailed: ``bad_broker``.

    """
    box = config.box
    tls = Tls(
        ca_file=mqtt.ca_file,
        cert_file=mqtt.cert_file,
        key_file=mqtt.key_file,
        alpn=mqtt.alpn,
        server_name=mqtt.server_name,
    )
    client_id = mqtt.client_id or f"edge-{box.site}-{box.node}"
    settings, _ = read_url(mqtt.url, client_id=client_id, tls=tls)
    return replace(
        settings,
        proxy=mqtt.proxy.reveal(),
        version=mqtt.version,
        keepalive=max(1, round(mqtt.keepalive)),
        session_expiry=round(mqtt.session_expiry),
        window=config.upstream.window,
        longest_wait=mqtt.retry_max,
    )


def outgoing_of(event: WireEvent, kind: str, source: str) -> Outgoing:
    """Return an event as a message to the broker: a CloudEvent in JSON.

    Raises:
        Rejected: an attribute of it is none.

    """
    extensions = {name: one for name, one in event.extensions.items() if name not in OURS}
    line = encode_line(replace(event, extensions=extensions))
    topic = _PICTURE.sub(r"\1", event.type) if kind == "event" else ""
    return Outgoing(kind=kind, source=source, id=event.id, body=line, at=time.time(), topic=topic)


def _alarm(message: Mapping[str, Any], at: datetime) -> Outgoing:
    source = str(message["data"].get("source", ""))
    return Outgoing(
        kind="alarm", source=source, id=str(message["id"]), body=message, at=at.timestamp()
    )


def _login_of(config: MqttConfig) -> Login:
    return Login(config.user.reveal(), config.password.reveal())
