"""Parcel: the only thing that may leave. Redaction: what the gate weighs before it makes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.detections import Sighting
from edge.frame import Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """A picture with its people covered, and what was covered. Not yet let through by the gate."""

    #: what it was made from; the gate compares it with the picture it was asked about
    sighting: Sighting = field(repr=False)
    #: ``(h, w, 3)`` uint8 BGR, the frame's size
    pixels: Pixels = field(repr=False)
    #: ``(m, 4)`` int32 x1 y1 x2 y2: what was covered, margin included, inside the picture
    covered: NDArray[np.int32]
    #: ``cells``, ``fill`` or ``blur``
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A redacted picture with its message: the only thing that a sink takes.

    Made by ``privacy/gate.py`` alone; ``sinks/outbox.py`` alone reads one back from its rows.
    A house rule (``tests/test_house_rules.py``) holds both.
    """

    #: event id and policy version: the same picture under the same policy is the same parcel
    id: str
    #: id of the event it came from
    event_id: str
    #: name of the source
    source: str
    taken_at: datetime
    #: name in the store, without the door's own prefix; the same parcel has the same key
    key: str
    #: the encoded redacted picture
    body: bytes = field(repr=False)
    #: ``image/jpeg``, ``image/webp`` or ``image/png``
    content_type: str
    #: the result event (CloudEvents attributes and ``data``), JSON values only
    message: Mapping[str, Any] = field(repr=False)
    #: proof of what was done; filled by the receipts of a later room
    receipt: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """A redacted picture as the store gave it back. Made by ``sinks/pictures.py`` alone.

    Its digest was compared: it is byte for byte what the gate let through.
    """

    body: bytes = field(repr=False)
    #: ``image/jpeg``, ``image/webp`` or ``image/png``
    content_type: str
    taken_at: datetime
