from __future__ import annotations

from tests.servers.mosquitto import idle_mosquitto, mosquitto

__all__ = ["idle_mosquitto", "mosquitto"]
