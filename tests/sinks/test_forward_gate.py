"""Pictures and the bandwidth plan: what the gate says is waited for, and nothing breaks of it."""

from __future__ import annotations

import pytest

from edge.config.mqtt import UpstreamConfig
from edge.config.store import OutboxConfig
from edge.ops.metrics import Metrics
from edge.sinks import forward
from edge.sinks.forward import Forwarder
from edge.sinks.outbox import Outbox
from edge.sinks.upstream.plan import Plan
from tests.parts import MemoryStore, make_parcel, until
from tests.sinks.conftest import Clock
from tests.sinks.test_forward import running


@pytest.mark.parametrize("unordered", [False, True])
async def test_pictures_wait_for_the_gate_and_the_store_is_up_all_the_same(
    *, outbox: Outbox, metrics: Metrics, monkeypatch: pytest.MonkeyPatch, unordered: bool
) -> None:
    monkeypatch.setattr(forward, "GATE_LOOK_S", 0.01)
    store, tokens = MemoryStore(), [0]
    forwarder = Forwarder(outbox, store, OutboxConfig(), metrics)
    forwarder.unordered = lambda _: unordered

    def gate(size: int) -> float:
        assert size == len(make_parcel(1).body)
        tokens[0] -= 1
        return 0.0 if tokens[0] >= 0 else 3600.0

    forwarder.gate = gate
    for number in range(10):
        await outbox.put(make_parcel(number))
    async with running(forwarder, metrics):
        await until(lambda: forwarder.status()["state"] == "up")
        assert store.pictures == {}
        assert forwarder.age() is None  # nobody expects it to try
        assert not await forwarder.drain(5)
        for upto in (3, 7):
            tokens[0] = upto - len(store.pictures)
            await until(lambda upto=upto: len(store.pictures) == upto)  # type: ignore[misc]
        tokens[0] = 100
        await until(lambda: len(store.pictures) == 10)
    if not unordered:
        assert store.of("gate") == [make_parcel(number).key for number in range(10)]
    assert tokens[0] == 97  # each was asked for once when it went


async def test_pictures_spend_the_bytes_of_the_day(
    outbox: Outbox, metrics: Metrics, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "GATE_LOOK_S", 0.01)
    store, plan = MemoryStore(), Plan(UpstreamConfig(per_day=1000), clock)
    forwarder = Forwarder(outbox, store, OutboxConfig(), metrics)
    forwarder.gate = plan.gate
    for number in range(5):
        await outbox.put(make_parcel(number, body=bytes(400)))
    async with running(forwarder, metrics):
        await until(lambda: len(store.pictures) == 2 and forwarder.age() is None)
        assert (plan.spent, plan.why(400)) == (800, "budget")
        clock.now += 86_400
        await until(lambda: len(store.pictures) == 4)
        plan.change(UpstreamConfig(per_day=1000, pictures=False))
        await until(lambda: len(store.pictures) == 5)
