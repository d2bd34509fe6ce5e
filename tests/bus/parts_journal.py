"""A journal on a real file, and events to put into it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from edge.bus.journal import SCHEMA, Arrival, Due, Journal, Target, digest_of
from edge.config.bus import BusConfig
from edge.event import Event, WireEvent
from edge.ops.database import Database
from edge.ops.metrics import Metrics
from edge.traffic import Attempt

MORNING = 1_800_000_000.0
HOUR, DAY = 3600.0, 86_400.0


class Clock:
    """Seconds since the epoch, as the test says."""

    def __init__(self, now: float = MORNING) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def journal_at(
    path: Path, *, clock: Clock | None = None, metrics: Metrics | None = None, **config: Any
) -> AsyncIterator[Journal]:
    """Open the journal of a file; the same file again is the same journal again."""
    database = Database(path, [SCHEMA], name="spool")
    metrics = metrics or Metrics()
    journal = Journal(database, BusConfig(**config), metrics, clock=clock or Clock())
    await database.open()
    try:
        yield journal
    finally:
        await database.close()


def event(number: int | str = 1, body: Any = None, **other: Any) -> WireEvent:
    """Return event ``number``: the same arguments, the same event."""
    values: dict[str, Any] = {
        "id": f"e{number}",
        "source": "/site/node/gate",
        "type": "test.seen",
        "subject": f"things/{number}",
        "time": "2027-01-15T08:00:00Z",
        "datacontenttype": "application/json",
        "data": None if body is None else json.dumps(body).encode(),
    }
    return Event(**{**values, **other})


def arrival(number: int | str = 1, *triggers: str, key: str = "", **other: Any) -> Arrival:
    """Return event ``number`` for triggers (``one``, where none is named; ``-``: for none)."""
    targets = [Target(name, key) for name in triggers or ("one",) if name != "-"]
    hops = other.pop("hops", 255)
    happened = event(number, **other)
    return Arrival(happened, targets, hops, digest_of(happened))


def reply(due: Due, number: int | str, *triggers: str, **other: Any) -> Arrival:
    """Return event ``number`` as a reply to a delivery."""
    hops = other.pop("hops", due.hops - 1)
    made = event(number, **other)
    digest = digest_of(made, due.digest, due.trigger)
    return Arrival(made, [Target(name) for name in triggers], hops, digest, due.seq)


def attempt(reason: str = "", at: float = MORNING, **other: Any) -> Attempt:
    """Return a try that went well, or failed for a reason."""
    error = f"it is {reason}" if reason else ""
    return Attempt(at=at, seconds=0.25, subscriber="edge:x", reason=reason, error=error, **other)


async def take_all(journal: Journal, trigger: str = "one") -> list[Due]:
    """Deliver everything that is due now, and return it in the order of delivery."""
    taken: list[Due] = []
    while found := await journal.due(trigger, 50):
        for one in found:
            await journal.done(one, attempt())
        taken += found
    return taken


def ids(deliveries: Sequence[Due]) -> list[str]:
    return [one.event.id for one in deliveries]
