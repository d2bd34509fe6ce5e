"""A bus for tests: the real broker, journal and outbox on one real SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.bus import journal_sql
from edge.bus.broker import Broker
from edge.bus.journal import Journal
from edge.config.bus import BusConfig, DeliveryConfig, SubscriberConfig, TriggerConfig
from edge.config.store import OutboxConfig
from edge.control.triggers import parse_trigger
from edge.errors import EdgeError, PartFailed
from edge.event import Event, WireEvent
from edge.ops.database import Database
from edge.ops.metrics import Metrics
from edge.parcel import Parcel
from edge.sinks import outbox_sql
from edge.sinks.outbox import Outbox
from edge.traffic import Letter, LetterQuery
from tests.parts import until

Reply = WireEvent | Parcel | None
FAST = {"backoffPolicy": "linear", "backoffDelay": "PT0.01S"}


def event(number: int | str = 1, **other: Any) -> WireEvent:
    """Return event ``number``; the same arguments, the same event."""
    values: dict[str, Any] = {
        "id": str(number),
        "source": "/site/box/gate",
        "type": "t.one",
        "data": b'{"n": 1}',
        "datacontenttype": "application/json",
    }
    return Event(**{**values, **other})


class Sink:
    """A handler that notes what it gets; ``answer`` says what it makes of it."""

    sees_pictures = False

    def __init__(
        self,
        answer: Callable[[WireEvent], Awaitable[Reply]] | None = None,
        where: str = "edge:sink",
    ) -> None:
        self.where = where
        self.answer = answer
        self.got: list[WireEvent] = []
        #: at this moment, and at most
        self.now = self.most = 0
        self.closed = 0
        self.delivery: DeliveryConfig | None = None
        self.replies = True

    async def __call__(self, event: Event[Any]) -> Reply:
        self.got.append(event)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return None if self.answer is None else await self.answer(event)
        finally:
            self.now -= 1

    async def close(self) -> None:
        self.closed += 1

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.got]

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.ids)


def raising(*errors: Exception | None) -> Callable[[WireEvent], Awaitable[Reply]]:
    """Return an answer that raises one after the other, the last one for ever; None: it is done."""
    left = list(errors)

    async def answer(_: WireEvent) -> None:
        error = left.pop(0) if len(left) > 1 else left[0]
        if error is not None:
            raise error

    return answer


@dataclass(slots=True)
class Bus:
    """What a test sees of the bus."""

    database: Database
    broker: Broker
    journal: Journal
    outbox: Outbox
    metrics: Metrics
    #: handlers that were made for a ``uri``
    forwards: dict[str, Sink] = field(default_factory=dict)
    #: of these ``uri`` no handler can be made
    unmade: set[str] = field(default_factory=set)

    async def letters(self, **query: Any) -> list[Letter]:
        return await self.journal.letters(LetterQuery(**query))

    async def reasons(self) -> dict[str, str]:
        """Return why each dead event died, by its id."""
        return {str(one.attributes["id"]): one.reason for one in await self.letters()}

    async def ended(self, seconds: float = 20) -> None:
        """Wait until nothing waits any more."""
        await until(lambda: self.journal.stats().events == 0 and not self.broker.busy, seconds)

    def status(self, name: str) -> Any:
        return next(one for one in self.broker.triggers() if one.name == name)


def answered(error: EdgeError, status: int, answer: bytes = b"") -> EdgeError:
    """Return the error as one that another system answered with."""
    error.status, error.answer = status, answer
    return error


def trigger(ref: str = "", **spec: Any) -> TriggerConfig:
    """Return a trigger for one handler; keys as in the file."""
    if ref:
        spec["subscriber"] = {"ref": ref}
    return TriggerConfig.model_validate(spec)


@contextlib.asynccontextmanager
async def opened(
    path: Path,
    handlers: Mapping[str, Any],
    triggers: Mapping[str, TriggerConfig],
    *,
    config: Mapping[str, Any] | None = None,
    run: bool = True,
    outbox: Mapping[str, Any] | None = None,
) -> AsyncIterator[Bus]:
    """Open a bus on the file ``path``; close it at the end, as the box does when it stops."""
    bus = _made(path, handlers, config, outbox)
    broker = bus.broker
    await bus.outbox.open()
    await broker.open()
    await broker.set_triggers(triggers, "config")
    task = asyncio.create_task(broker.run()) if run else None
    try:
        yield bus
        if task is not None and task.done():
            await task
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await broker.close()
        await bus.outbox.close()


def _made(
    path: Path,
    handlers: Mapping[str, Any],
    config: Mapping[str, Any] | None,
    outbox: Mapping[str, Any] | None,
) -> Bus:
    metrics, settings = Metrics(), BusConfig.model_validate(config or {})
    database = Database(path, [*outbox_sql.SCHEMA, journal_sql.SCHEMA], name="spool")
    keeper = Outbox(database, OutboxConfig.model_validate(outbox or {}), metrics)
    journal = Journal(database, settings, metrics)
    forwards: dict[str, Sink] = {}
    unmade: set[str] = set()

    def forward(to: SubscriberConfig, delivery: DeliveryConfig, *, replies: bool) -> Sink:
        if to.uri in unmade:
            raise PartFailed(f"{to.uri}: no CA file")
        sink = forwards.setdefault(to.uri, Sink(where=to.uri))
        sink.delivery, sink.replies = delivery, replies
        return sink

    broker = Broker(
        journal,
        handlers,
        settings,
        metrics,
        keeper=keeper,
        make_forward=forward,
        parse=parse_trigger,
    )
    return Bus(database, broker, journal, keeper, metrics, forwards, unmade)
