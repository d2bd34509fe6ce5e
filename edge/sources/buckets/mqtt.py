"""Notifications that an object store publishes to an MQTT broker (MinIO's MQTT target).

The broker keeps what comes while the box is away, as long as it keeps the session, and each
message is acknowledged when the journal has it. MinIO itself loses what it cannot publish, unless
it has a ``queue_dir``: so there is a gap to be swept after each reconnect all the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from edge.config.sources import BucketConfig
from edge.errors import PartFailed
from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import LinkStatus, Message, Tls, read_url


class MqttNotices:
    """Listens at a broker for one bucket's source.

    Args:
        config: the source's section; its ``ca_file`` is good for the broker, too.
        source: ``/{site}/{node}/{source name}``, of which the client id is made: the broker knows
            the box by it, and keeps for it what comes while it is away.

    Raises:
        PartFailed: ``bad_broker``.

    """

    def __init__(self, config: BucketConfig, source: str) -> None:
        client_id = "edge-" + source.strip("/").replace("/", "-")
        self._settings, self._login = read_url(
            config.broker.reveal(), client_id=client_id, tls=Tls(ca_file=config.ca_file)
        )
        self._topic = config.topic
        self._link: MqttLink | None = None

    async def run(
        self,
        take: Callable[[Sequence[bytes]], Awaitable[None]],
        up: Callable[[], None],
        lost: Callable[[PartFailed], None],
    ) -> None:
        """Listen until cancelled; it reconnects by itself.

        Args:
            take: is given notifications, and returns when they are on disk; meanwhile the broker
                is not told that the box has them, and sends only a few more.
            up: called each time that the broker grants the subscription.
            lost: called each time that it refuses it, and that there is no connection.

        """

        async def taken(messages: Sequence[Message]) -> None:
            await take([message.payload for message in messages])

        def told(refused: PartFailed | None) -> None:
            if refused:
                lost(refused)
            else:
                up()

        self._link = link = MqttLink(
            self._settings, login=lambda: self._login, lost=lost, name=self._settings.client_id
        )
        link.subscribe(self._topic, taken, told)
        await link.run()

    def status(self) -> LinkStatus | None:
        """Return how the link is; None: it never ran."""
        return self._link.status() if self._link else None
