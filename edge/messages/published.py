"""Every message that is published, and its schema. A new one is one entry here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.event import ALARM, LOSS, PICTURE_ERASED, PICTURE_REDACTED, PICTURE_STORED
from edge.messages import alarm, erased, loss, presence, redacted, stored
from edge.messages.json_schema import DIALECT, schema_file, schema_of, schema_uri


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A kind of message."""

    #: what people call it: ``edge schema NAME``
    name: str
    #: its type, with the version
    event_type: str
    #: a typed dictionary
    message: type

    @property
    def file(self) -> str:
        """The schema's name: ``picture.redacted.v1``."""
        return schema_file(self.event_type)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a whole message, as it stands in the store."""
        head = {"$schema": DIALECT, "$id": schema_uri(self.event_type), "title": self.event_type}
        return head | schema_of(self.message)


RESULT = Published(name="result", event_type=PICTURE_REDACTED, message=redacted.Message)

STORED = Published(name="stored", event_type=PICTURE_STORED, message=stored.Message)
ERASED = Published(name="erased", event_type=PICTURE_ERASED, message=erased.Message)

ALARMS = Published(name="alarm", event_type=ALARM, message=alarm.Message)
BOX_STATUS = Published(name="status", event_type=presence.STATUS, message=presence.Status)
BOX_INFO = Published(name="info", event_type=presence.INFO, message=presence.Info)
BOX_HEALTH = Published(name="health", event_type=presence.HEALTH, message=presence.Health)
SOURCE_STATUS = Published(
    name="source-status", event_type=presence.SOURCE, message=presence.SourceStatus
)
TOMBSTONE = Published(name="loss", event_type=LOSS, message=loss.Message)

ALL = (RESULT, STORED, ERASED, TOMBSTONE, ALARMS, BOX_STATUS, BOX_INFO, BOX_HEALTH, SOURCE_STATUS)
"""Every one; a later version stands beside the earlier one."""
