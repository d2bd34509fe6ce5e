"""Desired and reported configuration at a broker: two retained topics.

::

    {base}/config/desired   {"id": …, "toml": …} or {"id": …, "patch": {…}, "base": digest}; or
                            a signed command config.apply (commands/signed.py)
    {base}/config/reported  {"id", "digest", "state", "reason", "faults", "at", "until", "file"}

A desired configuration is a state, not an event: it has no expiry, and the same text is taken up
once, however often the broker brings it. To have one tried again, give it another id.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from edge.config.control import KeyConfig
from edge.control.commands.envelope import Command, Failed, Reply, command_of, read_object
from edge.control.commands.over_mqtt import Executes
from edge.control.commands.permissions import Caller
from edge.control.commands.signed import is_signed, opened
from edge.control.desired import Desired
from edge.control.desired_state import Wanted
from edge.errors import PartFailed, Rejected, TryLater
from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import Message, Properties
from edge.topics import Topics

log = logging.getLogger(__name__)

VERB: Final = "config.apply"
AGAIN_S: Final = 5.0
"""Seconds after which a desired configuration is looked at again while another one is on
probation."""
_JSON: Final = Properties(content_type="application/json")
_CALLER: Final = Caller(channel="mqtt", who="config/desired", standing=True)


class DesiredOverMqtt:
    """Takes the desired configuration from a broker, and reports there. ``run`` it in a task.

    Args:
        link: to the broker.
        topics: of this box.
        desired: puts configurations into force.
        executor: judges them as it does the verb ``config.apply``.
        keys: those that may sign.

    """

    def __init__(
        self,
        link: MqttLink,
        topics: Topics,
        desired: Desired,
        executor: Executes,
        *,
        keys: Callable[[], Mapping[str, KeyConfig]],
    ) -> None:
        self._link, self._topics, self._desired = link, topics, desired
        self._executor, self._keys = executor, keys
        self._news = asyncio.Event()
        desired.changed.append(self._news.set)

    def subscribe(self) -> None:
        """Ask the broker for what is desired, now and after each reconnect."""
        self._link.subscribe(self._topics.config_desired, self._take, self._granted)

    async def run(self) -> None:
        """Report, whenever there is news and after each reconnect."""
        while True:
            await self._news.wait()
            self._news.clear()
            report = self._desired.report
            body = self._desired.told().model_dump_json().encode()
            try:
                await self._link.deliver(
                    self._topics.config_reported, body, retain=True, properties=_JSON
                )
            except (PartFailed, TryLater, Rejected) as error:
                log.warning("the broker refuses what is told of the configuration: %s", error)
            else:
                self._desired.proven(report)

    def _granted(self, error: PartFailed | None) -> None:
        if error is None:
            self._news.set()

    async def _take(self, messages: Sequence[Message]) -> None:
        body = messages[-1].payload  # the newest counts
        if not body:
            return
        said = hashlib.sha256(body).hexdigest()
        if said == self._desired.standing.wanted.said:
            return
        if self._desired.standing.trial is not None:
            raise TryLater("another configuration is on probation", after=AGAIN_S)
        before = self._desired.report
        wish = Wanted(id=said[:12], said=said)
        try:
            command, key, wish = self._read(body, wish)
            self._desired.wish = wish
            reply = await self._executor.execute(command, _CALLER, key=key)
        except Failed as error:
            reply = Reply(status="error", code=error.code, message=str(error))
        finally:
            self._desired.wish = None
        if reply.code == "busy":
            raise TryLater(reply.message, after=AGAIN_S)
        if reply.status != "ok":
            log.warning("the desired configuration is refused: %s", reply.message)
            if self._desired.report is before:  # refused before it was looked at
                await self._desired.refuse(wish, f"{reply.code or reply.status}: {reply.message}")

    def _read(self, body: bytes, wish: Wanted) -> tuple[Command, str, Wanted]:
        """Return the command that a desired configuration is, the key that signed it, and its name.

        Raises:
            Failed: it is none, or an old one that was signed comes again.

        """
        given = read_object(body)
        if is_signed(given):
            key, inner = opened(given, self._keys())
            command = command_of(inner, VERB)
            issued = command.issued or 0.0
            if issued <= self._desired.standing.wanted.issued:
                raise Failed("forbidden_remote", "a newer one that was signed came before")
            wish = wish.model_copy(update={"id": command.id, "issued": issued})
            args = {**command.args, "id": command.args.get("id") or command.id}
            return replace(command, args=args), key, wish
        name = given.get("id") or wish.id
        if not isinstance(name, str):
            raise Failed("bad_request", "id: expected text")
        issued = self._desired.standing.wanted.issued
        wish = wish.model_copy(update={"id": name[:128], "issued": issued})
        args = {key: value for key, value in given.items() if key != "issued"} | {"id": name}
        return Command(id=f"desired:{wish.said[:32]}", verb=VERB, args=args), "", wish
