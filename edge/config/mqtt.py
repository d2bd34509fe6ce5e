"""``[mqtt]`` and ``[upstream]``: the broker, and what waits for it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator

from edge.config.secret import Secret
from edge.config.section import Section, key
from edge.config.units import Duration, Size

CLASSES = ("state", "alarm", "loss", "result", "receipt", "event")
"""What is sent upstream, the most urgent first."""


_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)")


def minutes(window: str) -> tuple[int, int]:
    """Return begin and end of a window in minutes of the day; over midnight the end is smaller.

    Raises:
        ValueError: it is none.

    """
    match = _WINDOW.fullmatch(window)
    if match:
        begin = int(match[1]) * 60 + int(match[2])
        end = 24 * 60 if match[3] is None else int(match[3]) * 60 + int(match[4])
        if begin != end:
            return begin, end
    raise ValueError('expected two times of day, such as "22:00-06:00"')


def _window(window: str) -> str:
    minutes(window)
    return window


Window = Annotated[str, AfterValidator(_window)]


class MqttConfig(Section):
    """``[mqtt]``: the broker. Without it the box tells nobody."""

    url: str = key(
        ..., "mqtt://host:1883, mqtts://host:8883, ws://host/path or wss://host/path; no password."
    )
    user: Secret = key("", "User name.")
    password: Secret = key("", "Password, best as ${secret:name}; read anew at each connect.")
    client_id: str = key("", "Name at the broker; empty: edge-SITE-NODE. No two may share one.")
    prefix: str = key(
        "edge/v1", "What all topics begin with.", pattern=r"^[^+#/\x00]+(/[^+#/\x00]+)*$"
    )
    ca_file: str = key("", "CA bundle for mqtts and wss; empty: the system's.")
    cert_file: str = key("", "The box's own certificate, where the broker asks for one.")
    key_file: str = key("", "Its key.")
    server_name: str = key("", "Name in the broker's certificate; empty: the host.")
    alpn: tuple[str, ...] = key((), "Protocols to offer, for brokers that share port 443.")
    proxy: Secret = key("", "http://user:password@host:port of a proxy that lets CONNECT pass.")
    version: Literal["auto", "5", "3.1.1"] = key("auto", "MQTT version; auto: 5, else 3.1.1.")
    keepalive: Duration = key(
        "60s", "Silence after which either side asks whether the other is there.", gt=0
    )
    session_expiry: Duration = key(
        "1d", "How long the broker keeps commands for a box that is away."
    )
    retry_max: Duration = key("60s", "Longest wait between two tries to connect.", gt=0)
    health_every: Duration = key("60s", "How often the box says how it is.", gt=0)
    home_assistant: str = key(
        "", "Discovery prefix of Home Assistant, usually homeassistant. Empty: not announced there."
    )


class UpstreamConfig(Section):
    """``[upstream]``: messages that wait for the broker, and how fast they go."""

    max_bytes: Size = key("512MiB", "Messages may fill this much; then the least urgent give way.")
    max_items: int = key(2_000_000, "Messages that may wait; then the least urgent give way.", ge=1)
    max_age: Duration = key("90d", "A message that waited longer gives way.", gt=0)
    keep_free: Size = key(
        "256MiB", "Bytes that stay free on the disk; below that the least urgent give way."
    )
    order: Literal["oldest", "newest"] = key(
        "oldest",
        "Which goes first within a class after a time offline; each source's own order is kept "
        "with oldest only.",
    )
    remember: Duration = key("7d", "How long a message's id is remembered: the same is not sent.")
    window: int = key(64, "Messages under way at once; less where the broker says so.", ge=1)
    historical_after: Duration = key(
        "60s", "A result that waited longer is marked historical: it is no news."
    )
    rate: Size = key("0B", "Bytes a second at most; 0: no limit.", live=True)
    per_day: Size = key("0B", "Bytes a day (UTC) at most; 0: no limit.", live=True)
    windows: tuple[Window, ...] = key(
        (), "When what can wait is sent, such as 22:00-06:00, by the box's clock. Empty: always."
    )
    always: tuple[Literal["state", "alarm", "loss", "result", "receipt", "event"], ...] = key(
        ("state", "alarm", "loss"), "Classes that go whatever the plan says.", live=True
    )
    pictures: bool = key(
        True, "Whether rate, per_day and windows hold for pictures to the store, too.", live=True
    )
