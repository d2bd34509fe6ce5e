"""The gate: the only maker of parcels. What cannot be shown to be safe does not pass.

A parcel's message is a CloudEvent (JSON), with these attributes and this ``data``::

    specversion      "1.0"
    id               the parcel's id: event id and policy version
    source           the event's source, /{site}/{node}/{source name}
    type             io.edge.picture.redacted.v1
    subject          the event's subject: the source's name, or the picture's
    time             when the picture was taken, UTC, milliseconds
    datacontenttype  application/json
    data
      source         name of the source
      taken_at       as time
      picture        key, content_type, sha256 (hex), bytes, width, height
      people         one each: box [x, y, w, h] in pixels of the original, cut at its edges,
                     score 0 to 1, label
      covered        [x, y, w, h] each: what is covered, margin included
      method         cells, fill or blur
      anonymisation  "anonymised" (cells, fill) or "pseudonymised" (blur)
      engine         name, model, digest (SHA-256 of the graph), safe_mode
      policy         version of the policy

A detection that lies beyond the picture's edge is not among ``people``. ``key`` is
``{source}/{YYYY}/{MM}/{DD}/{HHMMSS.mmm}-{8 hex digits of the id's SHA-256}.{jpg|webp|png}``, UTC.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from edge.config.privacy import Policy
from edge.contracts import Picture
from edge.detections import EngineInfo, Sighting
from edge.errors import Withheld
from edge.event import PICTURE_REDACTED, Event
from edge.parcel import Parcel, Redaction
from edge.privacy.demands import as_policy_says, everyone_covered, pixels_changed, same_frame
from edge.privacy.encode import encode, extension

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST = 64


class PrivacyGate:
    """Keeps the contract ``edge.contracts.Gate``.

    Args:
        policy_for: what holds now for a source, by its name.
        engine_ok: whether an engine is the one that is qualified now.

    """

    def __init__(
        self, policy_for: Callable[[str], Policy], *, engine_ok: Callable[[EngineInfo], bool]
    ) -> None:
        self._policy_for = policy_for
        self._engine_ok = engine_ok

    def release(self, event: Event[Picture], sighting: Sighting, redaction: Redaction) -> Parcel:
        """Weigh, encode, and let through.

        Raises:
            Withheld: ``engine_not_qualified``, ``other_frame``, ``wrong_method``, ``wrong_size``,
                ``blackout_missing``, ``not_covered``, ``not_redacted`` or ``not_encodable``.

        """
        policy = self._policy_for(sighting.frame.source)
        if not self._engine_ok(sighting.engine):
            raise Withheld(
                f"engine {sighting.engine.name} ({sighting.engine.model}) is not qualified now",
                hint="see the engine's state; it must pass its canary",
                reason="engine_not_qualified",
            )
        same_frame(event, sighting, redaction, policy)
        as_policy_says(sighting, redaction, policy)
        everyone_covered(sighting.detections, redaction, policy.margin)
        pixels_changed(sighting, redaction, policy)
        return _parcel(event, sighting, redaction, policy)


def _parcel(
    event: Event[Picture], sighting: Sighting, redaction: Redaction, policy: Policy
) -> Parcel:
    frame = sighting.frame
    body, content_type = encode(redaction.pixels, policy, frame.taken_at, frame.source)
    parcel_id = f"{_safe(event.id)}.{policy.version}"
    key = _key(frame.source, frame.taken_at, parcel_id, extension(policy))
    picture = {
        "key": key,
        "content_type": content_type,
        "sha256": hashlib.sha256(body).hexdigest(),
        "bytes": len(body),
        "width": frame.size[0],
        "height": frame.size[1],
    }
    data = {"source": frame.source, "taken_at": _time(frame.taken_at), "picture": picture}
    return Parcel(
        id=parcel_id,
        event_id=event.id,
        source=frame.source,
        taken_at=frame.taken_at,
        key=key,
        body=body,
        content_type=content_type,
        message={
            "specversion": "1.0",
            "id": parcel_id,
            "source": event.source,
            "type": PICTURE_REDACTED,
            "subject": event.subject,
            "time": _time(frame.taken_at),
            "datacontenttype": "application/json",
            "data": data | _done(sighting, redaction, policy),
        },
    )


def _done(sighting: Sighting, redaction: Redaction, policy: Policy) -> dict[str, Any]:
    """Return the part of ``data`` that says who was seen, and what was done about it."""
    engine = sighting.engine
    return {
        "people": _people(sighting),
        "covered": [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in redaction.covered.tolist()],
        "method": redaction.method,
        "anonymisation": "pseudonymised" if redaction.method == "blur" else "anonymised",
        "engine": {
            "name": engine.name,
            "model": engine.model,
            "digest": engine.digest,
            "safe_mode": engine.safe_mode,
        },
        "policy": policy.version,
    }


def _people(sighting: Sighting) -> list[dict[str, Any]]:
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


def _key(source: str, taken_at: datetime, parcel_id: str, ending: str) -> str:
    utc = taken_at.astimezone(UTC)
    short = hashlib.sha256(parcel_id.encode()).hexdigest()[:8]
    clock = f"{utc:%H%M%S}.{utc.microsecond // 1000:03d}"
    return f"{_safe(source)}/{utc.year:04d}/{utc:%m/%d}/{clock}-{short}.{ending}"


def _time(taken_at: datetime) -> str:
    return taken_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _safe(name: str) -> str:
    """Return a name for paths, keys and topics; where it had to change, a hash keeps it its own."""
    safe = _UNSAFE.sub("_", name).lstrip(".")
    if safe == name and len(name) <= _LONGEST:
        return name
    return f"{safe[: _LONGEST // 2]}-{hashlib.sha256(name.encode()).hexdigest()[:24]}"
