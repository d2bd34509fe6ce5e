"""The server that the MQTT binding is tried on."""

from __future__ import annotations

from tests.servers.mosquitto import mosquitto

__all__ = ["mosquitto"]
