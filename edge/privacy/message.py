"""The message that goes with a redacted picture: ``edge/messages/redacted.py`` describes it."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from edge.config.privacy import Policy
from edge.contracts import Picture
from edge.detections import Sighting
from edge.event import PICTURE_REDACTED, Event
from edge.frame import Encoded, ObjectRef
from edge.messages.redacted import DATASCHEMA, Data, Engine, Message, Origin, Person
from edge.messages.redacted import Picture as Stored
from edge.parcel import Redaction


def message_of(parcel_id: str, event: Event[Picture], data: Data) -> Message:
    """Return the whole message of a parcel."""
    message: Message = {
        "specversion": "1.0",
        "id": parcel_id,
        "source": event.source,
        "type": PICTURE_REDACTED,
        "time": data["taken_at"],
        "datacontenttype": "application/json",
        "dataschema": DATASCHEMA,
        "data": data,
    }
    if event.subject:
        message["subject"] = event.subject
    return message


def data_of(picture: Picture, redaction: Redaction, policy: Policy, stored: Stored) -> Data:
    """Return what the message says.

    Args:
        picture: what the event brought.
        redaction: what was covered, and who was seen.
        policy: how.
        stored: what becomes of it in the store.

    """
    sighting, method = redaction.sighting, redaction.method
    data: Data = {
        "source": sighting.frame.source,
        "taken_at": _time(sighting.frame.taken_at),
        "picture": stored,
        "people": _people(sighting),
        "covered": [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in redaction.covered.tolist()],
        "method": method,
        "anonymisation": "pseudonymised" if method == "blur" else "anonymised",
        "engine": _engine(sighting),
        "policy": policy.version,
    }
    if isinstance(picture, Encoded) and picture.origin is not None:
        data["origin"] = _origin(picture.origin)
    if isinstance(picture, Encoded) and picture.metadata:
        data["metadata"] = dict(picture.metadata)
    return data


def _engine(sighting: Sighting) -> Engine:
    engine = sighting.engine
    return {
        "name": engine.name,
        "model": engine.model,
        "digest": engine.digest,
        "safe_mode": engine.safe_mode,
    }


def _people(sighting: Sighting) -> list[Person]:
    seen, (width, height) = sighting.detections, sighting.frame.size
    corners = np.column_stack((np.floor(seen.boxes[:, :2]), np.ceil(seen.boxes[:, 2:])))
    corners = corners.clip(0, (width, height, width, height)).astype(np.int64)
    rows = zip(corners.tolist(), seen.scores.tolist(), seen.labels.tolist(), strict=True)
    return [
        {
            "box": [x1, y1, x2 - x1, y2 - y1],
            "score": round(score, 4),
            "label": sighting.engine.labels[label],
        }
        for (x1, y1, x2, y2), score, label in rows
        if x1 < x2 and y1 < y2
    ]


def _origin(ref: ObjectRef) -> Origin:
    origin: Origin = {"bucket": ref.bucket, "key": ref.key}
    if ref.version:
        origin["version"] = ref.version
    if ref.etag:
        origin["etag"] = ref.etag.strip('"')
    return origin


def _time(taken_at: datetime) -> str:
    return taken_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
