"""Which notifications of a bucket are pictures to be redacted."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketRule:
    """Which objects of a bucket are meant."""

    #: how their keys begin
    prefix: str = ""
    #: how their keys end, whatever the case; none: however they end
    suffixes: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".webp")

    def wants(self, event: WireEvent, what: ObjectRef) -> bool:
        """Tell whether ``event`` says that a picture is there which was not there before."""
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
