"""Originals of a box's buckets: what becomes of them, and of what was made of them.

::

    store has it --> event "stored" --> trigger "originals" --> AfterStored --> original
    removal ------> event ----------> trigger "erased" ----> Erase --> outbox, store --> "erased"
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from edge.bus.broker import event_of
from edge.config.bus import SubscriberConfig, TriggerConfig
from edge.config.load_checks_buckets import server_of
from edge.config.sources import BucketConfig, SourceConfig
from edge.contracts import Note
from edge.errors import Rejected
from edge.event import PICTURE_STORED, WireEvent
from edge.frame import ObjectRef
from edge.messages.stored import DATASCHEMA, Place
from edge.parcel import Parcel
from edge.sinks.derived import Derived, Original, original_of
from edge.sinks.erase import Erase, Removal
from edge.sinks.keys import message_name
from edge.sinks.outbox import Waiting
from edge.stages.originals import AfterStored, Door, Stored

if TYPE_CHECKING:
    from edge.app.box import Box
    from edge.sources.buckets.objects_change import Originals as Bucket

log = logging.getLogger(__name__)

AFTER, ERASE = "after-stored", "erase"
_MARKED = "DeleteMarkerCreated"


class Originals:
    """What the bus needs to know of originals. Built before the bus, which owns the handlers."""

    def __init__(self, box: Box) -> None:
        self._box = box
        parallel = box.config.outbox.parallel
        self.derived = Derived(box.spool, box.kept, self._erasable, parallel=parallel)
        self._after = AfterStored(box.metrics, door_of=self._door_of)

    def handlers(self) -> dict[str, AfterStored | Erase]:
        """Make the handlers of the built-in triggers."""
        erase = Erase(
            self.derived,
            self._box.store,
            self._box.metrics,
            removal_of=self._removal_of,
            erased=self._box.buckets.forget,
        )
        return {AFTER: self._after, ERASE: erase}

    def triggers(self, sources: Mapping[str, SourceConfig]) -> dict[str, TriggerConfig]:
        """Return the built-in triggers that these sources need."""
        from edge.sources.buckets.rule import REMOVED  # noqa: PLC0415

        buckets = {name: one for name, one in sources.items() if isinstance(one, BucketConfig)}
        changing = [name for name, one in buckets.items() if one.after != "keep"]
        made: dict[str, TriggerConfig] = {}
        if changing:
            names = [{"exact": {"source": f"{self._box.origin}/{name}"}} for name in changing]
            made["originals"] = TriggerConfig(
                filters=[{"exact": {"type": PICTURE_STORED}}, {"any": names}],
                subscriber=SubscriberConfig(ref=AFTER),
            )
        if any(one.when_removed == "erase" for one in buckets.values()):
            made["erased"] = TriggerConfig(
                filters=[{"any": [{"prefix": {"type": begin}} for begin in REMOVED]}],
                subscriber=SubscriberConfig(ref=ERASE),
                concurrency=2,
            )
        return made

    def of(self, name: str) -> tuple[BucketConfig, Bucket] | None:
        """Return the bucket that a source reads, to look at and change its objects."""
        from edge.sources.buckets.objects_change import Originals as Bucket  # noqa: PLC0415

        config = self._box.sources.configs.get(name)
        if not isinstance(config, BucketConfig):
            return None
        return config, Bucket(self._box.buckets.objects_of(name, config))

    # -- asked and told by who redacts

    def take_in_hand(self, bucket: str, key: str) -> None:
        """Note that an object is about to be fetched: a removal waits until it is dealt with."""
        self.derived.take_in_hand(bucket, key)

    def let_go(self, bucket: str, key: str) -> None:
        """Note that nothing came of it."""
        self.derived.let_go(bucket, key)

    async def done_before(self, name: str, event_id: str, ref: ObjectRef) -> bool:
        """Tell whether the store has the picture already; then do with the original what is due.

        An original that comes a second time with the same content makes no second picture, and so
        no event that says that it is stored.
        """
        config = self._box.sources.configs.get(name)
        if not isinstance(config, BucketConfig) or config.after == "keep" or not ref.etag:
            return False
        policy = self._box.policy_for(name).version
        if not await self._box.outbox.has_passed(event_id, f"{event_id}.{policy}"):
            return False
        await self._after.settle(Stored(name=name, ref=ref, policy=policy))
        return True

    # -- what the store has

    def stored(self, waiting: Waiting) -> Note | None:
        """Return what journals that the store has a parcel; None: nobody wants to know."""
        bus = self._box.bus
        try:
            event = self.stored_event(waiting.parcel)
            # one that is stored again, after it was erased, is told again
            parent = waiting.seq.to_bytes(16, "big")
            hops = self._box.config.bus.hops
            arrivals = bus.broker.reply_arrivals(parent, "store", hops, event)
            wanted = [arrival for arrival in arrivals if arrival.targets]
            return bus.journal.note_of(wanted) if wanted else None
        except Rejected as error:
            log.warning("nobody learns that %s is stored: %s", waiting.parcel.key, error)
            return None

    def tell(self, parcel: Parcel) -> None:
        """Show those who watch the bus that the store has a parcel."""
        self._box.bus.broker.tell(self.stored_event(parcel))

    def stored_event(self, parcel: Parcel) -> WireEvent:
        """Return what says that the store has a parcel: its message, and where it is."""
        store, results = self._box.store.describe(), self._box.config.store.results
        place: Place = {
            "kind": str(store["kind"]),
            "where": str(store["where"]),
            "key": parcel.key,
            "message": str(message_name(PurePosixPath(parcel.key), results)),
        }
        event = event_of(parcel)
        data: dict[str, Any] = {**parcel.message.get("data", {}), "store": place}
        return replace(
            event,
            id=f"{parcel.id}.stored",
            type=PICTURE_STORED,
            dataschema=DATASCHEMA,
            data=json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(),
        )

    # -- asked by the handlers

    def _door_of(self, name: str, ref: ObjectRef) -> tuple[str, Door] | None:
        found = self.of(name)
        if found is None or found[0].after == "keep" or found[0].bucket != ref.bucket:
            return None
        config, bucket = found
        return config.after, bucket

    def _erasable(self, parcel: Parcel) -> Original | None:
        config = self._box.sources.configs.get(parcel.source)
        if not isinstance(config, BucketConfig) or config.when_removed != "erase":
            return None
        return original_of(parcel, place_of(config))

    def _removal_of(self, event: WireEvent) -> Removal | None:
        from edge.sources.buckets.records import object_of  # noqa: PLC0415

        ref = object_of(event)
        name = self._box.buckets.name_of(ref)
        found = None if name is None else self.of(name)
        if name is None or found is None or found[0].when_removed != "erase":
            return None
        # a marker has a version of its own; what it hides is meant
        version = "" if event.type.endswith(_MARKED) else ref.version
        meant = ObjectRef(bucket=ref.bucket, key=ref.key, version=version)
        return Removal(
            source=f"{self._box.origin}/{name}",
            name=name,
            original=Original(
                place=place_of(found[0]), bucket=ref.bucket, key=ref.key, version=version
            ),
            find=partial(found[1].find, meant),
        )


def place_of(config: BucketConfig) -> str:
    """Return what names the server of a bucket: host and port."""
    host, port = server_of(config.endpoint)
    return f"{host}:{port}"
