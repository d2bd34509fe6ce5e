"""Commands over MQTT: what comes in by the broker, and where the answers go.

::

    {base}/cmd/{verb}                    --+
    {prefix}/{site}/_all/cmd/{verb}      --+--> executor --> Response Topic, else {base}/reply/{id}

A message is acknowledged when its command is on disk and answered. If the box dies before that, the
broker sends it again, and the executor answers as it did: one effect. Nothing that comes is read
before its length is known, and no more is taken than can be answered: what is too much waits at the
broker.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from edge.control.commands.envelope import Command, Reply
from edge.control.commands.permissions import Caller
from edge.control.commands.reply_mqtt import Answers, Where, wanted_topic
from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import Message
from edge.topics import Topics

log = logging.getLogger(__name__)

ANSWER_WITHIN: Final = 1.0
"""Seconds after which ``accepted`` is answered, and the next command looked at."""
SPREAD: Final = 3.0
"""Seconds over which the boxes of a group spread their answers."""
A_SECOND: Final = 25
"""Commands a second that are taken for long; in a burst, as many at once."""
_LONGEST: Final = 512


class Executes(Protocol):
    """Carries commands out: ``Executor``."""

    async def handle(
        self,
        body: bytes,
        caller: Caller,
        *,
        verb: str = "",
        say: Callable[[Reply], None] | None = None,
        wait: float | None = None,
    ) -> Reply:
        """Carry out an envelope."""
        ...

    async def execute(
        self,
        command: Command,
        caller: Caller,
        *,
        key: str = "",
        say: Callable[[Reply], None] | None = None,
        wait: float | None = None,
    ) -> Reply:
        """Carry out a command that was read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for commands that come this way."""

    #: beginnings of topics that a Response Topic may have, beside ``reply`` under the prefix
    reply_topics: Sequence[str] = ()
    #: seconds over which a group's answers are spread
    spread: float = SPREAD
    a_second: float = A_SECOND


class CommandsOverMqtt:
    """Takes commands from a broker and answers there. On the loop only; ``run`` it in a task.

    Args:
        link: to the broker.
        topics: of this box.
        executor: carries commands out.
        rules: what holds here.

    """

    def __init__(
        self,
        link: MqttLink,
        topics: Topics,
        executor: Executes,
        *,
        rules: Rules = Rules(),
    ) -> None:
        self._link, self._topics, self._executor = link, topics, executor
        self._rules = rules
        self._answers = Answers(link)
        self._pace = _Pace(rules.a_second)
        self.counts: Counter[str] = Counter()

    def subscribe(self) -> None:
        """Ask the broker for commands, now and after each reconnect."""
        self._link.subscribe(self._topics.command("+"), self._take)
        self._link.subscribe(self._topics.site_command("+"), self._take_of_group)

    async def run(self) -> None:
        """Send answers, for ever."""
        await self._answers.run()

    # -- commands

    async def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            await self._pace.turn()
            await self._one(message)

    async def _take_of_group(self, messages: Sequence[Message]) -> None:
        for message in messages:
            await self._pace.turn()
            await self._one(message, group=True)

    async def _one(self, message: Message, *, group: bool = False) -> None:
        if not message.payload:
            return  # this is how retained messages are cleared
        self.counts["group" if group else "commands"] += 1
        if message.retain and not group:
            # or it would come again at each connect; a group's is not this box's to clear
            self._answers.put(Where(message.topic), b"", retain=True)
        where = self._where(message)

        def say(reply: Reply) -> None:
            self._answer(where, reply, last=reply.status != "progress")

        reply = await self._executor.handle(
            message.payload,
            caller_of(message, group=group),
            verb=message.topic.rpartition("/")[2],
            say=say,
            wait=ANSWER_WITHIN,
        )
        wait = random.uniform(0, self._rules.spread) if group else 0.0  # noqa: S311 (no secret)
        sent = self._answer(where, reply, wait=wait)
        if sent is not None and not group:
            await self._answers.arrived(sent)

    def _where(self, message: Message) -> Where:
        """Return where the answers to a message go."""
        said = message.properties.response_topic or wanted_topic(message.payload)
        where = Where(correlation=message.properties.correlation)
        if not said:
            return where
        if not may_answer(said, self._topics.prefix, self._rules.reply_topics):
            self.counts["reply topics refused"] += 1
            log.warning("an answer goes to the box's own topic, not to %s", said[:200])
            return where
        return replace(where, topic=said)

    def _answer(
        self, where: Where, reply: Reply, *, last: bool = True, wait: float = 0.0
    ) -> asyncio.Future[None] | None:
        """Send an answer; None where nobody knows where to."""
        topic = where.topic or (self._topics.reply(reply.id) if reply.id else "")
        if not topic:
            self.counts["unanswered"] += 1
            return None
        text = json.dumps(reply.json(), ensure_ascii=False, separators=(",", ":"))
        body = text.encode("utf-8", "replace")  # half a UTF-16 pair comes back as what it is not
        return self._answers.put(replace(where, topic=topic), body, last=last, wait=wait)


def caller_of(message: Message, *, group: bool = False) -> Caller:
    """Return who sent a message, as far as it says so itself: nobody has checked that."""
    said = next((value for name, value in message.properties.user if name == "who"), "")
    return Caller(
        channel="mqtt", who=said[:200] or "mqtt", retained=message.retain, group=group, queued=True
    )


def may_answer(topic: str, prefix: str, allowed: Collection[str]) -> bool:
    """Tell whether an answer may go to a topic that a message names.

    A broker or a sender that is not trusted could otherwise have the box write anywhere: over its
    own state, say, or into another box's commands.
    """
    # what cannot be printed are control characters and halves of UTF-16 pairs, too
    if any(letter in topic for letter in "+#") or not topic.isprintable() or len(topic) > _LONGEST:
        return False
    if any(topic.startswith(one) for one in allowed):
        return True
    below = topic.removeprefix(f"{prefix}/")
    levels = below.split("/")
    return below != topic and "reply" in levels[:-1] and "cmd" not in levels


class _Pace:
    """So many a second, and in a burst as many at once."""

    def __init__(self, a_second: float) -> None:
        self._a_second, self._left, self._at = a_second, a_second, time.monotonic()

    async def turn(self) -> None:
        """Wait until one more may be taken."""
        now = time.monotonic()
        self._left = min(self._a_second, self._left + (now - self._at) * self._a_second)
        self._at = now
        self._left -= 1
        if self._left < 0:
            await asyncio.sleep(-self._left / self._a_second)
