"""What the MQTT link is told, and what it tells: settings, messages, limits, status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from edge.errors import PartFailed
from edge.ops.redact_url import without_credentials

PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
Qos = Literal[0, 1]
Version = Literal["5", "3.1.1"]


@dataclass(frozen=True, slots=True)
class Login:
    """Who connects; asked for anew at each connect, so that secrets may rotate."""

    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How the broker proves itself, and the box to it. Files are read anew at each connect."""

    #: certificates that are trusted in the place of the system's
    ca_file: str = ""
    #: the box's own certificate and key, where the broker asks for them
    cert_file: str = ""
    key_file: str = ""
    #: protocols to offer, for brokers that share port 443
    alpn: tuple[str, ...] = ()
    #: the name to ask for and to find in the certificate; empty: the host
    server_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings:
    """Where the broker is and how to talk to it. Times are seconds, sizes are bytes."""

    host: str
    port: int
    client_id: str
    transport: Literal["tcp", "websockets"] = "tcp"
    #: of a WebSocket
    path: str = "/mqtt"
    tls: Tls | None = None
    #: ``http://[user:password@]host:port`` of a proxy that lets CONNECT pass; empty: none
    proxy: str = field(default="", repr=False)
    version: Literal["auto", "5", "3.1.1"] = "auto"
    #: silence after which either side asks whether the other is there
    keepalive: int = 60
    #: how long the broker keeps subscriptions and what came for them; 0: not at all
    session_expiry: int = 86_400
    #: messages under way to the broker at once; less where it says so
    window: int = 64
    #: messages that the broker may send before one is acknowledged (MQTT 5)
    receive_maximum: int = 64
    #: of subscriptions; 0 for who only looks: brokers queue few messages of QoS 1 for a client, and
    #: throw away the others of what they keep (mosquitto: 1,000)
    subscribe_qos: Qos = 1
    #: the largest packet the broker takes, where it does not say; 0: no limit
    max_packet: int = 0
    #: a larger packet from the broker is refused
    max_incoming: int = 1024 * 1024
    #: for name, TCP, TLS and the broker's welcome, all together
    connect_timeout: float = 15.0
    #: how long the broker may owe an acknowledgement while nothing else comes and nothing sent
    #: arrives, or others are acknowledged that were sent later; then the connection ends
    ack_timeout: float = 30.0
    first_wait: float = 1.0
    longest_wait: float = 60.0

    @property
    def where(self) -> str:
        """The broker's address, without credentials."""
        scheme = {"tcp": "mqtt", "websockets": "ws"}[self.transport] + ("s" if self.tls else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}" + (
            self.path if self.transport == "websockets" else ""
        )


def read_url(url: str, *, client_id: str, tls: Tls | None = None) -> tuple[MqttSettings, Login]:
    """Read ``mqtt[s]://[user[:password]@]host[:port]`` or ``ws[s]://…/path``.

    Args:
        url: the broker's address; user and password may be percent-encoded.
        client_id: the name the broker knows this client by; no two may share it.
        tls: what goes beyond the defaults; used for ``mqtts`` and ``wss`` only.

    Raises:
        PartFailed: ``bad_broker``; the message has no credentials.

    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    if parts.scheme not in PORTS or not host or port == 0 or parts.query or parts.fragment:
        raise bad_broker(url)
    if parts.scheme in {"mqtt", "mqtts"} and parts.path not in {"", "/"}:
        raise bad_broker(url)
    settings = MqttSettings(
        host=host,
        port=port or PORTS[parts.scheme],
        client_id=client_id,
        transport="websockets" if parts.scheme in {"ws", "wss"} else "tcp",
        tls=(tls or Tls()) if parts.scheme in {"mqtts", "wss"} else None,
    )
    if settings.transport == "websockets" and parts.path not in {"", "/"}:
        settings = replace(settings, path=parts.path)
    return settings, Login(unquote(parts.username or ""), unquote(parts.password or ""))


def bad_broker(url: str) -> PartFailed:
    """Say that an address is none of a broker."""
    return PartFailed(
        f"the broker's address {without_credentials(url)!r}: expected mqtt://host:port, "
        "mqtts://host:port, ws://host:port/path or wss://host:port/path",
        hint="user and password go before the host, percent-encoded",
        reason="bad_broker",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """What MQTT 5 says beside a message. MQTT 3.1.1 cannot carry it: there it is left out."""

    content_type: str = ""
    #: seconds after which nobody wants it any more; None: never
    expiry: int | None = None
    response_topic: str = ""
    correlation: bytes = b""
    user: tuple[tuple[str, str], ...] = ()


NO_PROPERTIES: Final = Properties()


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """What the broker publishes when the box is gone without saying so."""

    topic: str
    payload: bytes
    qos: Qos = 1
    retain: bool = True
    #: seconds that the broker waits for the box to come back first (MQTT 5)
    delay: int = 0
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Message:
    """A message that came. ``payload`` is whatever somebody sent."""

    topic: str
    payload: bytes = field(repr=False)
    qos: int
    #: it was published to be kept (MQTT 5), or was kept by the broker (3.1.1)
    retain: bool
    #: the broker may have sent it before
    dup: bool
    properties: Properties = NO_PROPERTIES
    #: the packet's number, and of which connection
    mid: int = 0
    connection: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a broker grants. Nothing said is nothing limited."""

    version: Version = "5"
    #: it still had the session: subscriptions and what came for them
    session_present: bool = False
    #: messages under way to it at once
    window: int = 64
    #: bytes; 0: no limit known
    max_packet: int = 0
    max_qos: int = 2
    #: False: what is published to be kept is sent all the same, and not kept
    retain: bool = True
    wildcards: bool = True
    keepalive: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatus:
    """How the link is, for the page."""

    #: ``connecting``, ``up``, ``waiting`` (for the next try) or ``closed``
    state: str
    since: datetime
    #: without credentials
    broker: str
    client_id: str
    #: why it is not up, as a code, in words, and what to do about it
    code: str = ""
    reason: str = ""
    hint: str = ""
    #: seconds until the next try, when the wait began
    next_try: float = 0.0
    #: what the broker granted last; None: it never answered
    limits: Limits | None = None
    #: messages that the broker has not acknowledged yet
    in_flight: int = 0
    #: seconds from a message to its acknowledgement, smoothed; 0: none came yet
    round_trip: float = 0.0
    last_ack: datetime | None = None
    #: filters that the broker refused, and why
    refused: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
