"""The house's words in those of paho, and back."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.ops.mqtt_types import NO_PROPERTIES, Limits, MqttSettings, Properties, Qos
from edge.ops.mqtt_wire import Wire

KEEP_RETAINED: Final = SubscribeOptions.RETAIN_SEND_IF_NEW_SUB


class PahoClient(Client):
    """paho's client on a socket that is connected already, for one connection."""

    wire: Wire

    def _create_socket_connection(self) -> Any:
        # paho would connect here, and block; with a WebSocket it goes on from here
        return self.wire


class _Packed:
    """Properties as bytes: paho packs its own anew for each message, and that takes 20 µs."""

    __slots__ = ("_bytes",)

    def __init__(self, packed: bytes) -> None:
        self._bytes = packed

    def pack(self) -> bytes:
        return self._bytes


def to_paho(properties: Properties, kind: int) -> PahoProperties:
    """Write properties for a packet of that kind (``PUBLISH`` or ``WILLMESSAGE``)."""
    packed = PahoProperties(kind)  # type: ignore[no-untyped-call]
    if properties.content_type:
        packed.ContentType = properties.content_type
    if properties.expiry is not None:
        packed.MessageExpiryInterval = max(1, min(properties.expiry, 2**32 - 1))
    if properties.response_topic:
        packed.ResponseTopic = properties.response_topic
    if properties.correlation:
        packed.CorrelationData = properties.correlation
    if properties.user:
        packed.UserProperty = list(properties.user)
    return packed


@lru_cache(maxsize=256)
def pack(properties: Properties) -> _Packed:
    """Pack the properties of a message."""
    packed = to_paho(properties, PacketTypes.PUBLISH)
    return _Packed(packed.pack())  # type: ignore[no-untyped-call]


def of_message(message: MQTTMessage) -> Properties:
    """Read the properties of a message that came."""
    found = message.properties
    if found is None or found.isEmpty():  # type: ignore[no-untyped-call]
        return NO_PROPERTIES
    return Properties(
        content_type=getattr(found, "ContentType", ""),
        expiry=getattr(found, "MessageExpiryInterval", None),
        response_topic=getattr(found, "ResponseTopic", ""),
        correlation=getattr(found, "CorrelationData", b""),
        user=tuple((str(name), str(value)) for name, value in getattr(found, "UserProperty", ())),
    )


def asked_for(settings: MqttSettings) -> PahoProperties:
    """Return what a CONNECT of MQTT 5 says."""
    asked = PahoProperties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    asked.SessionExpiryInterval = settings.session_expiry
    asked.ReceiveMaximum = settings.receive_maximum
    asked.MaximumPacketSize = settings.max_incoming
    return asked


def granted(properties: PahoProperties | None, settings: MqttSettings, *, present: bool) -> Limits:
    """Return what a CONNACK of MQTT 5 grants."""

    def said(name: str, default: int) -> int:
        return int(getattr(properties, name, default))

    return Limits(
        version="5",
        session_present=present,
        window=min(settings.window, said("ReceiveMaximum", settings.window)),
        max_packet=said("MaximumPacketSize", settings.max_packet),
        max_qos=said("MaximumQoS", 2),
        retain=bool(said("RetainAvailable", 1)),
        wildcards=bool(said("WildcardSubscriptionAvailable", 1)),
        keepalive=said("ServerKeepAlive", settings.keepalive),
    )


def granted_3(settings: MqttSettings, *, present: bool) -> Limits:
    """Return what goes without saying in MQTT 3.1.1."""
    return Limits(
        version="3.1.1",
        session_present=present,
        window=settings.window,
        max_packet=settings.max_packet,
        keepalive=settings.keepalive,
    )


def options(qos: Qos, *, present: bool) -> SubscribeOptions:
    """Return how to subscribe: what the broker keeps is not sent again to a resumed session."""
    return SubscribeOptions(
        qos=qos,
        retainAsPublished=True,
        retainHandling=KEEP_RETAINED if present else SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE,
    )


def packet_size(topic: str, payload: bytes, properties: bytes) -> int:
    """Return the bytes of a PUBLISH of MQTT 5 with QoS 1."""
    rest = 2 + len(topic.encode()) + 2 + len(properties) + len(payload)
    return 1 + (1 + (rest > 127) + (rest > 16_383) + (rest > 2_097_151)) + rest
