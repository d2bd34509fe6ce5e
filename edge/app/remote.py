"""Remote control of a box over its broker: commands and configurations."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from edge.control.commands.over_mqtt import CommandsOverMqtt, Rules
from edge.control.desired_mqtt import DesiredOverMqtt
from edge.ops.mqtt import MqttLink
from edge.topics import Topics

if TYPE_CHECKING:
    from edge.app.box import Box

Start = Callable[[str, Coroutine[Any, Any, None]], None]


class Remote:
    """What a broker may ask of a box.

    Args:
        box: whose it is; its commands and its desired configuration are there already.
        link: to the broker.
        topics: of the box.

    """

    def __init__(self, box: Box, link: MqttLink, topics: Topics) -> None:
        executor, control = box.commands.executor, box.config.control
        self.commands = CommandsOverMqtt(
            link,
            topics,
            executor,
            rules=Rules(reply_topics=control.reply_topics),
        )
        self._desired = DesiredOverMqtt(
            link, topics, box.desired, executor, keys=lambda: control.keys
        )

    def start(self, start: Start) -> None:
        """Begin to take what comes; all sources are there."""
        self.commands.subscribe()
        self._desired.subscribe()
        start("answers", self.commands.run())
        start("reported", self._desired.run())
