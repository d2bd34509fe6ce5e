"""The gate: the only maker of parcels. What cannot be shown to be safe does not pass.

A parcel's message is a CloudEvent; ``edge/messages/redacted.py`` describes it and
``edge schema result`` prints its JSON Schema. A detection that lies beyond the picture's edge is
not among ``people``. The parcel's key is ``naming.py``'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from edge.config.privacy import Policy
from edge.contracts import Picture
from edge.detections import EngineInfo, Sighting
from edge.errors import Withheld
from edge.event import Event
from edge.frame import Encoded
from edge.messages.redacted import Picture as Stored
from edge.parcel import Parcel, Redaction
from edge.privacy.demands import as_policy_says, everyone_covered, pixels_changed, same_frame
from edge.privacy.encode import Jpegs, encode, extension
from edge.privacy.message import data_of, message_of
from edge.privacy.naming import KeyFor, Named, Naming, safe


class PrivacyGate:
    """Keeps the contract ``edge.contracts.Gate``.

    Args:
        policy_for: what holds now for a source, by its name.
        engine_ok: whether an engine is the one that is qualified now.
        key_for: makes the keys of parcels.
        jpeg: makes JPEGs, and vouches for what it returns (``jpeg.py``); else OpenCV does.

    """

    def __init__(
        self,
        policy_for: Callable[[str], Policy],
        *,
        engine_ok: Callable[[EngineInfo], bool],
        key_for: KeyFor | None = None,
        jpeg: Jpegs | None = None,
    ) -> None:
        self._policy_for = policy_for
        self._engine_ok = engine_ok
        self._key_for = key_for or Naming()
        self._jpeg = jpeg

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
        return self._parcel(event, sighting, redaction, policy)

    def _parcel(
        self, event: Event[Picture], sighting: Sighting, redaction: Redaction, policy: Policy
    ) -> Parcel:
        frame = sighting.frame
        body, content_type = encode(
            redaction.pixels, policy, frame.taken_at, frame.source, jpeg=self._jpeg
        )
        parcel_id = f"{safe(event.id)}.{policy.version}"
        named = Named(
            source=frame.source,
            taken_at=frame.taken_at,
            id=parcel_id,
            ending=extension(policy),
            original=_original(event.data),
        )
        key = self._key_for(named)
        stored: Stored = {
            "key": key,
            "content_type": content_type,
            "sha256": hashlib.sha256(body).hexdigest(),
            "bytes": len(body),
            "width": frame.size[0],
            "height": frame.size[1],
        }
        return Parcel(
            id=parcel_id,
            event_id=event.id,
            source=frame.source,
            taken_at=frame.taken_at,
            key=key,
            body=body,
            content_type=content_type,
            message=message_of(parcel_id, event, data_of(event.data, redaction, policy, stored)),
        )


def _original(picture: Picture) -> str:
    """Return what a picture was called where it came from; a frame has no name."""
    if not isinstance(picture, Encoded):
        return ""
    return picture.origin.key if picture.origin is not None else picture.name
