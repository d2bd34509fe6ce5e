"""The MQTT link: connects to a broker, keeps the connection, and knows why there is none.

All of Edge that speaks MQTT does it through this. MQTT 5, and 3.1.1 where the broker knows no
other; one loop, no thread. The link keeps no message: a message that the broker has not
acknowledged when the connection ends is its sender's again, who has it on disk.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from edge.errors import PartFailed, TryLater
from edge.ops import mqtt_faults as faults
from edge.ops.backoff import Backoff
from edge.ops.groups import cause_of
from edge.ops.mqtt_connection import Connection
from edge.ops.mqtt_dial import dial
from edge.ops.mqtt_manners import Manners
from edge.ops.mqtt_subscription import Subscription, Take, Told
from edge.ops.mqtt_types import (
    NO_PROPERTIES,
    Limits,
    LinkStatus,
    Login,
    Message,
    MqttSettings,
    Properties,
    Qos,
    Will,
)
from edge.ops.mqtt_wire import Wire

HELD: Final = 30.0
"""Seconds that a connection must have lasted so that the next wait is short again: two boxes with
one client id must not throw each other out every second."""
AGAIN: Final = 60.0
"""Seconds after which a filter that the broker refused is asked for again."""


def _nothing(_: object) -> None:
    pass


class MqttLink:
    """One broker, one client id, one connection at a time.

    Args:
        settings: where and how.
        login: who connects; asked at each connect.
        will: what the broker publishes when the link ends unsaid; asked at each connect, so that
            it can carry that session's number. None: nothing.
        up: told of each welcome, before anything else is sent: what it publishes comes first. It
            must not wait.
        lost: told why a connection ended, or did not come about; each time. It may log it.
        name: of its tasks, and in the log.

    """

    def __init__(
        self,
        settings: MqttSettings,
        *,
        login: Callable[[], Login] = Login,
        will: Callable[[], Will | None] = lambda: None,
        up: Callable[[Limits], None] = _nothing,
        lost: Callable[[PartFailed], None] = _nothing,
        name: str = "mqtt",
    ) -> None:
        self._settings, self._login, self._will = settings, login, will
        self._told_up, self._told_lost, self._name = up, lost, name
        self._subscriptions: dict[str, Subscription] = {}
        self._group: asyncio.TaskGroup | None = None
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._connection: Connection | None = None
        self._opening: asyncio.Timeout | None = None
        self._error: PartFailed | None = None
        self._limits: Limits | None = None
        self._state, self._since, self._wait = "connecting", datetime.now(UTC), 0.0
        self._counts: Counter[str] = Counter()
        self._last_ack: datetime | None = None
        self._manners = Manners(settings.version)
        self._free, self._hurry, self._closing = (asyncio.Event() for _ in range(3))

    # -- life

    async def run(self) -> None:
        """Connect and keep connected, until ``close``.

        Raises:
            whatever a ``take`` raised that is no error of the house.

        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for subscription in self._subscriptions.values():
                    self._start(subscription)
                await self._keep()
                for worker in self._workers.values():
                    worker.cancel()
        except BaseExceptionGroup as group:
            raise cause_of(group) from group
        finally:
            self._group = None
            self._workers.clear()
            self._to("closed")

    async def close(self, within: float = 2.0) -> None:
        """Say goodbye (no will is published) and end ``run``; what is queued goes first.

        Args:
            within: seconds for that; a broker that does not listen is left.

        """
        self._closing.set()
        self._hurry.set()
        connection = self._connection
        if connection:
            connection.disconnect()
            await asyncio.wait((connection.ended,), timeout=within)
            connection.drop(PartFailed("the box closed the connection", reason="stopped"))
        elif self._opening and not self._opening.expired():
            self._opening.reschedule(asyncio.get_running_loop().time())

    def hurry(self) -> None:
        """Try to connect now, instead of at the end of the wait: there may be a network again."""
        self._hurry.set()

    async def _keep(self) -> None:
        backoff = Backoff(self._settings.first_wait, self._settings.longest_wait)
        while not self._closing.is_set():
            began, welcomes = time.monotonic(), self._counts["connects"]
            self._to("connecting")
            try:
                await self._once()
            except PartFailed as error:
                if self._closing.is_set():
                    return
                held = time.monotonic() - began > HELD
                if held:
                    backoff.reset()
                brief = self._counts["connects"] > welcomes and not held
                self._error = self._manners.suspect(error, brief=brief)
                self._counts["lost"] += 1
                self._told_lost(self._error)
                if not self._manners.learn(error):
                    await self._pause(backoff.next())

    async def _pause(self, seconds: float) -> None:
        self._wait = seconds
        self._to("waiting")
        self._hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if self._closing.is_set() else seconds):
                await self._hurry.wait()

    async def _once(self) -> None:
        connection = await self._opened()
        try:
            await connection.watch()
        finally:
            self._connection = None
            self._free.clear()
            # cancelled: the broker shall know that this was no goodbye
            connection.drop(PartFailed("the link was cancelled", reason="stopped"))
            self._counts.update(connection.counts)
            self._last_ack = connection.last_ack or self._last_ack
        raise connection.ended.result()

    async def _opened(self) -> Connection:
        settings, connection = self._settings, None
        try:
            async with asyncio.timeout(settings.connect_timeout) as self._opening:
                wire = Wire(await dial(settings), settings.max_incoming)
                connection = Connection(
                    wire,
                    settings,
                    version=self._manners.version,
                    number=self._counts["connects"] + 1,
                    listener=self,
                )
                will = self._manners.fit(self._will())
                await connection.open(self._login(), will, fresh=self._manners.fresh)
        except TimeoutError as error:
            if connection is None:
                raise faults.of_network(error, settings.where) from error
            raise faults.no_welcome(settings.where) from error
        except OSError as error:
            raise faults.of_network(error, settings.where) from error
        else:
            welcomed, connection = connection, None
            return welcomed
        finally:
            self._opening = None
            if connection:
                self._connection = None
                connection.drop(faults.cut(settings.where))

    def welcomed(self, connection: Connection) -> None:
        # at once: what the broker kept for this session may come in the same breath
        self._connection, self._limits = connection, connection.limits
        self._counts["connects"] += 1
        self._manners.welcomed()
        self._error = None
        self._to("up")
        for subscription in self._subscriptions.values():
            if connection.limits.session_present:
                subscription.forget(connection.number)
        self._told_up(connection.limits)
        for topic in self._subscriptions:
            connection.subscribe(topic)
        self.freed()

    def _to(self, state: str) -> None:
        if state != self._state:
            self._state, self._since = state, datetime.now(UTC)

    # -- sending

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: Qos = 1,
        retain: bool = False,
        properties: Properties = NO_PROPERTIES,
    ) -> asyncio.Future[None]:
        """Send a message now, after all that were sent before.

        Where the broker keeps no messages, ``retain`` is left out, and QoS 0 used where it knows
        no other: see the status.

        Returns:
            A future that is done when the broker has acknowledged it (QoS 0: at once). It fails
            with ``PartFailed`` when the connection ends before: the broker may have the message or
            not, and whoever sent it sends it again. It fails with ``Rejected``, ``TryLater`` or
            ``PartFailed`` with a ``status`` where the broker refuses the message (MQTT 5 only:
            3.1.1 acknowledges what it throws away).

        Raises:
            PartFailed: there is no connection; the reason says why.
            TryLater: ``window_full``; wait for ``room``.
            Rejected: ``too_large`` for this broker, or ``bad_topic``.

        """
        connection = self._connection
        if connection is None or connection.full(qos):
            raise self._shut(connection)
        future = connection.publish(topic, payload, qos, properties, retain=retain)
        self._counts["published"] += 1
        return future

    def _shut(self, connection: Connection | None) -> PartFailed | TryLater:
        if connection and not connection.ended.done():
            return TryLater(f"{self._settings.where}: the window is full", reason="window_full")
        last = connection.ended.result() if connection else self._error
        return faults.not_up(self._settings.where, last)

    @property
    def free(self) -> int:
        """How many messages with QoS 1 may be sent now; none while there is no link."""
        one = self._connection
        return 0 if one is None or one.full(1) else one.limits.window - one.in_flight

    async def room(self) -> int:
        """Wait until the link is up and messages may be sent; return how many with QoS 1."""
        while not (free := self.free):
            self._free.clear()
            await self._free.wait()
        return free

    async def deliver(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        properties: Properties = NO_PROPERTIES,
    ) -> None:
        """Send a message with QoS 1 until the broker has it, over as many connections as it takes.

        Raises:
            Rejected, TryLater, PartFailed: the broker refuses it (``status``), or it can never go.

        """
        while True:
            await self.room()
            try:
                return await self.publish(topic, payload, retain=retain, properties=properties)
            except (PartFailed, TryLater) as error:
                if error.status:
                    raise

    # -- receiving

    def subscribe(self, topic: str, take: Take, told: Told = _nothing) -> None:
        """Have messages of a filter taken, QoS 1, now and after each reconnect.

        Each is acknowledged when ``take`` has returned. Meanwhile as many more wait as the
        broker sends unacknowledged, and no others come: who takes nothing holds the broker up.

        Args:
            topic: the filter; one that is subscribed already gets the new taker, with what waits.
            take: gets the messages, in order.
            told: hears each time that the broker grants it (None) or refuses it.

        """
        subscription = Subscription(topic, take, told, self._leave(topic))
        self._subscriptions[topic] = subscription
        self._start(subscription)
        if self._connection:
            self._connection.subscribe(topic)

    def unsubscribe(self, topic: str) -> None:
        """Take no more of it. What waits, or still comes, is acknowledged and thrown away."""
        for message in self._leave(topic):
            self._ack(message)

    def _leave(self, topic: str) -> Sequence[Message]:
        if (old := self._subscriptions.pop(topic, None)) is None:
            return ()
        if worker := self._workers.pop(topic, None):
            worker.cancel()
        if self._connection:
            self._connection.unsubscribe(topic)
        return old.rest()

    def _start(self, subscription: Subscription) -> None:
        if self._group:
            self._workers[subscription.topic] = self._group.create_task(
                subscription.work(self._ack), name=f"{self._name} {subscription.topic}"
            )

    def _ack(self, message: Message) -> None:
        if self._connection:
            self._connection.ack(message)

    # -- what the connection tells

    def heard(self, message: Message) -> None:
        self._counts["received"] += 1
        for subscription in self._subscriptions.values():
            if subscription.wants(message.topic):
                if not subscription.put(message) and message.qos and self._connection:
                    overrun = faults.overrun(self._settings.where)
                    # not from within paho's callback
                    asyncio.get_running_loop().call_soon(self._connection.drop, overrun)
                return
        # an old subscription of the session: nobody wants it any more
        self._counts["stray"] += 1
        self._ack(message)

    def subscribed(self, topic: str, error: PartFailed | None) -> None:
        subscription = self._subscriptions.get(topic)
        if subscription:
            subscription.refused = error
            if error:
                # an access list may be mended while the connection lasts
                asyncio.get_running_loop().call_later(AGAIN, self._ask_again, topic)
            subscription.told(error)

    def _ask_again(self, topic: str) -> None:
        subscription = self._subscriptions.get(topic)
        if self._connection and subscription and subscription.refused:
            self._connection.subscribe(topic)

    def freed(self) -> None:
        self._free.set()

    # -- status

    def status(self) -> LinkStatus:
        """Return how it is now."""
        connection, error = self._connection, self._error
        counts = self._counts + (connection.counts if connection else Counter())
        counts = sum((one.counts for one in self._subscriptions.values()), counts)
        refused = {name: one.refused for name, one in self._subscriptions.items() if one.refused}
        return LinkStatus(
            state=self._state,
            since=self._since,
            broker=self._settings.where,
            client_id=self._settings.client_id,
            code=error.reason if error else "",
            reason=str(error or ""),
            hint=error.hint if error else "",
            next_try=self._wait if self._state == "waiting" else 0.0,
            limits=self._limits,
            in_flight=connection.in_flight if connection else 0,
            round_trip=connection.round_trip if connection else 0.0,
            last_ack=connection.last_ack if connection else self._last_ack,
            refused={name: str(error) for name, error in refused.items()},
            counts=counts,
        )
