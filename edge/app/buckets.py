"""Buckets as sources of a box: who fetches from which, what the hook takes, and how it ends.

::

    hook, listen, pull, sweep --> journal --> trigger "objects" --> RedactObject --> parcel
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from edge.app.originals import place_of
from edge.config.bus import SubscriberConfig, TriggerConfig
from edge.config.load_checks_buckets import server_of
from edge.config.sources import BucketConfig, SourceConfig
from edge.config.store import S3StoreConfig
from edge.contracts import Source
from edge.errors import Rejected
from edge.event import Event, WireEvent
from edge.frame import ObjectRef
from edge.sources.buckets.rule import BucketRule
from edge.stages.objects import Fetch, RedactObject, event_id

if TYPE_CHECKING:
    from edge.app.box import Box
    from edge.sources.buckets.hook import S3Hook
    from edge.sources.buckets.objects import BucketObjects
    from edge.sources.buckets.source import Bucket

HANDLER, SET_ASIDE = "redact-object", "set-aside"


class SetAside:
    """The handler of notifications that nobody could read: each becomes a dead letter."""

    where = "edge:set-aside"
    sees_pictures = False

    async def __call__(self, event: Event[Any]) -> NoReturn:
        """Refuse it, with the reason that it brings along."""
        why = str(event.extensions.get("why", "it could not be read"))
        raise Rejected(why, reason=str(event.extensions.get("reason", "malformed_notification")))

    async def close(self) -> None:
        """Nothing is held here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _AnyRule(BucketRule):
    """What several sources of one bucket want together."""

    rules: tuple[BucketRule, ...] = ()

    def wants(self, event: WireEvent, what: ObjectRef) -> bool:
        return any(rule.wants(event, what) for rule in self.rules)


class Buckets:
    """The buckets that the sources of a box read, as they are configured now."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._objects: dict[str, tuple[BucketConfig, BucketObjects]] = {}
        #: the newest source of each name
        self._sources: dict[str, Bucket] = {}

    def source(self, name: str, config: BucketConfig) -> Source:
        """Make the source of one."""
        from edge.sources.buckets.objects_change import Originals  # noqa: PLC0415
        from edge.sources.buckets.source import Bucket  # noqa: PLC0415
        from edge.sources.buckets.swept import Swept  # noqa: PLC0415

        objects = self.objects_of(name, config)
        source = self._sources[name] = Bucket(
            name,
            config,
            metrics=self._box.metrics,
            origin=self._box.origin,
            intake=self._box.bus.broker,
            objects=objects,
            known=lambda ref: self._box.outbox.knows(event_id(name, ref)),
        )
        source.remember_sweeps(Swept(self._box.spool, name, config))
        if config.when_removed == "erase":
            derived = self._box.bus.originals.derived
            made = partial(derived.between, place_of(config), config.bucket)
            source.watch_removals(made, Originals(objects).find)
        return source

    def forget(self, name: str, ref: ObjectRef) -> None:
        """Tell a source that an object is gone: the same content may come again."""
        source = self._sources.get(name)
        if source is not None:
            source.forget(ref)

    def reads(self, name: str) -> bool:
        """Tell whether a source is a bucket: its pictures have no order among them."""
        return isinstance(self._box.sources.configs.get(name), BucketConfig)

    def name_of(self, ref: ObjectRef) -> str | None:
        """Return the source that an object belongs to; None: none has it."""
        found = self._of(ref)
        return None if found is None else found[0]

    def handler(self) -> RedactObject:
        """Make the handler that fetches and redacts."""
        from edge.sources.buckets.records import object_of  # noqa: PLC0415

        handler = RedactObject(
            self._box.redact,
            self._box.metrics,
            origin=self._box.origin,
            object_of=object_of,
            bucket_of=self._of,
            is_ours=self._is_ours,
            broke=self._box.holder.broke,
        )
        handler.originals = self._box.bus.originals
        handler.given_up = self._box.outbox.remember
        return handler

    def triggers(self, sources: Mapping[str, SourceConfig]) -> dict[str, TriggerConfig]:
        """Return the built-in triggers that these sources need; none where none is a bucket."""
        from edge.sources.buckets.hook import MALFORMED  # noqa: PLC0415
        from edge.sources.buckets.records_s3 import TYPES  # noqa: PLC0415

        if not any(self._configs(sources)):
            return {}
        return {
            "objects": TriggerConfig(
                filters=[{"prefix": {"type": f"{TYPES}ObjectCreated:"}}],
                subscriber=SubscriberConfig(ref=HANDLER),
                concurrency=self._box.pool.workers + 2,
            ),
            "unreadable": TriggerConfig(
                filters=[{"exact": {"type": MALFORMED}}],
                subscriber=SubscriberConfig(ref=SET_ASIDE),
            ),
        }

    def hook(self) -> S3Hook | None:
        """Return where notifications go; None while no source reads a bucket."""
        from edge.sources.buckets.hook import S3Hook  # noqa: PLC0415

        configs = [config for _, config in self._configs(self._box.sources.configs)]
        if not configs:
            return None
        tokens = frozenset(config.token.reveal() for config in configs if config.token.reveal())
        return S3Hook(
            self._box.bus.broker,
            self._rule,
            tokens=tokens,
            noticed=self._noticed,
            metrics=self._box.metrics,
        )

    async def close(self) -> None:
        """Let go of connections."""
        for _, objects in self._objects.values():
            await objects.close()

    def _configs(self, sources: Mapping[str, SourceConfig]) -> Iterator[tuple[str, BucketConfig]]:
        for name, config in sources.items():
            if isinstance(config, BucketConfig):
                yield name, config

    def objects_of(self, name: str, config: BucketConfig) -> BucketObjects:
        """Return the connection to a bucket, which all share who read it."""
        from edge.sources.buckets.objects import BucketObjects  # noqa: PLC0415

        known = self._objects.get(name)
        if known is None or known[0] != config:
            known = self._objects[name] = (config, BucketObjects(config))
        return known[1]

    def _of(self, ref: ObjectRef) -> tuple[str, Fetch] | None:
        for name, config in self._configs(self._box.sources.configs):
            if config.bucket == ref.bucket and _rule(config).holds(ref.key):
                return name, self.objects_of(name, config).get
        return None

    def _noticed(self, ref: ObjectRef) -> None:
        name = self.name_of(ref)
        if name in self._sources:
            self._sources[name].noticed(ref)

    def _rule(self, bucket: str) -> BucketRule | None:
        found = [config for _, config in self._configs(self._box.sources.configs)]
        rules = tuple(_rule(config) for config in found if config.bucket == bucket)
        return _AnyRule(rules=rules) if rules else None

    def _is_ours(self, ref: ObjectRef) -> bool:
        store = self._box.config.store
        if not isinstance(store, S3StoreConfig) or ref.bucket != store.bucket:
            return False
        where = server_of(store.endpoint)
        return ref.key.startswith(store.prefix) and any(
            server_of(config.endpoint) == where and config.bucket == ref.bucket
            for _, config in self._configs(self._box.sources.configs)
        )


def _rule(config: BucketConfig) -> BucketRule:
    return BucketRule(
        prefix=config.prefix,
        suffixes=tuple(config.suffixes),
        removals=config.when_removed == "erase",
    )
