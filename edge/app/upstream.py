"""What a box tells its broker, and how. ``app``'s part for MQTT.

::

    store has it, erased, labels, alarms --> [ queue (spool) ] --> publisher --+
    birth, info, health, sources ---------------------------> presence --------+--> link --> broker

Built only where there is ``[mqtt]``. Commands that come over the link belong here, too.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from edge import __version__
from edge.app.broker import FreshLogin, live_of, settings_of
from edge.app.presence import Facts
from edge.app.remote import Remote
from edge.cloudevents.json_format import encode_line
from edge.config.bus import SubscriberConfig, TriggerConfig
from edge.config.mqtt import MqttConfig
from edge.config.root import Config
from edge.contracts import Note
from edge.control.commands.envelope import command_of
from edge.control.commands.permissions import Caller
from edge.errors import PartFailed, Rejected, TryLater
from edge.event import PICTURE_ANNOTATED, PICTURE_CLASSIFIED, PICTURE_ERASED, WireEvent
from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import Limits, Message, Will
from edge.sinks.outbox import Waiting
from edge.sinks.outbox_room import Evicted
from edge.sinks.upstream import settings
from edge.sinks.upstream.alarms import Alarms
from edge.sinks.upstream.home_assistant import Discovery
from edge.sinks.upstream.outgoing import Outgoing
from edge.sinks.upstream.plan import Plan
from edge.sinks.upstream.presence import Presence, moment, now
from edge.sinks.upstream.publisher import Publisher
from edge.sinks.upstream.queue import UpstreamQueue
from edge.sinks.upstream.rows import Gone
from edge.topics import Topics
from edge.web import view
from edge.web.guard import is_loopback

if TYPE_CHECKING:
    from edge.app.box import Box

log = logging.getLogger(__name__)

UPSTREAM = "upstream"
"""The handler that sends events to the broker, and the built-in trigger that uses it."""
LOOK_EVERY = 1.0
SETTING_WITHIN = 10.0
"""Seconds after which the next one is looked at, whatever becomes of a setting."""
OURS = ("seq", "historical")
"""Extensions that the box itself adds on the way."""
_ALARMS = "alarms"
_HELD_UP = ("paused", "waiting_for_window", "waiting_for_budget")
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
        self.queue = UpstreamQueue(box.spool, box.config.upstream, box.metrics, origin=box.origin)
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
        await self.queue.open()
        self.presence = Presence(
            self.link,
            self.topics,
            start=self._box.boots.number,
            every=self._config.health_every,
            announce=self._home_assistant(),
            spent=self.plan.spend,
        )
        self._alarms = Alarms(await self._box.commands.ledger.kept(_ALARMS))
        self._box.forwarder.also.append(self.stored)
        self._box.forwarder.gate = self.plan.gate
        self._box.commands.sync.also.append(self.publisher)
        self._box.outbox.room.tell.append(self._gave_way)

    def start(self, start: Start) -> None:
        """Begin to connect and to send; all sources are there."""
        if self.presence is None:
            raise RuntimeError("open it first")
        self.link.subscribe(settings.filter_of(self.topics), self._asked)
        start("mqtt", self._box.supervisor.keep("mqtt", self._run_link))
        start("presence", self._box.supervisor.keep("presence", self._run_presence))
        start("publisher", self._box.supervisor.keep("publisher", self._run_publisher))
        start("look", self._box.supervisor.keep("look", self._keep_looking))
        self.remote.start(start)

    async def close(self, budget: float) -> None:
        """Send what can be sent within ``budget`` seconds, say goodbye, and disconnect."""
        await self.publisher.drain(budget)
        self.publisher.pause()
        if self.presence is not None:
            await self.presence.stop()
        await self.link.close()

    def reload(self, wanted: Config) -> None:
        """Take over what of ``[upstream]`` can change while the box runs."""
        config = live_of(self._box.config.upstream, wanted.upstream)
        self.publisher.change(config)
        self._box.config = self._box.config.model_copy(update={"upstream": config})

    def _gave_way(
        self, connection: sqlite3.Connection, evicted: Sequence[Evicted], reason: str
    ) -> None:
        rows = [Gone(0, "picture", one.source, one.seq, one.bytes, one.at) for one in evicted]
        self.queue.lost(connection, rows, reason)

    def status(self) -> view.Upstream:
        """Say how the link is, and what waits. Cheap, never blocks."""
        link, queue = self.link.status(), self.publisher.status()
        down, presence = link.state != "up", self.presence
        last = queue["last_delivered"]
        refused = {} if presence is None else dict(presence.shelf.status())
        sizes = {kind: one.waiting_bytes for kind, one in self.queue.stats().classes.items()}
        words = queue["words"] if queue["state"] in _HELD_UP else ""
        return view.Upstream(
            broker=link.broker,
            client_id=link.client_id,
            state=link.state,
            since=moment(link.since),
            code=link.code if down else "",
            # the broker's address stands beside it
            reason=link.reason.removeprefix(f"{link.broker}: ") if down else "",
            hint=link.hint if down else "",
            next_try=link.next_try or None,
            protocol=link.limits.version if link.limits else "",
            session=0 if presence is None else presence.session,
            waiting=queue["waiting"],
            bytes=queue["bytes"],
            oldest=queue["oldest_s"] if queue["waiting"] else None,
            classes=[
                view.Class(name=kind, waiting=many, bytes=sizes[kind])
                for kind, many in queue["classes"].items()
            ],
            max_bytes=self._box.config.upstream.max_bytes,
            last_delivered=None if last is None else moment(datetime.fromtimestamp(last, UTC)),
            delivered=queue["delivered"],
            lost=queue["tombstoned"],
            estimate=None if down else queue["through_in_s"],
            plan=words,
            refused={**refused, **link.refused, **queue["held"]},
        )

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

    async def _asked(self, messages: Sequence[Message]) -> None:
        """Change settings of sources that somebody asks for; what is refused is said once more."""
        for message in messages:
            try:
                wanted = settings.setting_of(message, self.topics, self._box.sources.configs)
            except Rejected as error:
                log.warning("%s: %s", message.topic, error)
                continue
            given = {"id": uuid4().hex, "args": wanted.args}
            caller = Caller(channel="mqtt", who="set", retained=message.retain)
            executor = self._box.commands.executor
            reply = await executor.execute(
                command_of(given, wanted.verb), caller, wait=SETTING_WITHIN
            )
            if reply.status == "error":
                log.warning("%s: %s. %s", message.topic, reply.message, reply.hint)
                if self.presence is not None:
                    self.presence.settled(wanted.source, wanted.key)

    def _home_assistant(self) -> Discovery | None:
        if not self._config.home_assistant:
            return None
        reachable = "" if is_loopback(self._box.config.web.host) else self._box.page
        return Discovery(
            prefix=self._config.home_assistant,
            topics=self.topics,
            version=__version__,
            page=reachable,
        )

    # -- looking

    async def _keep_looking(self, up: Callable[[], None]) -> None:
        while True:
            look, troubles = self.facts.look()
            up()
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
