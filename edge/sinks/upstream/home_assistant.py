"""Home Assistant: one discovery message, so that a box appears there with sensors and switches.

The form is that of its MQTT integration's device discovery: ``PREFIX/device/ID/config``, retained,
with ``device``, ``origin`` and ``components``. What the box keeps at the broker anyway is all that
the entities read; nothing is published for Home Assistant alone but this.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge.topics import Topics, level

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")
_OWN: Final = {"entity_category": "diagnostic", "state_class": "measurement"}
_GROWING: Final = {"state_class": "total_increasing"}
_SIZE: Final = {"device_class": "data_size", "unit_of_measurement": "B"}
_HEAT: Final = {"device_class": "temperature", "unit_of_measurement": "°C"}
_POWER: Final = {"device_class": "power", "unit_of_measurement": "W"}
_GRADES: Final = {"device_class": "enum", "options": ["ok", "degraded", "failed"]}
_OF_THE_BOX: Final[Mapping[str, tuple[str, str, Mapping[str, Any]]]] = {
    "state": ("State", "state", _GRADES),
    "people": ("People covered", "pictures.people", _GROWING),
    "redacted": ("Pictures redacted", "pictures.redacted", _GROWING),
    "pictures_waiting": ("Pictures waiting", "store.waiting", _OWN),
    "messages_waiting": ("Messages waiting", "upstream.waiting", _OWN),
    "disk_free": ("Disk free", "disk.free", {**_SIZE, **_OWN}),
    # a box may have no sensor
    "temperature": ("Temperature", "temperature | default('None')", {**_HEAT, **_OWN}),
    # nor a counter
    "power": ("Power", "energy.watts | default('None')", {**_POWER, **_OWN}),
}
"""A sensor's name, what it shows of ``health``, and more about it."""
_STATES: Final = [
    "connecting",
    "streaming",
    "stalled",
    "waiting",
    "disabled",
    "finished",
    "failed",
]
_OF_A_SOURCE: Final = {
    "status": "sensor",
    "last_picture": "sensor",
    "people": "sensor",
    "enabled": "switch",
}
"""What a source has there: the end of its component's key, and the platform."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """Describes a box to Home Assistant."""

    #: Home Assistant's own discovery prefix
    prefix: str
    topics: Topics
    version: str
    #: address of the page, where others than the box itself can reach it; empty: none
    page: str = ""

    def __call__(
        self, sources: Collection[str], gone: Collection[str]
    ) -> tuple[str, Mapping[str, Any]]:
        """Return topic and message.

        Args:
            sources: names of those that the box has.
            gone: levels of those that it had; their entities are removed.

        """
        components = dict(self._of_box())
        for name in sources:
            components |= self._of_source(name)
        for name in gone:
            components |= {
                f"{_id(name)}_{end}": {"platform": platform}
                for end, platform in _OF_A_SOURCE.items()
            }
        return f"{self.prefix}/device/{self._id}/config", {
            "device": self._device(),
            "origin": {"name": "Edge", "sw_version": self.version},
            "availability": [
                {
                    "topic": self.topics.status,
                    # "stopped" is neither of the two words that it knows
                    "value_template": "{{ 'online' if value_json.state == 'online' "
                    "else 'offline' }}",
                }
            ],
            "qos": 1,
            "components": components,
        }

    def _device(self) -> Mapping[str, Any]:
        device = {
            "identifiers": [self._id],
            "name": self.topics.node,
            "manufacturer": "Edge",
            "model": "Edge",
            "sw_version": self.version,
            "suggested_area": self.topics.site,
        }
        return device | {"configuration_url": self.page} if self.page else device

    @property
    def _id(self) -> str:
        return _id(f"edge-{level(self.topics.site)}-{level(self.topics.node)}")

    def _of_box(self) -> Mapping[str, dict[str, Any]]:
        made = {
            key: {
                "platform": "sensor",
                "name": name,
                "unique_id": f"{self._id}_{key}",
                "state_topic": self.topics.health,
                "value_template": f"{{{{ value_json.{value} }}}}",
                **more,
            }
            for key, (name, value, more) in _OF_THE_BOX.items()
        }
        made["problem"] = {
            "platform": "binary_sensor",
            "name": "Problem",
            "unique_id": f"{self._id}_problem",
            "device_class": "problem",
            "state_topic": self.topics.health,
            "value_template": "{{ 'OFF' if value_json.state == 'ok' else 'ON' }}",
        }
        return made

    def _of_source(self, name: str) -> Mapping[str, dict[str, Any]]:
        key = _id(level(name))
        read = {"platform": "sensor", "state_topic": self.topics.source_status(name)}

        def own(end: str, words: str) -> dict[str, str]:
            return {"name": f"{name} {words}", "unique_id": f"{self._id}_{key}_{end}"}

        return {
            f"{key}_status": read
            | own("status", "status")
            | {
                "device_class": "enum",
                "options": _STATES,
                "value_template": "{{ value_json.state }}",
            },
            f"{key}_last_picture": read
            | own("last_picture", "last picture")
            | {
                "device_class": "timestamp",
                "value_template": "{{ value_json.last_picture_at | default('None') }}",
            },
            f"{key}_people": read
            | own("people", "people covered")
            | {
                "state_class": "total_increasing",
                "value_template": "{{ value_json.pictures.people }}",
            },
            f"{key}_enabled": {
                "platform": "switch",
                **own("enabled", "enabled"),
                "state_topic": self.topics.source_state(name, "enabled"),
                "state_on": "true",
                "state_off": "false",
                "command_topic": self.topics.source_set(name, "enabled"),
                "payload_on": "true",
                "payload_off": "false",
                "qos": 1,
            },
        }


def _id(name: str) -> str:
    """Return a name of letters, digits, dashes and underscores; others get a digest."""
    safe = _UNSAFE.sub("_", name)
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
