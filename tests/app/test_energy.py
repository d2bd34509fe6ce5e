"""What a box makes of the counters: numbers, words, and fewer frames."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.app import energy as module
from edge.app.box import Box
from edge.app.energy import BoxEnergy
from edge.bus.lanes import LATEST, LanePolicy
from edge.config.energy import EnergyConfig
from edge.config.root import Config
from edge.contracts import Picture
from edge.errors import PartFailed
from edge.event import FRAME_TAKEN, Event, Outcome
from edge.frame import Encoded
from edge.ops.energy import Counter, Meter, Unread
from edge.ops.metrics import Metrics
from tests.parts import MORNING, until
from tests.places import shared

NOT_YET = [{"text": "the counters were not read yet", "hint": ""}]


class Draws:
    """A zone that takes a steady power."""

    def __init__(self, zone: str, watts: float) -> None:
        self.zone = zone
        self.watts = watts
        self.last: float | None = None
        self.thread = ""

    def used(self, now: float) -> float:
        self.thread = threading.current_thread().name
        last, self.last = self.last, now
        return 0.0 if last is None else self.watts * (now - last)


@asynccontextmanager
async def measuring(
    *counters: Counter,
    unread: tuple[Unread, ...] = (),
    metrics: Metrics | None = None,
    **config: Any,
) -> AsyncIterator[BoxEnergy]:
    box = BoxEnergy(
        EnergyConfig.model_validate({"every": "500ms", **config}),
        metrics or Metrics(),
        lambda: Meter(counters, unread),
    )
    running = asyncio.create_task(box.run(lambda: None), name="energy")
    try:
        yield box
    finally:
        running.cancel()
        await asyncio.wait([running])


def told(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_zones_are_counted_and_told_and_read_in_a_thread_of_their_own() -> None:
    metrics = Metrics()
    gpu = Draws("gpu0", 40)
    async with measuring(gpu, Draws("package-0", 10), metrics=metrics) as box:
        await until(lambda: box.status()["watts"] is not None)
        status = box.status()
        assert box.told() == {"watts": 50.0}
    assert gpu.thread == "energy"
    assert math.isclose(status["watts"] or 0, 50, rel_tol=1e-6)
    assert [(zone["name"], round(zone["watts"] or 0)) for zone in status["zones"]] == [
        ("gpu0", 40),
        ("package-0", 10),
    ]
    assert (told(metrics, "edge_energy_joules_total", zone="gpu0") or 0) > 10
    assert round(told(metrics, "edge_power_watts", zone="package-0") or 0) == 10
    assert told(metrics, "edge_energy_zones") == 2


async def test_the_energy_of_pictures_is_known_once_there_are_some(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "LEAST_WINDOW", 0.4)
    metrics = Metrics()
    name = "edge_energy_joules_per_thousand_pictures"
    async with measuring(Draws("gpu0", 50), metrics=metrics) as box:
        await until(lambda: box.status()["watts"] is not None)
        assert box.status()["joules_per_1000"] is None
        assert math.isnan(told(metrics, name) or 0)
        metrics.pictures_redacted.labels("gate").inc(25)
        await until(lambda: box.status()["joules_per_1000"] is not None)
        each = box.status()["joules_per_1000"]
        assert each is not None
        # some half seconds of 50 W for 25 pictures: 1000 joules for 1000 pictures each
        assert 900 < each < 6000
        assert told(metrics, name) == each


async def test_without_a_counter_everything_says_so_and_nothing_is_invented() -> None:
    metrics = Metrics()
    why = Unread("package-0: may be read by root only", "sudo chgrp")
    async with measuring(unread=(why,), metrics=metrics) as box:
        await until(lambda: box.status()["unread"] != NOT_YET)
        status = box.status()
        assert box.told() == {}
    assert status["zones"] == []
    assert status["watts"] is None
    assert status["joules_per_1000"] is None
    assert status["unread"] == [{"text": why.text, "hint": why.hint}]
    assert told(metrics, "edge_energy_zones") == 0
    samples = [one.name for family in metrics.registry.collect() for one in family.samples]
    assert "edge_power_watts" not in samples
    assert "edge_energy_joules_total" not in samples
    assert math.isnan(told(metrics, "edge_energy_joules_per_thousand_pictures") or 0)


async def test_it_can_be_switched_off() -> None:
    def find() -> Meter:
        raise AssertionError("nobody may look for counters")

    box = BoxEnergy(EnergyConfig(measure=False), Metrics(), find)
    await box.run(lambda: None)
    assert not box.status()["measured"]


class Hangs:
    zone = "gpu0"

    def __init__(self) -> None:
        self.go = threading.Event()

    def used(self, now: float) -> float:
        del now
        self.go.wait()
        return 0.0


async def test_a_driver_that_hangs_holds_nothing_up_and_is_said(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "STALE", 0.1)
    hangs = Hangs()
    async with measuring(hangs, every="100ms") as box:
        await until(lambda: box.status()["unread"] != NOT_YET)
        assert box.status()["unread"][0]["text"] == "the counters do not answer"
    hangs.go.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_ends_is_a_part_that_failed() -> None:
    def find() -> Meter:
        raise SystemExit  # ends a thread without a word

    box = BoxEnergy(EnergyConfig(), Metrics(), find)
    with pytest.raises(PartFailed, match="thread"):
        await box.run(lambda: None)
    await until(lambda: all(one.name != "energy" for one in threading.enumerate()))


def frame(number: int) -> Event[Picture]:
    return Event(
        id=str(number),
        source="/site/box/gate",
        type=FRAME_TAKEN,
        time="2026-03-04T05:06:07Z",
        data=Encoded(body=b"x", name="", taken_at=MORNING, source="gate", subject="gate"),
    )


class Counts:
    """Takes frames, and hears how those ended that it never got."""

    def __init__(self) -> None:
        self.handed = 0
        self.ended: list[tuple[Outcome, str]] = []

    async def hand(self, event: Event[Picture], settle: Callable[..., Any]) -> None:
        del event, settle
        self.handed += 1

    async def settle(self, event: Event[Picture], outcome: Outcome, reason: str) -> None:
        del event
        self.ended.append((outcome, reason))


async def test_above_the_cap_frames_are_left_out_counted_and_settled(monkeypatch: Any) -> None:
    monkeypatch.setattr("edge.ops.power_cap.SETTLE", 0.4)
    metrics, counts = Metrics(), Counts()
    async with measuring(Draws("gpu0", 100), metrics=metrics, power_cap=50, least_fps=30) as box:
        offer = box.thin(counts.hand, lambda _: LATEST)
        for number in range(3000):
            await offer(frame(number), counts.settle)
            await asyncio.sleep(0.01)
            if box.status()["reason"]:
                break
        status = box.status()
        told_far = box.told()
    assert told_far == {"watts": 100.0, "cap": 50.0, "left_out": status["capped"]}
    assert status["share"] < 1
    assert "more than its cap of 50 W" in status["reason"]
    assert "at 30 pictures a second" in status["reason"]
    assert counts.ended
    assert set(counts.ended) == {(Outcome.DROPPED, "power")}
    left_out = told(metrics, "edge_pictures_dropped_total", source="gate", reason="power")
    assert left_out == len(counts.ended) == status["capped"]
    assert told(metrics, "edge_power_cap_share") == status["share"]


async def test_a_source_that_waits_rather_than_lose_a_frame_loses_none_to_the_cap(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr("edge.ops.power_cap.SETTLE", 0.4)
    replay, gate = Counts(), Counts()
    async with measuring(Draws("gpu0", 100), power_cap=50, least_fps=10) as box:
        replayed = box.thin(replay.hand, lambda _: LanePolicy("block", 4))
        camera = box.wanted("yard", lambda _: LanePolicy("block", 4))
        offer = box.thin(gate.hand, lambda _: LATEST)
        for number in range(1000):
            await replayed(frame(number), replay.settle)
            assert camera()
            await offer(frame(number), gate.settle)
            await asyncio.sleep(0.01)
            if len(gate.ended) > 20:
                break
    assert gate.ended
    assert replay.handed == number + 1
    assert not replay.ended


async def test_a_camera_asks_before_it_decodes_and_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.ops.power_cap.SETTLE", 0.4)
    clip = shared("data/seq-dev/worker_zone.mp4")
    box = Box(
        Config.model_validate(
            {
                "box": {"site": "s", "node": "n", "state": str(tmp_path / "state")},
                "sources": {"gate": {"kind": "camera", "url": str(clip), "loop": True}},
                "detect": {"engine": "builtin"},
                "store": {"kind": "folder", "path": str(tmp_path / "out")},
                "web": {"port": 0},
                "energy": {"every": "500ms", "power_cap": 50, "least_fps": 2},
            }
        )
    )
    box.energy._find = lambda: Meter((Draws("gpu0", 100),), ())
    running = asyncio.create_task(box.run(), name="box")
    await until(lambda: running.done() or box.energy.status()["capped"] > 20, 60)
    camera = box.sources._open["gate"]
    assert camera.status().state == "streaming"
    box.stop()
    await asyncio.wait({running}, timeout=30)
    running.result()
    capped = box.energy.status()["capped"]
    assert capped == camera.status().counts["skipped"], "the bus left out some, too"
    taken = told(box.metrics, "edge_pictures_taken_total", source="gate")
    assert taken == capped + camera.status().counts["offered"]


async def test_without_a_cap_nothing_stands_between() -> None:
    counts = Counts()
    box = BoxEnergy(EnergyConfig(), Metrics())
    assert box.thin(counts.hand, lambda _: LATEST) == counts.hand
    assert box.wanted("gate", lambda _: LATEST)()


async def test_a_cap_without_a_measure_lets_all_through_and_says_that_it_does_nothing() -> None:
    counts = Counts()
    box = BoxEnergy(EnergyConfig(measure=False, power_cap=10), Metrics())
    assert box.thin(counts.hand, lambda _: LATEST) == counts.hand
    assert "measure is off" in box.status()["reason"]


async def test_a_cap_that_nothing_can_be_held_against_is_said() -> None:
    async with measuring(power_cap=10) as box:
        await asyncio.sleep(0)
        assert not box.status()["reason"], "it is too early to say"
        box._known_at -= 60
        assert "power is not measured" in box.status()["reason"]
