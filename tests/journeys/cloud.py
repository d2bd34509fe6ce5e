"""Who sits far away: a client at the broker, and the service manager on the box."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.journeys.box import BoxProcess, until
from tests.servers.mosquitto import Mosquitto

NEVER_AGAIN = (3, 78)
"""RestartPreventExitStatus of the unit."""


class Cloud:
    """Publishes, and remembers all that came. ``base`` is the box's: ``edge/v1/SITE/NODE``."""

    def __init__(self, broker: Mosquitto, base: str) -> None:
        self.base, self.broker = base, broker
        self.heard: list[tuple[str, bytes, bytes]] = []
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = self._take
        self._client.on_connect = lambda client, *_: client.subscribe("edge/#", qos=1)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        until("the cloud is connected", self._client.is_connected)

    def _take(self, _: object, __: object, message: MQTTMessage) -> None:
        found = message.properties
        correlation = getattr(found, "CorrelationData", b"") if found else b""
        self.heard.append((message.topic, bytes(message.payload), correlation))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, topic: str, body: bytes, *, retain: bool = False, **said: Any) -> None:
        """Publish with QoS 1, and wait until the broker has it; ``said``: MQTT 5's properties."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        for name, value in said.items():
            setattr(properties, name, value)
        sent = self._client.publish(topic, body, 1, retain, properties)
        sent.wait_for_publish(10)

    def command(self, verb: str, *, key: str = "", node: str = "", **args: Any) -> str:
        """Command the box; return the command's id."""
        key = key or uuid4().hex
        base = f"{self.base.rpartition('/')[0]}/{node}" if node else self.base
        self.send(f"{base}/cmd/{verb}", envelope(key, args=args))
        return key

    def replies(self, key: str, base: str = "") -> list[Any]:
        """Return all that was answered to a command at its own topic."""
        return [json.loads(body) for body in self.on(f"{base or self.base}/reply/{key}")]

    def on(self, topic: str) -> list[bytes]:
        return [body for at, body, _ in self.heard if at == topic]

    def ask(self, verb: str, *, key: str = "", **args: Any) -> Any:
        """Command the box; return its last answer."""
        key = self.command(verb, key=key, **args)
        return until(f"{verb} is answered", lambda: self.last(key))

    def last(self, key: str) -> Any:
        ends = ("ok", "error", "expired")
        return next((one for one in self.replies(key) if one["status"] in ends), None)

    def reported(self) -> Any:
        """Return the newest ``config/reported``."""
        found = self.on(f"{self.base}/config/reported")
        return json.loads(found[-1]) if found else {"state": ""}

    def comes(self, state: str, seconds: float = 60.0) -> Any:
        """Wait for a report of that state."""

        def look() -> Any:
            report = self.reported()
            return report if report["state"] == state else None

        return until(f"{state} is reported, not {self.reported()}", look, seconds)


def envelope(key: str, *, expires: float = 60.0, **more: Any) -> bytes:
    """Return a command as JSON."""
    now = time.time()
    return json.dumps(
        {"id": key, "issued": _iso(now), "expires": _iso(now + expires), **more}
    ).encode()


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@contextmanager
def service_manager(
    box: BoxProcess, started: Callable[[], None] = lambda: None
) -> Iterator[list[int]]:
    """Start a box, and start it again whenever it ends, as the unit says; yield its exit codes."""
    codes: list[int] = []
    over = threading.Event()

    def keep() -> None:
        while not over.is_set():
            box.start_only()
            started()
            assert box.process is not None
            codes.append(box.process.wait())
            if codes[-1] in NEVER_AGAIN:
                return
            over.wait(0.2)

    thread = threading.Thread(target=keep, name="service manager")
    thread.start()
    try:
        until("the box is ready", lambda: box.get("/readyz")[0] == 200)
        yield codes
    finally:
        over.set()
        while thread.is_alive():
            box.close()
            thread.join(0.2)
