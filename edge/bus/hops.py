"""Hops: how many replies deep an event may go, so that cycles come to an end.

Knative counts hops in an extension, ``knativebrokerttl``, which subscribers never see. Here the
journal keeps the number beside the event, and the extension is taken off on the way in.
"""

from __future__ import annotations

import re
from dataclasses import replace

from edge.event import WireEvent

HOPS = "knativebrokerttl"
_NUMBER = re.compile(r"-?[0-9]{1,10}")


def without_hops(event: WireEvent, most: int) -> tuple[WireEvent, int]:
    """Return the event without the extension, and how many replies deep it may still go.

    What says no number, or more than ``most``, has ``most``; what says less than 0 has 0.
    """
    if HOPS not in event.extensions:
        return event, most
    rest = {name: value for name, value in event.extensions.items() if name != HOPS}
    said = str(event.extensions[HOPS])
    hops = int(said) if _NUMBER.fullmatch(said) else most
    return replace(event, extensions=rest), max(0, min(most, hops))
