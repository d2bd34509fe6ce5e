"""The bus of a box: its handlers, its triggers, and what people see of it. ``app``'s third part.

::

    pictures --> [ listeners ] --+              +--> redact, classify   (see pictures)
                                 [ triggers ] --+
    events ----> [ broker ] -----+              +--> route, forward, annotate, log, plugins
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge.app.buckets import HANDLER, SET_ASIDE, SetAside
from edge.app.jobs import after_jobs
from edge.app.originals import Originals
from edge.bus.broker import Broker
from edge.bus.journal import Journal
from edge.bus.listeners import Listeners
from edge.bus.log_events import LogEvents
from edge.bus.pictures import Pictures
from edge.bus.watchers import Watch
from edge.config import handlers as kinds
from edge.config.bus import DeliveryConfig, SubscriberConfig, TriggerConfig
from edge.config.root import Config
from edge.config.secret import Secret
from edge.config.sources import SourceConfig
from edge.contracts import Handler
from edge.control.triggers import parse_trigger
from edge.errors import EdgeError, Fatal
from edge.event import (
    FRAME_TAKEN,
    PICTURE_ANNOTATED,
    PICTURE_ARRIVED,
    PICTURE_CLASSIFIED,
    PICTURE_REDACTED,
)
from edge.sinks.dead_parcels import STORE, DeadParcels
from edge.sinks.pictures import Pictures as RedactedPictures
from edge.traffic import DeadLetters, Letter, LetterQuery, Trace, TriggerStatus

if TYPE_CHECKING:
    from edge.app.box import Box

log = logging.getLogger(__name__)

K_SINK = "k_sink"
"""The handler and the trigger that a sink named by the environment gets."""


def _any_of(*types: str) -> list[dict[str, Any]]:
    return [{"any": [{"exact": {"type": name}} for name in types]}]


BUILT_IN = {
    "redact": TriggerConfig(
        filters=_any_of(FRAME_TAKEN, PICTURE_ARRIVED), subscriber=SubscriberConfig(ref="redact")
    )
}
"""The triggers of a box of which nothing is said; the file may have others of that name."""
OF_THE_ENVIRONMENT = TriggerConfig(
    filters=_any_of(PICTURE_REDACTED, PICTURE_CLASSIFIED, PICTURE_ANNOTATED),
    subscriber=SubscriberConfig(ref=K_SINK),
)


class Bus:
    """Everything between what happens and who is told. Built closed; ``open`` it.

    Args:
        box: whose bus it is; its spool, outbox, pool, store and metrics are there already.

    """

    def __init__(self, box: Box) -> None:
        self._box = box
        self._config = box.config
        self.journal = Journal(box.spool, box.config.bus, box.metrics)
        self.handlers: dict[str, Handler] = {}
        self.originals = Originals(box)
        self.broker = Broker(
            self.journal,
            {},
            box.config.bus,
            box.metrics,
            keeper=self.originals.derived,
            make_forward=make_forward,
            parse=parse_trigger,
        )
        self.listeners = Listeners(
            self.broker, self.journal, keep=box.spool.do, hops=box.config.bus.hops
        )
        self.dead_parcels = DeadParcels(
            box.spool,
            where=" ".join(str(value) for value in box.forwarder.status()["store"].values()),
            put_back=box.outbox.arrived.set,
        )

    async def open(self, redact: Handler) -> None:
        """Build the handlers, and set the triggers. The spool is open already.

        Raises:
            Fatal: a handler or a trigger of the file is none; every fault of it is named.

        """
        own: dict[str, Handler] = {
            "redact": redact,
            "log": LogEvents(kinds.LogConfig(kind="log")),
            HANDLER: after_jobs(self._box.buckets.handler(), self._box.uploads),
            SET_ASIDE: SetAside(),
            **self.originals.handlers(),
            **({} if self._box.upstream is None else self._box.upstream.handlers()),
        }
        sink = _sink_of_the_environment()
        if sink is not None:
            own[K_SINK] = sink
        self.handlers = own | self._built(self._config)
        await self.broker.set_handlers(self.handlers)
        await self.sources_changed(self._config.sources)
        await self._set(self._config.triggers)
        await self.broker.open()
        # only now: what the store has before the triggers are set, nobody would learn
        self._box.forwarder.also.append(self.originals.stored)
        self._box.forwarder.stored.append(self.originals.tell)
        self._box.forwarder.unordered = self._box.buckets.reads

    async def sources_changed(self, sources: Mapping[str, SourceConfig]) -> None:
        """Set the triggers that the box needs for its sources."""
        triggers = BUILT_IN | self._box.buckets.triggers(sources) | self.originals.triggers(sources)
        if self._box.upstream is not None:
            triggers |= self._box.upstream.triggers()
        if K_SINK in self.handlers:
            triggers[K_SINK] = OF_THE_ENVIRONMENT
        await self.broker.set_triggers(triggers, "built-in")

    async def apply(self, wanted: Config) -> None:
        """Take over the handlers and triggers of another configuration; nothing that waits is lost.

        Raises:
            Fatal: one of them is none; then all stay as they were.

        """
        old = self.handlers
        unchanged = {
            name: old[name]
            for name in old
            if self._config.handlers.get(name) == wanted.handlers.get(name)
        }
        fresh = self._built(wanted, known=unchanged)
        self.handlers = unchanged | fresh
        await self.broker.set_handlers(self.handlers)
        self._config = wanted
        for name, handler in old.items():
            if self.handlers.get(name) is not handler:
                await handler.close()
        await self.sources_changed(wanted.sources)
        await self._set(wanted.triggers)

    async def close(self) -> None:
        """Let go of handlers and watchers; the journal closes with the spool."""
        await self.broker.close()
        for handler in self.handlers.values():
            await handler.close()

    async def _set(self, triggers: Mapping[str, TriggerConfig]) -> None:
        try:
            await self.broker.set_triggers(triggers, "config")
        except EdgeError as error:
            raise Fatal(str(error), hint="edge config validate", reason=error.reason) from error

    def _built(
        self, config: Config, known: Mapping[str, Handler] | None = None
    ) -> dict[str, Handler]:
        return {
            name: self._build(name, handler)
            for name, handler in config.handlers.items()
            if name not in (known or {})
        }

    def _build(self, name: str, config: kinds.HandlerConfig) -> Handler:
        box, where = self._box, f"edge:{name}"
        match config:
            case kinds.RouteConfig():
                from edge.bus.route import Route  # noqa: PLC0415

                return Route(config, where)
            case kinds.ForwardConfig():
                return _forward(config)
            case kinds.LogConfig():
                return LogEvents(config, where)
            case kinds.ClassifyConfig():
                from edge.stages.classify import Classify  # noqa: PLC0415

                pixels = self._config.detect.max_pixels
                redacted = RedactedPictures(box.outbox.picture, box.store)
                return Classify(config, box.pool, box.metrics, max_pixels=pixels, redacted=redacted)
            case kinds.AnnotateConfig():
                from edge.sinks.vision import Annotate  # noqa: PLC0415

                return Annotate(config, RedactedPictures(box.outbox.picture, box.store))
            case kinds.PluginConfig():
                from edge.bus.plugins import load  # noqa: PLC0415

                return load(config, where)


def _forward(config: kinds.ForwardConfig, *, replies: bool = True) -> Handler:
    from edge.sinks.forward_http import HttpForward  # noqa: PLC0415 (TLS and sessions: only then)

    return HttpForward(config, replies=replies)


def make_forward(to: SubscriberConfig, delivery: DeliveryConfig, *, replies: bool) -> Handler:
    """Make the handler of a trigger's ``uri``."""
    mode = "structured" if delivery.format == "json" else "binary"
    config = kinds.ForwardConfig(kind="forward", uri=Secret(to.uri), mode=mode)
    return _forward(config, replies=replies)


def _sink_of_the_environment() -> Handler | None:
    if not os.environ.get("K_SINK"):
        return None
    from edge.sinks.forward_http import from_environment  # noqa: PLC0415

    config = from_environment(os.environ)
    return None if config is None else _forward(config)


class BoxTraffic:
    """What people see of the bus and of the outbox's dead. Keeps ``traffic.Traffic``."""

    def __init__(self, bus: Bus, pictures: Pictures) -> None:
        self._bus, self._pictures = bus, pictures

    async def traces(self, event_id: str) -> list[Trace]:
        return [*await self._bus.journal.traces(event_id), *self._pictures.recent.traces(event_id)]

    def watch(self, filters: object = None) -> Watch:
        return self._bus.broker.watch(filters)

    def triggers(self) -> list[TriggerStatus]:
        done, failed = self._pictures.done, self._pictures.failed
        return [
            replace(one, done=one.done + done[one.name], dead=one.dead + failed[one.name])
            for one in self._bus.broker.triggers()
        ]

    async def put_trigger(self, name: str, spec: Mapping[str, Any]) -> TriggerStatus:
        return await self._bus.broker.put_trigger(name, spec)

    async def remove_trigger(self, name: str) -> bool:
        return await self._bus.broker.remove_trigger(name)

    # -- dead letters: those of events first, then those of parcels

    async def letters(self, query: LetterQuery) -> list[Letter]:
        found: list[Letter] = []
        for graves, part in self._parts(query):
            left = None if query.limit is None else query.limit - len(found)
            if left != 0:
                found += await graves.letters(replace(part, limit=left))
        return found

    async def letter(self, letter_id: str) -> Letter | None:
        for graves, _ in self._parts(LetterQuery(ids=(letter_id,))):
            letter = await graves.letter(letter_id)
            if letter is not None:
                return letter
        return None

    async def replay(self, query: LetterQuery) -> int:
        return await self._each(query, "replay")

    async def drop(self, query: LetterQuery) -> int:
        return await self._each(query, "drop")

    async def _each(self, query: LetterQuery, verb: str) -> int:
        count = 0
        for graves, part in self._parts(query):
            left = None if query.limit is None else query.limit - count
            if left != 0:
                count += await getattr(graves, verb)(replace(part, limit=left))
        return count

    def _parts(self, query: LetterQuery) -> list[tuple[DeadLetters, LetterQuery]]:
        """Return whom to ask what. A page that ended among the parcels goes on there."""
        events = self._bus.journal
        parcels = self._bus.dead_parcels
        if query.after.startswith("parcel-"):
            return [(parcels, query)]
        rest = (parcels, replace(query, after=""))
        return [rest] if query.trigger == STORE else [(events, query), rest]
