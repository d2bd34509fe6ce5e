"""A bus that is killed again and again, for ``test_events_kill_nine``.

    python -m tests.journeys.bus_lives FOLDER LIVES SEED

One process a life, made by ``fork`` so that a life begins in milliseconds; each takes events, some
of them for the second or tenth time, delivers what it finds, and is killed with ``kill -9`` at a
random moment, often while it opens. What was accepted is written down after ``accept`` returned.
The last life is left alone until nothing waits any more.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from edge.bus.broker import Broker
from edge.bus.journal import SCHEMA, Journal
from edge.config.bus import BusConfig, TriggerConfig
from edge.config.store import OutboxConfig
from edge.contracts import Handler
from edge.control.triggers import parse_trigger
from edge.errors import Rejected, TryLater
from edge.event import Event, WireEvent
from edge.ops.database import Database
from edge.ops.metrics import Metrics
from edge.parcel import Parcel
from edge.sinks import outbox_sql
from edge.sinks.outbox import Outbox
from tests.parts import make_parcel, until

LIVES_A_FOLDER = 50
LONGEST_S = 0.04
"""Seconds that a life may last once it has begun."""
SPEC = {"retry": 1000, "backoffPolicy": "linear", "backoffDelay": "PT0.001S"}


def divides(number: int, event: WireEvent) -> bool:
    return int(hashlib.sha256(event.id.encode()).hexdigest(), 16) % number == 0


class Made:
    """A handler of its function."""

    sees_pictures = False
    where = "test"

    def __init__(self, make: Any) -> None:
        self._make = make

    async def __call__(self, event: Event[Any]) -> WireEvent | Parcel | None:
        await asyncio.sleep(random.random() * 0.003)
        result: WireEvent | Parcel | None = self._make(event)
        return result

    async def close(self) -> None:
        pass


def parcel(event: WireEvent) -> Parcel:
    name = f"{event.id}/p1"
    message = {"id": name, "source": event.source, "type": "t.parcel", "data": {}}
    return make_parcel(1, event.subject, id=name, event_id=event.id, message=message)


def reply(event: WireEvent) -> WireEvent:
    return Event(id=event.id, source=event.source, type="t.reply", data=b"{}")


def flaky(_: WireEvent) -> None:
    if random.random() < 0.5:
        raise TryLater("not now")


def picky(event: WireEvent) -> None:
    if divides(5, event):
        raise Rejected("never", reason="five")


HANDLERS = {"parcel": parcel, "reply": reply, "flaky": flaky, "picky": picky}


def trigger(of: str, ref: str, **more: Any) -> TriggerConfig:
    spec = {"filters": [{"exact": {"type": of}}], "subscriber": {"ref": ref}, "delivery": SPEC}
    return parse_trigger({**spec, **more})


TRIGGERS = {
    "parcel": trigger("t.root", "parcel"),
    "reply": trigger("t.root", "reply", order="ordered"),
    "flaky": trigger("t.root", "flaky"),
    "picky": trigger("t.root", "picky"),
    "end": trigger("t.reply", "end"),
}


class Bus:
    """The real one, over one file."""

    def __init__(self, file: Path) -> None:
        metrics, config = Metrics(), BusConfig()
        database = Database(file, (*outbox_sql.SCHEMA, SCHEMA), name="spool")
        self.outbox = Outbox(database, OutboxConfig(), metrics)
        self.journal = Journal(database, config, metrics)
        handlers: dict[str, Handler] = {name: Made(make) for name, make in HANDLERS.items()}
        handlers["end"] = Made(lambda _: None)
        self.broker = Broker(
            self.journal,
            handlers,
            config,
            metrics,
            keeper=self.outbox,
            make_forward=lambda *_, **__: handlers["end"],
            parse=parse_trigger,
        )

    async def open(self) -> asyncio.Task[None]:
        await self.outbox.open()
        await self.broker.set_triggers(TRIGGERS, "config")
        await self.broker.open()
        return asyncio.create_task(self.broker.run(), name="bus")


def event(name: str) -> WireEvent:
    subject = f"k{name[-1]}"
    return Event(id=name, source="/test", type="t.root", subject=subject, data=b'{"n": 1}')


async def live(file: Path, life: int, ready: int, accepted: int) -> None:
    """Take events until killed."""
    bus = Bus(file)
    task = await bus.open()
    os.write(ready, b"1")
    number = 0
    while not task.done():
        names = []
        for _ in range(random.randint(1, 4)):
            if random.random() < 0.6:
                number += 1
                names.append(f"{life}-{number}")
            else:
                names.append(f"{random.randint(0, life)}-{random.randint(1, 5)}")
        names = list(dict.fromkeys(names))
        await bus.broker.accept([event(name) for name in names])
        os.write(accepted, "".join(f"{name}\n" for name in names).encode())
        await asyncio.sleep(random.random() * 0.002)
    await task


async def last(file: Path) -> None:
    """Deliver what is left."""
    bus = Bus(file)
    task = await bus.open()
    await until(lambda: not bus.journal.stats().events or task.done(), 60)
    if task.done():
        await task
    task.cancel()
    await asyncio.wait([task])
    await bus.broker.close()
    await bus.outbox.close()


def one_life(file: Path, life: int) -> None:
    """Begin a life, and end it at a random moment."""
    begun, ready = os.pipe()
    accepted = os.open(file.with_suffix(".accepted"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    pid = os.fork()
    if pid == 0:
        random.seed(life)
        try:
            asyncio.run(live(file, life, ready, accepted))
        except Exception:  # noqa: BLE001 (a child of fork says what went wrong, and is gone)
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(ready)
    if random.random() < 0.8:
        os.read(begun, 1)
    time.sleep(random.random() * LONGEST_S)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(begun)
    os.close(accepted)
    if not os.WIFSIGNALED(status):
        raise SystemExit(f"life {life} ended by itself: {status}")


def main(folder: Path, lives: int, seed: int) -> None:
    random.seed(seed)
    for life in range(lives):
        if life % LIVES_A_FOLDER == 0:
            file = folder / f"{life // LIVES_A_FOLDER}" / "spool.db"
            file.parent.mkdir()
        one_life(file, life % LIVES_A_FOLDER)
    for spool in sorted(folder.glob("*/spool.db")):
        asyncio.run(last(spool))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
