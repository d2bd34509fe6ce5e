"""A simulated box: the link, presence and commands of a real one; pictures and disk are made up."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, cast

from edge import __version__
from edge.cli.fleet_broker import Broker
from edge.cli.sim_messages import look_of, loss_of, result_of, source_names
from edge.cli.sim_plan import Plan
from edge.cloudevents.json_format import MEDIA_TYPE
from edge.config.control import ChannelConfig, ControlConfig
from edge.control.commands import results as give
from edge.control.commands.box import CommandedBox
from edge.control.commands.executor import Executor
from edge.control.commands.ledger import Known, Ledger
from edge.control.commands.over_mqtt import CommandsOverMqtt
from edge.errors import PartFailed, Rejected, TryLater
from edge.ops.groups import cause_of
from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import Limits, Properties, Will
from edge.sinks.upstream.outgoing import Pending
from edge.sinks.upstream.presence import Presence
from edge.topics import Topics

LOOK_EVERY: Final = 5.0
"""Seconds between two looks at how a box is; a real one looks every second."""
_EVENT: Final = Properties(content_type=MEDIA_TYPE)
_CONTROL: Final = ControlConfig(mqtt=ChannelConfig(allow=("ping", "status.get")))
_CYCLE: Final = 10.0


@dataclass(slots=True)
class Tally:
    """What all boxes did together."""

    counts: Counter[str] = field(default_factory=Counter)
    #: why connections ended, or did not come about
    reasons: Counter[str] = field(default_factory=Counter)
    #: seconds until the broker acknowledged, of the latest messages
    trips: deque[float] = field(default_factory=lambda: deque(maxlen=2000))
    #: boxes that were welcomed at least once, and seconds until the last of them was
    welcomed: set[int] = field(default_factory=set)
    #: and those that tried at least once
    settled: set[int] = field(default_factory=set)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    welcomed_after: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def settle(self, number: int) -> None:
        """Note that a box connected, or could not."""
        self.settled.add(number)
        self.news.set()


class Forgetful(Ledger):
    """Remembers nothing: a simulated box only answers what changes nothing."""

    def __init__(self) -> None:
        """Need no database."""

    async def write(self, entry: Mapping[str, Any]) -> None:
        """Write nothing."""

    async def reply_of(self, command_id: str) -> Known | None:  # noqa: ARG002 (the ledger's)
        """Know nothing."""
        return None


class SimBox:
    """One box.

    Args:
        plan: what is simulated.
        number: which box it is, from 0.
        broker: where.
        tally: of all boxes.

    """

    def __init__(self, plan: Plan, number: int, broker: Broker, tally: Tally) -> None:
        self._plan, self._number, self._broker, self._tally = plan, number, broker, tally
        site, node = plan.name(number)
        self.topics = Topics(site=site, node=node, prefix=broker.prefix)
        self._rng = random.Random(f"{plan.seed} {number}")  # noqa: S311 (a simulation)
        self._names = source_names(plan.sources)
        self._began, self._starts = time.monotonic(), 0
        self._seqs: Counter[tuple[str, str]] = Counter()
        self._waiting: deque[Pending] = deque()
        self._flying: dict[tuple[str, str, int], Pending] = {}
        self._news = asyncio.Event()
        self._thrown = asyncio.Event()
        self._link: MqttLink | None = None
        self._presence: Presence | None = None
        self._executor = Executor(
            cast("CommandedBox", self), Forgetful(), _CONTROL, address=f"{site}/{node}"
        )

    # -- asked by commands

    def about(self) -> give.About:
        """Say which box this is."""
        return give.About(
            site=self.topics.site,
            node=self.topics.node,
            version=__version__,
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            uptime=round(time.monotonic() - self._began, 1),
        )

    def status(self) -> Mapping[str, Any]:
        """Say how it is, in short."""
        return {"simulated": True, "made": self.made, "waiting": self.waiting}

    # -- for the statistics

    @property
    def up(self) -> bool:
        """Whether it is connected."""
        return self._link is not None and self._link.status().state == "up"

    @property
    def made(self) -> int:
        """Results so far."""
        return sum(count for (kind, _), count in self._seqs.items() if kind == "result")

    @property
    def waiting(self) -> int:
        """Messages that the broker has not acknowledged."""
        return len(self._waiting) + len(self._flying)

    def bytes_sent(self) -> int:
        """Return what went over the connection that is."""
        return 0 if self._link is None else self._link.status().counts["bytes_out"]

    # -- life

    async def run(self) -> None:
        """Live until cancelled; come and go as the plan says."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._produce(), name=f"box {self._number} produces")
            group.create_task(self._come_and_go(), name=f"box {self._number} comes and goes")

    def throw(self) -> None:
        """Cut its connection, as when the network goes; it comes back at once."""
        self._thrown.set()

    async def _come_and_go(self) -> None:
        faults = self._plan.faults
        stays = faults.away * (1 - faults.offline) / faults.offline if faults.offline else 0.0
        while True:
            life = asyncio.create_task(self._life(), name=f"box {self._number}")
            try:
                leaves = await self._ends(life, self._rng.expovariate(1 / stays) if stays else None)
            finally:
                await _cancelled(life)
            if leaves:
                self._tally.counts["left"] += 1
                await asyncio.sleep(self._rng.expovariate(1 / faults.away))

    async def _ends(self, life: asyncio.Task[None], within: float | None) -> bool:
        """Wait until it goes; True: it stays away for a while. False: it was thrown off."""
        self._thrown.clear()
        thrown = asyncio.create_task(self._thrown.wait(), name=f"box {self._number} is thrown off")
        try:
            await asyncio.wait({life, thrown}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
            if life.done():
                life.result()
            return not thrown.done()
        finally:
            thrown.cancel()

    async def _life(self) -> None:
        """Be there, until cancelled: without a goodbye, so that the broker publishes the will."""
        self._starts += 1
        name = f"edge-{self.topics.site}-{self.topics.node}"
        link = MqttLink(
            self._broker.named(name, session_expiry=0, longest_wait=60.0),
            login=self._broker.login,
            will=self._will,
            up=self._up,
            lost=self._lost,
            name=name,
        )
        presence = self._presence = Presence(
            link, self.topics, start=self._starts, every=self._plan.health
        )
        commands = CommandsOverMqtt(link, self.topics, self._executor)
        commands.subscribe()
        self._link = link
        try:
            async with asyncio.TaskGroup() as group:
                for work in (
                    link.run(), presence.run(), commands.run(), self._show(presence),
                    self._send(link),
                ):  # fmt: skip
                    group.create_task(work, name=name)
        except BaseExceptionGroup as several:
            raise cause_of(several) from several
        finally:
            self._link = self._presence = None

    def _will(self) -> Will | None:
        return None if self._presence is None else self._presence.will()

    def _up(self, limits: Limits) -> None:
        tally = self._tally
        tally.counts["connects"] += 1
        tally.settle(self._number)
        if self._number not in tally.welcomed:
            tally.welcomed.add(self._number)
            tally.welcomed_after = time.monotonic() - tally.began
        if self._presence is not None:
            self._presence.up(limits)

    def _lost(self, error: PartFailed) -> None:
        self._tally.counts["lost connections"] += 1
        self._tally.reasons[error.reason] += 1
        self._tally.settle(self._number)

    async def _show(self, presence: Presence) -> None:
        while True:
            uptime = time.monotonic() - self._began
            presence.show(
                look_of(
                    self.topics.site, self.topics.node, self._names,
                    made=self.made, waiting=self.waiting, uptime=uptime,
                )
            )  # fmt: skip
            await asyncio.sleep(min(LOOK_EVERY, self._plan.health))

    async def leave(self) -> None:
        """Say goodbye in order."""
        presence, link = self._presence, self._link
        if presence is not None and link is not None:
            await presence.stop()
            await link.close()

    # -- results

    async def _produce(self) -> None:
        if not self._plan.rate:
            await asyncio.Event().wait()
        pause = 1 / self._plan.rate
        due = time.monotonic() + self._rng.uniform(0, pause)
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            # late by much: as a box that has no time, it leaves them out
            due = max(due + pause, time.monotonic() - _CYCLE)
            self._one()

    def _one(self) -> None:
        faults, at = self._plan.faults, time.time()
        source = self._rng.choice(self._names)
        kind = "loss" if self._rng.random() < faults.loss else "result"
        lost = self._number_of("result", source)
        site, node = self.topics.site, self.topics.node
        if kind == "loss":
            seq, body = self._number_of("loss", source), loss_of(site, node, source, lost, at)
        else:
            seq, body = lost, result_of(site, node, source, lost, at)
        self._tally.counts[f"made {kind}"] += 1
        pending = Pending(
            n=0, kind=kind, source=source, seq=seq, topic="", at=at, put_at=at, body=body
        )
        self._waiting.append(pending)
        if len(self._waiting) > self._plan.most_waiting:
            self._waiting.popleft()
            self._tally.counts["given up"] += 1
        self._news.set()

    def _number_of(self, kind: str, source: str) -> int:
        self._seqs[kind, source] += 1
        return self._seqs[kind, source]

    async def _send(self, link: MqttLink) -> None:
        # what the broker did not acknowledge before the cut goes again, in order
        self._waiting.extendleft(reversed(self._flying.values()))
        self._flying.clear()
        while True:
            await link.room()
            if not self._waiting:
                self._news.clear()
                await self._news.wait()
                continue
            pending = self._waiting.popleft()
            if not self._publish(link, pending):
                self._waiting.appendleft(pending)
            elif self._rng.random() < self._plan.faults.duplicate:
                self._publish(link, pending)
                self._tally.counts["sent twice"] += 1

    def _publish(self, link: MqttLink, pending: Pending) -> bool:
        """Send one message; False: not now."""
        historical = time.time() - pending.at > self._plan.historical_after
        result = pending.kind == "result"
        topic = self.topics.result(pending.source) if result else self.topics.loss
        try:
            future = link.publish(topic, pending.payload(historical=historical), properties=_EVENT)
        except (TryLater, PartFailed):
            return False
        except Rejected as error:
            self._tally.reasons[error.reason] += 1
            return True
        self._tally.counts["historical"] += historical
        key = (pending.kind, pending.source, pending.seq)
        self._flying[key] = pending
        future.add_done_callback(partial(self._answered, key, time.monotonic()))
        return True

    def _answered(
        self, key: tuple[str, str, int], since: float, future: asyncio.Future[None]
    ) -> None:
        error = None if future.cancelled() else future.exception()
        if error is None and self._flying.pop(key, None) is not None:
            self._tally.counts["acknowledged"] += 1
            self._tally.trips.append(time.monotonic() - since)
        elif isinstance(error, Rejected):
            self._flying.pop(key, None)
            self._tally.reasons[error.reason] += 1


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
