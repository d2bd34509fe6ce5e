"""The MQTT binding through a real broker (mosquitto), by a client nobody here wrote (paho)."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.cloudevents import mqtt
from edge.cloudevents.mqtt import Message
from edge.event import WireEvent
from tests.cloudevents.events import an_event
from tests.servers.mosquitto import Mosquitto

TOPIC = "edge/events"
V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311

EVENTS = [
    an_event(
        b'{"a": 1.00}',
        subject='Euro € 😀 "q" 100%25 %zz',
        time="2026-01-31T12:00:00.123456789Z",
        datacontenttype="application/json; charset=utf-8",
        dataschema="https://example.com/s",
        extensions={"flag": "true", "empty": ""},
    ),
    an_event(bytes(range(256)) * 400, datacontenttype="image/png"),
    an_event("é".encode(), datacontenttype="text/plain", specversion="0.3"),
    an_event(),
]


class Client:
    """A paho client, subscribed to the topic."""

    def __init__(self, client: paho.Client) -> None:
        self.client = client
        self.arrived: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.ready: queue.Queue[None] = queue.Queue()
        client.on_message = lambda _client, _data, message: self.arrived.put(message)
        client.on_subscribe = lambda *_: self.ready.put(None)

    def publish(self, message: Message, version: int) -> None:
        properties = None
        if version == V5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            if message.content_type:
                properties.ContentType = message.content_type
            if message.user_properties:
                properties.UserProperty = list(message.user_properties)
        self.client.publish(TOPIC, message.payload, qos=1, properties=properties)

    def receive(self) -> Message:
        found = self.arrived.get(timeout=10)
        properties = found.properties
        return Message(
            bytes(found.payload),
            getattr(properties, "ContentType", ""),
            getattr(properties, "UserProperty", []),
        )


@contextmanager
def _client(broker: Mosquitto, version: MQTTProtocolVersion) -> Iterator[Client]:
    client = Client(paho.Client(CallbackAPIVersion.VERSION2, protocol=version))
    client.client.connect(broker.host, broker.port)
    client.client.loop_start()
    try:
        client.client.subscribe(TOPIC, qos=1)
        client.ready.get(timeout=10)
        yield client
    finally:
        client.client.disconnect()
        client.client.loop_stop()


@pytest.mark.parametrize("write", [mqtt.encode_binary, mqtt.encode_structured])
def test_events_cross_mqtt_5(mosquitto: Mosquitto, write: type) -> None:
    with _client(mosquitto, V5) as client:
        for event in EVENTS:
            client.publish(write(event), V5)
            assert mqtt.decode(client.receive()) == event


def test_events_cross_mqtt_311(mosquitto: Mosquitto) -> None:
    with _client(mosquitto, V311) as client:
        for event in EVENTS:
            client.publish(mqtt.encode_structured(event), V311)
            message = client.receive()
            assert (message.content_type, list(message.user_properties)) == ("", [])
            assert mqtt.decode_311(message.payload) == event


def test_a_subscriber_of_311_reads_what_a_sender_of_5_wrote_structured(
    mosquitto: Mosquitto,
) -> None:
    with _client(mosquitto, V5) as sender, _client(mosquitto, V311) as subscriber:
        sender.publish(mqtt.encode_structured(EVENTS[0]), V5)
        assert mqtt.decode_311(subscriber.receive().payload) == EVENTS[0]


def test_an_attribute_too_long_for_a_property_crosses_all_the_same(mosquitto: Mosquitto) -> None:
    event: WireEvent = an_event(b"1", datacontenttype="a/b", extensions={"long": "x" * 70_000})
    fits: WireEvent = an_event(b"1", datacontenttype="a/b", extensions={"long": "x" * 65_535})
    with _client(mosquitto, V5) as client:
        for sent in (event, fits):
            client.publish(mqtt.encode_binary(sent), V5)
            assert mqtt.decode(client.receive()) == sent
