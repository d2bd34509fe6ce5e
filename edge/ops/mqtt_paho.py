"""The house's words in those of paho, and back."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any, Final, Literal

from paho.mqtt._packet import decode_puback
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.ops.mqtt_faults import check_topic
from edge.ops.mqtt_types import NO_PROPERTIES, Limits, MqttSettings, Properties, Qos
from edge.ops.mqtt_wire import Acked, Wire

PUBLISH: Final = 0x30
KEEP_RETAINED: Final = SubscribeOptions.RETAIN_SEND_IF_NEW_SUB


def _unheard(mid: int, code: int, words: str) -> None:
    pass


class PahoClient(Client):
    """paho's client on a socket that is connected already, for one connection.

    What is published goes past paho, and so do its acknowledgements: paho makes nine objects for
    each, and takes 38 µs a message where this takes 11.
    """

    wire: Wire
    #: when something was published last, by the monotonic clock
    sent = 0.0
    #: told of each acknowledgement
    acked: Acked = staticmethod(_unheard)

    def number(self) -> int:
        """Return the next packet's number."""
        return self._mid_generate()

    def post(self, first: int, topic: bytes, number: int, properties: bytes, body: bytes) -> None:
        """Send a PUBLISH.

        Args:
            first: the packet's first byte: what it is, its quality of service, retain.
            topic: with its length before it.
            number: from ``number``; 0 with QoS 0, which has none.
            properties: with their length before them; nothing in MQTT 3.1.1.
            body: the message.

        """
        self.sent = time.monotonic()
        mid = number.to_bytes(2, "big") if number else b""
        size = length(len(topic) + len(mid) + len(properties) + len(body))
        packet = b"".join((bytes((first,)), size, topic, mid, properties, body))
        if self._transport == "websockets":
            # with QoS 0 paho would look for an object of its own
            self._packet_queue(PUBLISH, packet, number, 1)
            return
        self.wire.send(packet)
        self._last_msg_out = self.sent
        self._call_socket_register_write()

    def look(self, alive: float) -> None:
        """Look at the clock: ask whether the broker is there, or give it up.

        Args:
            alive: when it was, at least, by the monotonic clock.

        """
        self._last_bytes_received = max(self._last_bytes_received, alive)
        self.loop_misc()

    def _create_socket_connection(self) -> Any:
        # paho would connect here, and block; with a WebSocket it goes on from here
        return self.wire

    def _packet_read(self) -> MQTTErrorCode:
        between = self._in_packet["command"] == 0 and self._transport != "websockets"
        if between and self.wire.skim(self.acked):
            self._last_bytes_received = time.monotonic()
        return super()._packet_read()

    def _handle_pubackcomp(self, _: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        # with properties, in pieces, or through a WebSocket
        found = decode_puback(0, self._in_packet["packet"], self._protocol)
        words = getattr(found.properties, "ReasonString", "")
        self.acked(found.mid, found.reason.value, str(words))
        return MQTTErrorCode.MQTT_ERR_SUCCESS


def length(number: int) -> bytes:
    """Write a length as MQTT has it: seven bits a byte, the lowest first."""
    if 127 < number < 16_384:
        return bytes((number & 127 | 128, number >> 7))
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


@lru_cache(maxsize=1024)
def head_of(topic: str) -> bytes:
    """Write a topic with its length before it.

    Raises:
        Rejected: ``bad_topic``.

    """
    check_topic(topic)
    written = topic.encode()
    return len(written).to_bytes(2, "big") + written


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
def pack(properties: Properties) -> bytes:
    """Pack the properties of a message."""
    packed = to_paho(properties, PacketTypes.PUBLISH)
    return bytes(packed.pack())  # type: ignore[no-untyped-call]


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
