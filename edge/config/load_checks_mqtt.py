"""Faults of ``[mqtt]`` that no single key can know."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from edge.config.load_faults import Fault
from edge.config.mqtt import MqttConfig
from edge.errors import PartFailed
from edge.ops.mqtt_types import read_url


def handlers(mqtt: MqttConfig | None) -> tuple[str, ...]:
    """Return the handlers that a broker brings along."""
    return () if mqtt is None else ("upstream",)


def faults(mqtt: MqttConfig) -> Iterator[Fault]:
    """Yield what is wrong between the keys of ``[mqtt]``."""
    yield from _address(mqtt)
    for given, missing in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if getattr(mqtt, given) and not getattr(mqtt, missing):
            yield Fault(
                location=("mqtt", missing),
                message=f"missing; a certificate and its key go together, and there is {given}",
            )
    if mqtt.password and not mqtt.user and mqtt.version == "3.1.1":
        yield Fault(location=("mqtt", "user"), message="missing; MQTT 3.1.1 wants it first")


def _address(mqtt: MqttConfig) -> Iterator[Fault]:
    try:
        settings, login = read_url(mqtt.url, client_id="edge")
    except PartFailed:
        # what was given stays unsaid where it may have a password
        shown = "********" if "@" in mqtt.url else f'"{mqtt.url}"'
        yield Fault(
            location=("mqtt", "url"),
            given=shown,
            message="expected mqtt://host:port, mqtts://host:port, ws://host:port/path or "
            "wss://host:port/path",
        )
        return
    if login.user or login.password or urlsplit(mqtt.url).username is not None:
        yield Fault(
            location=("mqtt", "url"),
            given="********",
            message="expected no credentials here: pages and logs show it; set user and password",
        )
    secured = [name for name in ("ca_file", "cert_file", "server_name") if getattr(mqtt, name)]
    if settings.tls is None and secured:
        yield Fault(
            location=("mqtt", secured[0]),
            message="only mqtts:// and wss:// prove who they are: expected one of them in url",
        )
