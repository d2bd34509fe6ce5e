"""Which notifications of a bucket matter: pictures to be redacted, and, where asked, removals.

An object whose time is up (``LifecycleExpiration``) counts as removed: a sweep that finds it gone
cannot tell why it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge.event import WireEvent
from edge.frame import ObjectRef
from edge.sources.buckets.records_s3 import TYPES

_CREATED: Final = f"{TYPES}ObjectCreated:"
_STARTED: Final = f"{_CREATED}Post"
# MinIO counts these among the created ones; the picture is the same as before
_SAME: Final = frozenset(
    _CREATED + name for name in ("PutTagging", "DeleteTagging", "PutRetention", "PutLegalHold")
)
REMOVED: Final = (f"{TYPES}ObjectRemoved:", f"{TYPES}LifecycleExpiration:")
"""How the types of removals begin."""
# MinIO says so when somebody deletes what was not there
_NOTHING: Final = f"{TYPES}ObjectRemoved:NoOP"


def is_removal(event: WireEvent) -> bool:
    """Tell whether an event says that an object is gone, or hidden behind a marker."""
    return event.type.startswith(REMOVED) and event.type != _NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketRule:
    """Which objects of a bucket are meant."""

    #: how their keys begin
    prefix: str = ""
    #: how their keys end, whatever the case; none: however they end
    suffixes: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".webp")
    #: whether it matters, too, that somebody removes one
    removals: bool = False

    def wants(self, event: WireEvent, what: ObjectRef) -> bool:
        """Tell whether ``event`` says that a picture is there which was not there before.

        With ``removals`` also: that one is not there any more.
        """
        if self.removals and is_removal(event):
            return self.holds(what.key)
        if not event.type.startswith(_CREATED) or event.type in _SAME:
            return False
        if event.type == _STARTED and not what.size:
            # RGW says so when an upload in parts begins: there is no object yet
            return False
        return self.holds(what.key)

    def holds(self, key: str) -> bool:
        """Tell whether an object of this key is meant."""
        ends = tuple(suffix.lower() for suffix in self.suffixes)
        return key.startswith(self.prefix) and (not ends or key.lower().endswith(ends))
