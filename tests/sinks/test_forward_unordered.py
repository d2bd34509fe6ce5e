"""Sources without an order to keep: several of their parcels go to the store side by side."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from edge.config.store import OutboxConfig
from edge.errors import PartFailed
from edge.ops.metrics import Metrics
from edge.parcel import Parcel
from edge.sinks.forward import Forwarder
from edge.sinks.outbox import Outbox
from tests.parts import MemoryStore, make_parcel, until
from tests.sinks.test_forward import running

PARALLEL = 3


class WatchedStore(MemoryStore):
    """Counts how many puts were under way at once, by source and by name."""

    def __init__(self) -> None:
        super().__init__()
        self.most: Counter[str] = Counter()
        self.times: Counter[str] = Counter()
        self._now: Counter[str] = Counter()

    async def put(self, parcel: Parcel) -> None:
        self.times[parcel.id] += 1
        for name in (parcel.source, parcel.key):
            self._now[name] += 1
            self.most[name] = max(self.most[name], self._now[name])
        try:
            await super().put(parcel)
        finally:
            self._now.subtract((parcel.source, parcel.key))


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def forwarder(outbox: Outbox, store: WatchedStore, metrics: Metrics) -> Forwarder:
    made = Forwarder(outbox, store, OutboxConfig(parallel=PARALLEL), metrics)
    made.unordered = {"yard"}.__contains__
    return made


async def test_parcels_of_a_source_without_an_order_go_side_by_side_and_those_of_others_do_not(
    outbox: Outbox, store: WatchedStore, forwarder: Forwarder, metrics: Metrics
) -> None:
    store.slow = {"yard": 0.01, "gate": 0.01}
    for number in range(60):
        await outbox.put(make_parcel(number, "yard"))
        if number < 20:
            await outbox.put(make_parcel(number, "gate"))
    async with running(forwarder, metrics):
        assert await forwarder.drain(10)
    assert store.most["yard"] == PARALLEL
    assert store.most["gate"] == 1
    assert store.of("gate") == [make_parcel(number, "gate").key for number in range(20)]
    assert len(store.order) == 80
    assert set(store.times.values()) == {1}


async def test_parcels_of_one_name_wait_for_each_other(
    outbox: Outbox, store: WatchedStore, forwarder: Forwarder, metrics: Metrics
) -> None:
    store.slow = {"yard": 0.01}
    store.overwrite = True
    keys = ["yard/a.jpg", "yard/b.jpg"]
    for number in range(24):
        await outbox.put(replace(make_parcel(number, "yard"), key=keys[number // 2 % 2]))
    async with running(forwarder, metrics):
        assert await forwarder.drain(10)
    assert store.most["yard"] == 2
    assert [store.most[key] for key in keys] == [1, 1]
    assert store.pictures["yard/b.jpg"] == make_parcel(23, "yard").body


async def test_a_store_that_breaks_under_several_is_reopened_and_what_it_has_is_not_sent_again(
    outbox: Outbox, store: WatchedStore, forwarder: Forwarder, metrics: Metrics
) -> None:
    parcels = [make_parcel(number, "yard") for number in range(30)]
    for parcel in parcels:
        await outbox.put(parcel)
    store.raises[parcels[5].key] = PartFailed("gone", reason="store_shut")
    async with running(forwarder, metrics):
        await until(lambda: store.times[parcels[5].id] > 2)
        store.raises.clear()
        await until(lambda: not outbox.stats().waiting)
    assert len(store.order) == 30
    del store.times[parcels[5].id]
    assert set(store.times.values()) == {1}


async def test_a_shut_store_is_not_tried_with_several(
    outbox: Outbox, store: WatchedStore, forwarder: Forwarder, metrics: Metrics
) -> None:
    store.full = PartFailed("gone", reason="store_shut")
    for number in range(10):
        await outbox.put(make_parcel(number, "yard"))
    async with running(forwarder, metrics):
        await until(lambda: store.tries > 5)
    assert store.most["yard"] == 1


async def test_a_stop_under_several_loses_nothing(
    outbox: Outbox, store: WatchedStore, forwarder: Forwarder, metrics: Metrics
) -> None:
    store.slow["yard"] = 0.02
    for number in range(10):
        await outbox.put(make_parcel(number, "yard"))
    async with running(forwarder, metrics):
        await until(lambda: bool(store.order))
        store.slow["yard"] = 3600
        await until(lambda: store.most["yard"] == PARALLEL)
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("deliver")] == []
    assert outbox.stats().waiting == 10 - len(store.order)
