"""Originals: what happens to the picture in a bucket once the store has its redacted one.

Only a picture that is stored has such an event: one that was withheld, could not be read, or is a
dead letter keeps its original, whatever is configured.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from edge.errors import Rejected
from edge.event import WireEvent
from edge.frame import ObjectRef
from edge.ops.metrics import Metrics

log = logging.getLogger(__name__)

TAG: Final = "edge-redacted"
"""Name of the tag; its value is the version of the policy."""


class Door(Protocol):
    """A bucket whose objects may be changed."""

    async def delete(self, ref: ObjectRef) -> str:
        """Delete an object that is still that one: ``deleted``, ``gone`` or ``replaced``."""
        ...

    async def tag(self, ref: ObjectRef, name: str, value: str) -> str:
        """Tag an object that is still that one: ``tagged``, ``full``, ``gone``, ``replaced``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An original of which the store has the redacted picture."""

    #: name of its source
    name: str
    ref: ObjectRef
    #: version of the policy by which it was redacted
    policy: str


class AfterStored:
    """The handler that deletes or tags originals. Keeps ``contracts.Handler``.

    Args:
        metrics: counts what became of them.
        door_of: what is to be done (``delete_source`` or ``tag``), and where; None: nothing is. It
            is asked each time, since sources come and go.

    """

    where = "edge:after-stored"
    sees_pictures = False

    def __init__(
        self, metrics: Metrics, *, door_of: Callable[[str, ObjectRef], tuple[str, Door] | None]
    ) -> None:
        self._metrics, self._door_of = metrics, door_of

    async def __call__(self, event: WireEvent) -> None:
        """Do with one original what its source says.

        Raises:
            Rejected: ``bad_data``: the event names no original; ``forbidden``.
            PartFailed: the server cannot be reached.

        """
        await self.settle(stored_of(event))

    async def settle(self, stored: Stored) -> None:
        """Do the same, where the redacted picture is known to be stored."""
        name, ref = stored.name, stored.ref
        found = self._door_of(name, ref)
        if found is None:
            log.info("%s: %r stays: nothing is to be done with it now", name, ref.key)
            return
        what, door = found
        if what == "delete_source":
            done = await door.delete(ref)
        else:
            done = await door.tag(ref, TAG, stored.policy)
        self._metrics.originals.labels(name, done).inc()
        if done == "full":
            log.warning(
                "%s: %r has as many tags as S3 allows: it does not get %s", name, ref.key, TAG
            )
        elif done == "replaced":
            log.info("%s: %r was written over meanwhile: it stays", name, ref.key)

    async def close(self) -> None:
        """Nothing is held here."""


def stored_of(event: WireEvent) -> Stored:
    """Read ``data`` of an event that says that a picture is stored.

    Raises:
        Rejected: ``bad_data``.

    """
    try:
        data = json.loads(event.data or b"")
        origin = data["origin"]
        ref = ObjectRef(
            bucket=_text(origin["bucket"]),
            key=_text(origin["key"]),
            etag=_text(origin["etag"]),
            version=str(origin.get("version") or ""),
        )
        return Stored(name=_text(data["source"]), ref=ref, policy=_text(data["policy"]))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise Rejected(
            "the event names no original: expected JSON with source, policy and origin (bucket, "
            "key, etag)",
            hint="only events of pictures that were fetched from a bucket have them",
            reason="bad_data",
        ) from error


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(value)
    return value
