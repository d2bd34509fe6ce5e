from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.config.store import OutboxConfig
from edge.contracts import Note
from edge.errors import Fatal, PartFailed, Rejected, TryLater
from edge.ops.database import Database
from edge.ops.metrics import Metrics
from edge.ops.supervise import Supervisor
from edge.parcel import Parcel
from edge.sinks.forward import Forwarder
from edge.sinks.outbox import Outbox, Waiting
from edge.sinks.outbox_sql import SCHEMA
from tests.parts import MemoryStore, make_parcel, until

SHUT = PartFailed("the store at http://me:secret@host is gone", hint="plug it in")


@asynccontextmanager
async def running(forwarder: Forwarder, metrics: Metrics) -> AsyncIterator[Supervisor]:
    """Keep a forwarder as the app does, with short waits."""
    supervisor = Supervisor(metrics, first=0.01, most=0.05)
    task = asyncio.create_task(supervisor.keep("store", forwarder.run), name="store")
    try:
        yield supervisor
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def forwarder(outbox: Outbox, store: MemoryStore, metrics: Metrics) -> Forwarder:
    return Forwarder(outbox, store, OutboxConfig(), metrics)


async def test_parcels_go_to_the_store_in_order_for_each_source(
    outbox: Outbox, store: MemoryStore, forwarder: Forwarder, metrics: Metrics
) -> None:
    parcels = [make_parcel(number, source) for number in range(20) for source in "abcdef"]
    for parcel in parcels[:60]:
        await outbox.put(parcel)
    async with running(forwarder, metrics):
        for parcel in parcels[60:]:
            await outbox.put(parcel)
        assert await forwarder.drain(10)
    for source in "abcdef":
        assert store.of(source) == [make_parcel(number, source).key for number in range(20)]
    assert store.pictures == {parcel.key: parcel.body for parcel in parcels}
    assert metrics.registry.get_sample_value("edge_parcels_stored_total") == len(parcels)


async def test_a_slow_source_does_not_hold_the_others(
    outbox: Outbox, store: MemoryStore, forwarder: Forwarder, metrics: Metrics
) -> None:
    store.slow["slow"] = 3600
    await outbox.put(make_parcel(1, "gate"))
    async with running(forwarder, metrics):
        await until(lambda: len(store.order) == 1)
        await outbox.put(make_parcel(1, "slow"))
        await until(lambda: store.tries == 2)
        for number in range(2, 6):
            await outbox.put(make_parcel(number, "gate"))
        await until(lambda: len(store.of("gate")) == 5)
    assert not store.of("slow")


async def test_no_more_than_so_many_are_under_way(
    outbox: Outbox, store: MemoryStore, metrics: Metrics
) -> None:
    forwarder = Forwarder(outbox, store, OutboxConfig(parallel=2), metrics)
    await outbox.put(make_parcel(1, "first"))
    async with running(forwarder, metrics):
        await until(lambda: len(store.order) == 1)
        for source in "abcd":
            store.slow[source] = 3600
            await outbox.put(make_parcel(1, source))
        await asyncio.sleep(0.05)
        assert store.tries == 3


async def test_a_shut_store_holds_all_and_counts_nothing_against_a_parcel(
    outbox: Outbox, store: MemoryStore, forwarder: Forwarder, metrics: Metrics
) -> None:
    store.shut = SHUT
    async with running(forwarder, metrics) as supervisor:
        for number in range(30):
            await outbox.put(make_parcel(number))
        await until(lambda: store.opened > 3)
        assert not store.order
        status = forwarder.status()
        assert (status["state"], status["waiting"], status["hint"]) == ("shut", 30, "plug it in")
        assert "secret" not in json.dumps(status)
        sample = metrics.registry.get_sample_value
        assert sample("edge_store_up") == 0
        assert (sample("edge_store_retries_total") or 0) >= 2
        assert not await forwarder.drain(10)  # does not wait for a shut door
        store.shut = None
        await until(lambda: len(store.order) == 30)
        assert store.order == [make_parcel(number).key for number in range(30)]
        assert sample("edge_store_up") == 1
        await until(lambda: supervisor.parts["store"].state == "up")
        assert forwarder.status()["state"] == "up"
    assert outbox.stats().dead == 0


async def test_a_store_that_breaks_in_between_is_reopened_and_nothing_comes_twice(
    outbox: Outbox, store: MemoryStore, forwarder: Forwarder, metrics: Metrics
) -> None:
    async with running(forwarder, metrics):
        for number in range(60):
            store.shut = SHUT if number % 10 == 5 else None
            await outbox.put(make_parcel(number, "ab"[number % 2]))
            await asyncio.sleep(0.003)
        store.shut = None
        await until(lambda: not outbox.stats().waiting)
    for source in "ab":
        assert store.of(source) == sorted(store.of(source))
    assert len(store.order) == 60


async def test_a_store_that_opens_but_takes_nothing_does_not_count_as_up(
    outbox: Outbox, store: MemoryStore, forwarder: Forwarder
) -> None:
    store.full = PartFailed("full")
    await outbox.put(make_parcel(1, "a"))
    await outbox.put(make_parcel(1, "b"))
    ups: list[int] = []
    with pytest.raises(PartFailed, match="full"):
        await forwarder.run(lambda: ups.append(1))
    assert not ups


async def test_a_store_with_nothing_to_do_is_up(
    forwarder: Forwarder, metrics: Metrics, outbox: Outbox, store: MemoryStore
) -> None:
    async with running(forwarder, metrics) as supervisor:
        await until(lambda: forwarder.status()["state"] == "up")
        assert supervisor.parts["store"].state == "up"
        # and it wakes up for a parcel that comes much later
        await outbox.put(make_parcel())
        await until(lambda: len(store.order) == 1)


async def test_a_parcel_that_the_store_refuses_is_set_aside_and_the_rest_goes_on(
    outbox: Outbox, store: MemoryStore, forwarder: Forwarder, metrics: Metrics
) -> None:
    store.raises[make_parcel(2).key] = Rejected("the key is too long", reason="store_refused")
    for number in range(1, 5):
        await outbox.put(make_parcel(number))
    async with running(forwarder, metrics):
        assert await forwarder.drain(10)
    assert store.order == [make_parcel(number).key for number in (1, 3, 4)]
    assert outbox.stats().dead == 1
    dead = metrics.registry.get_sample_value("edge_parcels_dead_total", {"reason": "store_refused"})
    assert dead == 1


async def test_a_store_that_refuses_everything_is_shut_before_all_are_dead(
    outbox: Outbox, store: MemoryStore, forwarder: Forwarder
) -> None:
    for number in range(40):
        parcel = make_parcel(number)
        store.raises[parcel.key] = Rejected("no", hint="ask the server")
        await outbox.put(parcel)
    with pytest.raises(PartFailed, match="10 parcels in a row") as shut:
        await forwarder.run(lambda: None)
    assert shut.value.hint == "ask the server"
    assert outbox.stats().dead == 10
    with pytest.raises(PartFailed):  # one more a try, until one is stored
        await forwarder.run(lambda: None)
    assert outbox.stats().dead == 11


async def test_a_parcel_that_meets_a_bug_again_and_again_is_set_aside(
    outbox: Outbox, store: MemoryStore, forwarder: Forwarder, metrics: Metrics
) -> None:
    store.raises[make_parcel(1).key] = KeyError("a bug")
    await outbox.put(make_parcel(1))
    await outbox.put(make_parcel(2))
    async with running(forwarder, metrics):
        await until(lambda: len(store.order) == 1)
        assert await forwarder.drain(10)
    assert store.order == [make_parcel(2).key]
    assert outbox.stats().dead == 1
    assert metrics.registry.get_sample_value("edge_bugs_total") == 3


async def test_a_fatal_fault_of_the_store_ends_it_and_keeps_the_parcel(
    outbox: Outbox, store: MemoryStore, forwarder: Forwarder
) -> None:
    store.raises[make_parcel(1).key] = Fatal("never")
    await outbox.put(make_parcel(1))
    with pytest.raises(Fatal):
        await forwarder.run(lambda: None)
    (head,) = await outbox.heads(1)
    assert head.tries == 0


async def test_a_delivery_that_cannot_be_noted_is_noted_later_and_not_made_twice(
    tmp_path: Path, store: MemoryStore, metrics: Metrics
) -> None:
    class FullDisk(Outbox):
        full = 3

        async def passed(self, seq: int, also: Sequence[Note] = ()) -> None:
            self.full -= 1
            if self.full >= 0:
                raise TryLater("no room", after=0.001)
            await super().passed(seq, also)

    box = FullDisk(Database(tmp_path / "o.db", SCHEMA, name="outbox"), OutboxConfig(), metrics)
    await box.open()
    await box.put(make_parcel())
    forwarder = Forwarder(box, store, OutboxConfig(), metrics)
    asked: list[int] = []
    noted: list[int] = []

    def ask(waiting: Waiting) -> Note:
        asked.append(waiting.seq)
        return lambda _: noted.append(waiting.seq)

    forwarder.also.append(ask)
    async with running(forwarder, metrics):
        assert await forwarder.drain(10)
    assert store.tries == 1
    assert (len(asked), noted) == (4, [1]), "what comes of it is asked anew, and written once"
    await box.close()


async def test_what_comes_of_a_stored_parcel_is_written_with_its_note(
    outbox: Outbox, store: MemoryStore, metrics: Metrics, tmp_path: Path
) -> None:
    await outbox.put(make_parcel(1))
    await outbox.put(make_parcel(2))
    refused = make_parcel(3, "door")
    store.raises[refused.key] = Rejected("never", reason="bad_key")
    await outbox.put(refused)
    forwarder = Forwarder(outbox, store, OutboxConfig(), metrics)

    def note(parcel: Parcel) -> Note:
        return lambda connection: connection.execute("INSERT INTO made VALUES (?)", (parcel.id,))

    forwarder.also += [lambda _: None, lambda waiting: note(waiting.parcel)]
    with sqlite3.connect(tmp_path / "box" / "outbox.db") as file:
        file.execute("CREATE TABLE made (id TEXT)")
    async with running(forwarder, metrics):
        assert await forwarder.drain(10)
    with sqlite3.connect(tmp_path / "box" / "outbox.db") as file:
        assert file.execute("SELECT id FROM made").fetchall() == [("gate/1/p1",), ("gate/2/p1",)]
        assert file.execute("SELECT count(*) FROM parcel").fetchone() == (0,)


async def test_who_waits_for_a_parcel_is_told_once_it_is_stored_and_noted(
    outbox: Outbox, store: MemoryStore, metrics: Metrics
) -> None:
    told: list[tuple[str, int]] = []

    def stored(parcel: Parcel) -> None:
        told.append((parcel.id, outbox.stats().waiting))

    forwarder = Forwarder(outbox, store, OutboxConfig(), metrics, stored=stored)
    await outbox.put(make_parcel())
    async with running(forwarder, metrics):
        await until(lambda: bool(told))
    assert told == [(make_parcel().id, 0)]


async def test_a_stop_in_mid_delivery_loses_nothing(
    outbox: Outbox, store: MemoryStore, forwarder: Forwarder, metrics: Metrics
) -> None:
    store.slow["gate"] = 3600
    await outbox.put(make_parcel())
    async with running(forwarder, metrics):
        await until(lambda: store.tries == 1)
        assert not await forwarder.drain(0.01)
    assert outbox.stats().waiting == 1
    store.slow.clear()
    async with running(forwarder, metrics):
        assert await forwarder.drain(10)
    assert store.order == [make_parcel().key]
    await forwarder.close()
    assert store.shut
