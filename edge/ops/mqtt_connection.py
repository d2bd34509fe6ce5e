"""One connection to a broker, from its welcome to its end.

A connection that ended is thrown away with its client of paho: nothing of it is in the way of the
next.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode

from edge.errors import EdgeError, PartFailed
from edge.ops import mqtt_faults as faults
from edge.ops.mqtt_driver import Driver
from edge.ops.mqtt_paho import (
    PUBLISH,
    granted,
    granted_3,
    head_of,
    of_message,
    options,
    pack,
    packet_size,
)
from edge.ops.mqtt_types import (
    Limits,
    Login,
    Message,
    MqttSettings,
    Properties,
    Qos,
    Version,
    Will,
)
from edge.ops.mqtt_wire import Wire

TICK: Final = 1.0
"""Seconds between two looks at the clock: keep-alive, overdue acknowledgements."""
_SMOOTH: Final = 0.125


class Listener(Protocol):
    """Who is told what comes, as soon as it comes. None of these may raise or wait."""

    def welcomed(self, connection: Connection) -> None: ...
    def heard(self, message: Message) -> None: ...
    def subscribed(self, topic: str, error: PartFailed | None) -> None: ...
    def freed(self) -> None: ...


class Connection:
    """Speaks with one broker, once.

    Args:
        wire: a connected socket.
        settings: how to speak.
        version: which MQTT.
        number: which connection of its link it is.
        listener: who is told.

    """

    def __init__(
        self,
        wire: Wire,
        settings: MqttSettings,
        *,
        version: Version,
        number: int,
        listener: Listener,
    ) -> None:
        self._wire, self._settings, self._listener = wire, settings, listener
        self._loop = asyncio.get_running_loop()
        self.version, self.number = version, number
        self._five = version == "5"
        self._welcome: asyncio.Future[Limits] = self._loop.create_future()
        #: done with why it ended; ``stopped`` where the box wanted it
        self.ended: asyncio.Future[PartFailed] = self._loop.create_future()
        self._acks: dict[int, tuple[asyncio.Future[None], str, float]] = {}
        self._asked: dict[int, str] = {}
        self._drops: PartFailed | None = None
        self.limits = Limits(window=settings.window)
        self.round_trip = 0.0
        self._acked = self._refusals = 0
        self._last_ack = 0.0
        # by the monotonic clock: the last acknowledgement; when the newest was sent of what is
        # acknowledged; of the oldest that is not, when it was sent and since when it is skipped
        self._acked_at = self._newest = 0.0
        self._skipped = 0.0, 0.0
        self._driver = Driver(wire, settings, version)
        self._driver.room = listener.freed
        self._client = client = self._driver.client
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.acked = self._on_ack
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message

    # -- life

    async def open(self, login: Login, will: Will | None, *, fresh: bool = False) -> Limits:
        """Say hello and wait for the broker's welcome.

        Args:
            login: who connects.
            will: what is published when it ends without ``disconnect``.
            fresh: the broker is to forget what it kept for this client.

        Raises:
            PartFailed: it refused, hung up, or is no broker.

        """
        await self._driver.hello(login, will, fresh=fresh)
        await asyncio.wait((self._welcome, self.ended), return_when=asyncio.FIRST_COMPLETED)
        if self._welcome.done():
            return self._welcome.result()
        raise self.ended.result()

    def disconnect(self) -> None:
        """Say goodbye: the broker drops the will, and keeps the session."""
        if self._drops is None:
            self._drops = PartFailed("the box closed the connection", reason="stopped")
        if not self.ended.done():
            self._client.disconnect()

    def drop(self, error: PartFailed) -> None:
        """End it without a word, for a reason; the broker publishes the will."""
        if self.ended.done():
            return
        self._drops = error
        self._driver.abort()
        self._end(error)

    async def watch(self) -> None:
        """Look at the clock, until it ends."""
        pause = min(TICK, self.limits.keepalive / 4 or TICK, self._settings.ack_timeout / 4)
        while not self.ended.done():
            alive = self._wire.alive()
            self._client.look(alive)
            overdue = self._overdue(alive)
            if overdue:
                self.drop(overdue)
            await asyncio.wait((self.ended,), timeout=pause)

    def _overdue(self, alive: float) -> PartFailed | None:
        """Say what the broker owes for too long, if anything.

        Brokers acknowledge in order (MQTT 5, 4.6; 3.1.1, 4.6), or nearly. What is skipped must not
        be sent again by the same connection (MQTT 5, 4.4): so that has to end.
        """
        if not self._acks:
            return None
        _, _, sent = next(iter(self._acks.values()))
        where, patience, now = self._settings.where, self._settings.ack_timeout, time.monotonic()
        if sent < now - patience:
            if alive < now - patience:
                return faults.silent(where, patience)
            # on a slow line a message may be on its way for minutes
            if max(self._wire.moved, self._acked_at) < now - patience:
                return faults.owes(where, patience)
        if sent < self._newest:
            skipped, since = self._skipped
            if skipped != sent:
                self._skipped = sent, now
            elif since < now - patience:
                return faults.owes(where, patience)
        return None

    # -- what is sent

    @property
    def in_flight(self) -> int:
        """Messages that the broker has not acknowledged yet."""
        return len(self._acks)

    def full(self, qos: int) -> bool:
        """Tell whether it takes no message of that quality now; none at all once it has ended."""
        return (
            self.ended.done()
            or (qos > 0 and len(self._acks) >= self.limits.window)
            or self._wire.full
        )

    @property
    def last_ack(self) -> datetime | None:
        """When the broker acknowledged something last."""
        return datetime.fromtimestamp(self._last_ack, UTC) if self._last_ack else None

    @property
    def counts(self) -> Counter[str]:
        """What went through it."""
        return Counter(
            acked=self._acked,
            refused=self._refusals,
            bytes_out=self._wire.bytes_out,
            bytes_in=self._wire.bytes_in,
        )

    def publish(
        self, topic: str, payload: bytes, qos: Qos, properties: Properties, *, retain: bool
    ) -> asyncio.Future[None]:
        """Send a message, unless it is ``full``; see ``MqttLink.publish``.

        Raises:
            Rejected: ``bad_topic``, ``too_large``.

        """
        packed = pack(properties) if self._five else b""
        head = head_of(topic)
        self._check_size(topic, payload, packed)
        if self.limits.max_qos == 0:
            qos = 0
        future: asyncio.Future[None] = self._loop.create_future()
        mid = self._number() if qos else 0
        first = PUBLISH | qos << 1 | (retain and self.limits.retain)
        self._client.post(first, head, mid, packed, payload)
        if mid:
            self._acks[mid] = (future, topic, self._client.sent)
        else:
            future.set_result(None)
        return future

    def _number(self) -> int:
        while (number := self._client.number()) in self._acks:
            pass  # they come round after 65535
        return number

    def _check_size(self, topic: str, payload: bytes, properties: bytes) -> None:
        limit = self.limits.max_packet
        if limit and len(payload) + len(topic) + len(properties) + 9 > limit // 4:
            size = packet_size(topic, payload, properties)
            if size > limit:
                raise faults.too_large(self._settings.where, topic, size, limit)

    def subscribe(self, topic: str) -> None:
        """Ask for messages; the listener is told what the broker says."""
        five = self.version == "5"
        present, qos = self.limits.session_present, self._settings.subscribe_qos
        code, mid = (
            self._client.subscribe(topic, options=options(qos, present=present))
            if five
            else self._client.subscribe(topic, qos)
        )
        if code == MQTTErrorCode.MQTT_ERR_SUCCESS and mid is not None:
            self._asked[mid] = topic

    def unsubscribe(self, topic: str) -> None:
        """Ask for no more; what is under way still comes."""
        self._client.unsubscribe(topic)

    def ack(self, message: Message) -> None:
        """Tell the broker that a message is safe; nothing, if it came by another connection."""
        if message.qos and message.connection == self.number and not self.ended.done():
            self._client.ack(message.mid, message.qos)

    # -- what paho tells

    def _on_connect(
        self,
        _client: object,
        _data: object,
        flags: ConnectFlags,
        code: ReasonCode,
        properties: PahoProperties | None,
    ) -> None:
        if self._welcome.done() or self._drops:
            return
        if code.is_failure:
            self._drops = faults.refusal(self._settings.where, code.value, _words(properties))
            return
        present = flags.session_present
        if self.version == "5":
            self.limits = granted(properties, self._settings, present=present)
        else:
            self.limits = granted_3(self._settings, present=present)
        self._welcome.set_result(self.limits)
        self._listener.welcomed(self)

    def _on_disconnect(
        self,
        _client: object,
        _data: object,
        flags: DisconnectFlags,
        code: ReasonCode,
        properties: PahoProperties | None,
    ) -> None:
        where = self._settings.where
        if self._drops:
            error = self._drops
        elif self._wire.error:
            error = faults.of_network(self._wire.error, where)
            if error.reason == "cut" and not self._welcome.done():
                error = faults.cut_early(where, tls=self._settings.tls is not None)
        elif flags.is_disconnect_packet_from_server:
            error = faults.refusal(where, code.value, _words(properties))
        elif code.value == 0x8D:
            error = faults.silent(where, 2.0 * self.limits.keepalive)
        elif code.value == 0x82:
            error = faults.refusal(where, 0x82)
        elif not self._welcome.done():
            error = faults.cut_early(where, tls=self._settings.tls is not None)
        else:
            error = faults.cut(where)
        self._end(error)

    def _end(self, error: PartFailed) -> None:
        if self.ended.done():
            return
        self.ended.set_result(error)
        acks, self._acks = self._acks, {}
        for future, _, _ in acks.values():
            _fail(future, PartFailed(str(error), hint=error.hint, reason=error.reason))

    def _on_ack(self, mid: int, code: int, words: str) -> None:
        found = self._acks.pop(mid, None)
        if found is None:
            return
        future, topic, since = found
        self._acked_at = now = time.monotonic()
        self._newest = max(self._newest, since)
        took = now - since
        self.round_trip += _SMOOTH * (took - self.round_trip) if self.round_trip else took
        if code >= 0x80:
            self._refusals += 1
            _fail(future, faults.of_publish(self._settings.where, topic, code, words))
        else:
            self._acked += 1
            self._last_ack = time.time()
            if not future.done():
                future.set_result(None)
        self._listener.freed()

    def _on_subscribe(
        self,
        _client: object,
        _data: object,
        mid: int,
        codes: Sequence[ReasonCode],
        properties: PahoProperties | None,
    ) -> None:
        topic = self._asked.pop(mid, None)
        if topic is None:
            return
        error = None
        for code in codes:
            if code.is_failure:
                # 3.1.1 says 0x80 for whatever it is, which is the access list
                value = code.value if self.version == "5" else 0x87
                about = f"{self._settings.where}: the topic {topic!r}"
                error = faults.refusal(about, value, _words(properties))
        self._listener.subscribed(topic, error)

    def _on_message(self, _client: object, _data: object, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self._listener.heard(
            Message(
                topic,
                bytes(message.payload),
                message.qos,
                message.retain,
                message.dup,
                of_message(message),
                message.mid,
                self.number,
            )
        )


def _words(properties: PahoProperties | None) -> str:
    """Return what the broker said in words, or which other one it names."""
    reason = getattr(properties, "ReasonString", "") or getattr(properties, "ServerReference", "")
    return str(reason)


def _fail(future: asyncio.Future[None], error: EdgeError) -> None:
    if not future.done():
        future.set_exception(error)
        # who does not ask does not care: no complaint about it in the log
        future.exception()
