"""paho on the loop, without a thread: when it reads, when it writes, and on which socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import WebsocketConnectionError
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes

from edge.ops.mqtt_faults import no_websocket
from edge.ops.mqtt_paho import PahoClient, asked_for, to_paho
from edge.ops.mqtt_types import Login, MqttSettings, Version, Will
from edge.ops.mqtt_wire import Wire


def _nothing() -> None:
    pass


class Driver:
    """Drives one client of paho over one wire, until it ends.

    paho says when it has something to write, and the loop when there is something to read; both go
    through the wire's buffers, so that a hundred messages are one write and a hundred
    acknowledgements one read.

    Args:
        wire: a connected socket.
        settings: how to speak.
        version: which MQTT.

    """

    def __init__(self, wire: Wire, settings: MqttSettings, version: Version) -> None:
        self._wire, self._settings, self._five = wire, settings, version == "5"
        self._loop = asyncio.get_running_loop()
        self._writing = self._live = False
        self._fd = wire.fileno()
        #: called when the wire was full and no longer is
        self.room: Callable[[], None] = _nothing
        self.client = self._made(wire)

    def _made(self, wire: Wire) -> PahoClient:
        settings, five = self._settings, self._five
        client = PahoClient(
            CallbackAPIVersion.VERSION2,
            settings.client_id,
            None if five else settings.session_expiry == 0,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            transport=settings.transport,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.wire = wire
        # the window is the connection's business: paho's cannot follow what the broker says
        client.max_inflight_messages_set(0)
        client.on_socket_close = self._on_close
        client.on_socket_register_write = self._on_wants_write
        if settings.transport == "websockets":
            client.ws_set_options(settings.path, self._ws_headers)
        return client

    def closed(self) -> bool:
        """Whether paho has closed the socket."""
        return self.client.socket() is None

    async def hello(self, login: Login, will: Will | None, *, fresh: bool) -> None:
        """Send CONNECT, and from then on read and write whatever comes.

        Raises:
            PartFailed: ``no_websocket``. OSError: it broke.

        """
        settings = self._settings
        if login.user or login.password:
            self.client.username_pw_set(login.user, login.password or None)
        if will:
            self._set_will(will)
        more: dict[str, Any] = {}
        if self._five:
            more = {"clean_start": fresh, "properties": asked_for(settings)}
        args = (settings.host, settings.port, settings.keepalive)
        if settings.transport == "websockets":
            # paho shakes hands for WebSocket in one go, which waits for the answer
            self.client.connect_timeout = settings.connect_timeout
            try:
                await asyncio.to_thread(self.client.connect, *args, **more)
            except (WebsocketConnectionError, ValueError, IndexError) as error:
                raise no_websocket(settings.where) from error
        else:
            self.client.connect(*args, **more)
        self._live = True
        self._loop.add_reader(self._fd, self.read)
        self.write()

    def _set_will(self, will: Will) -> None:
        properties = None
        if self._five:
            properties = to_paho(will.properties, PacketTypes.WILLMESSAGE)
            if will.delay:
                properties.WillDelayInterval = will.delay
        self.client.will_set(will.topic, will.payload, will.qos, will.retain, properties)

    def _ws_headers(self, headers: dict[str, str]) -> dict[str, str]:
        # paho does not know that TLS is spoken below it
        if self._settings.tls:
            host = headers["Host"].removesuffix(":443")
            headers |= {"Host": host, "Origin": f"https://{host}"}
        return headers

    def read(self) -> None:
        """Take what came, and answer it."""
        self._wire.turn()
        while not self.closed():
            place = self._wire.place
            self.client.loop_read()
            if not self._wire.waiting or place == self._wire.place:
                break
        self.write()

    def write(self) -> None:
        """Write what waits, and go on with the rest when the socket takes it."""
        self._writing = False
        if self.closed():
            return
        self.client.loop_write()
        if self.closed():
            return
        full = self._wire.full
        try:
            done = self._wire.flush() and not self.client.want_write()
        except OSError as error:
            self._last_words(error)
            return
        if done:
            self._loop.remove_writer(self._fd)
        else:
            self._loop.add_writer(self._fd, self.write)
        if full and not self._wire.full:
            self.room()

    def _last_words(self, error: OSError) -> None:
        """End it; but what the broker said before it hung up is the better reason."""
        self._wire.turn()
        self.client.loop_read()
        self._wire.error = self._wire.error or error
        self.client.loop_read()

    def abort(self) -> None:
        """End it without a word."""
        self._wire.error = self._wire.error or ConnectionAbortedError("dropped")
        if self._live and not self.closed():
            self.client.loop_read()
        self._on_close()
        self._wire.close()

    def _on_wants_write(self, *_: object) -> None:
        if self._live and not self._writing:
            self._writing = True
            self._loop.call_soon(self.write)

    def _on_close(self, *_: object) -> None:
        if self._live:
            self._live = False
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
