from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.bus.delivery import Delivery
from edge.bus.lanes import Lanes
from edge.bus.pictures import Alone, Pictures
from edge.config.privacy import Policy
from edge.contracts import Engine, Note, Picture
from edge.detections import Detections
from edge.errors import EdgeError, PartFailed, Rejected, TryLater
from edge.event import PICTURE_ARRIVED, Event, Outcome
from edge.frame import Encoded, Frame
from edge.ops.metrics import Metrics
from edge.ops.supervise import Supervisor
from edge.parcel import Parcel
from edge.privacy.gate import PrivacyGate
from edge.stages.engines.holder import EngineHolder
from edge.stages.pool import PicturePool
from edge.stages.urgency import Urgency, urgency
from edge.stages.walk import Redact
from tests.stages.parts import FixedEngine, Hang, a_frame, an_event, middle
from tests.stages.queued import Queued

POLICY = Policy(method="fill", format="png")


class Kept:
    """An outbox in memory."""

    def __init__(self) -> None:
        self.parcels: list[Parcel] = []
        self.full = False

    async def put(self, parcel: Parcel, also: Note | None = None) -> bool:
        assert also is None
        if self.full:
            raise TryLater("full", reason="outbox_full")
        if any(parcel.id == one.id for one in self.parcels):
            return False
        self.parcels.append(parcel)
        return True

    async def knows(self, event_id: str) -> bool:
        return any(parcel.event_id == event_id for parcel in self.parcels)


class Path:
    """The whole path over one engine, with everything else real."""

    def __init__(
        self,
        engine: FixedEngine,
        *,
        limit: float = 10,
        workers: int = 2,
        priorities: Mapping[str, int] | None = None,
    ) -> None:
        self.engine, self.metrics, self.kept = engine, Metrics(), Kept()
        self.pool = PicturePool(workers, limit)

        async def opened() -> Engine:
            return engine

        self.holder = EngineHolder(opened, self.metrics)
        self.redact = Redact(
            self.metrics,
            pool=self.pool,
            holder=self.holder,
            gate=PrivacyGate(lambda _: POLICY, engine_ok=self.holder.qualifies),
            policy_for=lambda _: POLICY,
            max_pixels=10**6,
            priority_for=lambda source: (priorities or {}).get(source, 0),
        )
        self.pictures = Pictures(
            self.metrics, audience=Alone("redact", self.redact), keeper=self.kept
        )
        self.lanes = Lanes(self.metrics)
        self.delivery = Delivery(
            self.lanes, self.pictures, self.metrics, in_hand=4, broke=self.holder.broke
        )
        self.ends: list[tuple[str, Outcome, str]] = []

    async def __aenter__(self) -> Self:
        supervisor = Supervisor(self.metrics, first=0.01, most=0.02)
        keep = supervisor.keep("engine", self.holder.run)
        self.task = asyncio.create_task(keep, name="engine")
        while not self.holder.up:  # noqa: ASYNC110 (a test waits for a state)
            await asyncio.sleep(0.005)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        self.pool.close()

    async def settle(self, event: Event[Picture], outcome: Outcome, reason: str) -> None:
        self.ends.append((event.id, outcome, reason))


def looks_like(parcel: Parcel, frame: Frame) -> tuple[float, float]:
    """Mean difference to the raw picture inside and outside of the person."""
    picture = cv2.imdecode(np.frombuffer(parcel.body, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    apart = np.abs(picture.astype(int) - frame.pixels)
    return float(apart[60:180, 80:240].mean()), float(apart[:40].mean())


async def test_a_picture_walks_through_and_only_its_person_is_covered() -> None:
    frame = a_frame()
    async with Path(FixedEngine()) as path:
        assert await path.pictures(an_event(frame)) is Outcome.DONE
        assert await path.pictures(an_event(frame)) is Outcome.DUPLICATE
    (parcel,) = path.kept.parcels
    inside, outside = looks_like(parcel, frame)
    assert inside > 50
    assert outside == 0
    assert parcel.message["data"]["people"][0]["box"] == [80, 60, 160, 120]


async def test_an_engine_is_told_whose_picture_goes_first_and_until_when_anybody_waits() -> None:
    seen: list[Urgency] = []

    def look() -> list[Detections]:
        seen.append(urgency())
        return [middle()]

    async with Path(FixedEngine(look), priorities={"gate": 7}) as path:
        for source in ("gate", "yard"):
            before = time.monotonic()
            await path.pictures(an_event(a_frame(source)))
            assert before + 8 < seen[-1].deadline < time.monotonic() + path.pool.limit
    assert [one.priority for one in seen] == [7, 0]


async def test_a_picture_whose_turn_does_not_come_is_dropped_and_the_engine_stays() -> None:
    """The engine is one for all, and busy; nobody waits for it longer than the picture may take."""
    hang = Hang()
    batched = Queued(FixedEngine(hang), max_batch=1, max_queue_delay=0)
    async with Path(batched, limit=0.5) as path:  # type: ignore[arg-type]
        first = asyncio.create_task(asyncio.to_thread(batched.infer, noise(), ["x"]), name="first")
        await asyncio.to_thread(hang.entered.wait, 5)
        with pytest.raises(TryLater) as caught:
            await path.pictures(an_event(a_frame()))
        assert caught.value.reason == "engine_busy"
        assert (path.pool.given_up, len(batched.queue), path.holder.up) == (0, 0, True)
        hang.free.set()
        await first


def noise() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (1, 48, 64, 3), np.uint8)


async def test_more_workers_for_a_gpu_do_not_decode_more_files_at_once() -> None:
    busy, most, lock = 0, 0, threading.Lock()

    def look() -> list[Detections]:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.05)
        with lock:
            busy -= 1
        return [middle()]

    async def walked(path: Path, events: list[Event[Picture]]) -> int:
        nonlocal most
        most = 0
        await asyncio.gather(*(path.pictures(event) for event in events))
        return most

    async with Path(FixedEngine(look), workers=2) as path:
        path.pool.resize(6)
        frames = [an_event(a_frame(f"gate-{n}")) for n in range(6)]
        files = [a_file(f"yard-{n}") for n in range(6)]
        assert await walked(path, frames) > 2
        assert await walked(path, files) == 2


def a_file(name: str) -> Event[Picture]:
    event = an_event(a_frame(name))
    assert isinstance(event.data, Frame)
    _, body = cv2.imencode(".png", event.data.pixels)
    return replace(
        event,
        type=PICTURE_ARRIVED,
        data=Encoded(
            body=body.tobytes(),
            name=f"{name}.png",
            taken_at=event.data.taken_at,
            source=name,
            subject=name,
        ),
    )


async def test_more_may_be_in_hand_from_now_on() -> None:
    hang = Hang()
    async with Path(FixedEngine(hang), workers=8) as path:
        path.delivery.in_hand = 2
        worker = asyncio.create_task(path.delivery.run(), name="path")
        for n in range(8):
            await path.lanes.accept(an_event(a_frame(f"gate-{n}")), path.settle)
        await asyncio.sleep(0.1)
        assert len(path.lanes) == 6
        path.delivery.in_hand = 5
        hang.free.set()
        assert await path.delivery.drain(10) == 0
        hang.free.clear()
        for n in range(8):
            await path.lanes.accept(an_event(a_frame(f"yard-{n}")), path.settle)
        await asyncio.sleep(0.1)
        assert len(path.lanes) == 3
        hang.free.set()
        assert await path.delivery.drain(10) == 0
        worker.cancel()
    assert [outcome for _, outcome, _ in path.ends] == [Outcome.DONE] * 16


def nan() -> list[Detections]:
    good = middle()
    return [
        Detections(boxes=good.boxes * np.float32("nan"), scores=good.scores, labels=good.labels)
    ]


def raises() -> list[Detections]:
    raise PartFailed("the driver is gone", reason="raised")


def a_bug() -> list[Detections]:
    raise ZeroDivisionError("a bug in the engine")


@pytest.mark.parametrize(
    "instead",
    [
        raises,
        a_bug,
        nan,
        list,
        lambda: None,
        lambda: "nobody",
        lambda: [middle(), middle()],
        lambda: [np.zeros((1, 4))],
        lambda: [None],
    ],
    ids=["raises", "bug", "nan", "nothing", "none", "text", "two", "array", "none inside"],
)
async def test_whatever_the_engine_does_wrong_no_picture_leaves(
    instead: Callable[[], Any],
) -> None:
    async with Path(FixedEngine(instead)) as path:
        with pytest.raises((EdgeError, ZeroDivisionError, ValueError)):
            await path.pictures(an_event(a_frame()))
    assert path.kept.parcels == []


async def test_an_engine_that_hangs_lets_no_picture_leave_not_even_afterwards() -> None:
    hang = Hang()
    async with Path(FixedEngine(hang), limit=0.2) as path:
        with pytest.raises(PartFailed):
            await path.pictures(an_event(a_frame()))
        hang.free.set()
        await asyncio.sleep(0.1)
    assert path.kept.parcels == []


async def test_what_an_engine_said_before_it_was_taken_out_of_service_is_withheld() -> None:
    hang = Hang()
    async with Path(FixedEngine(hang)) as path:
        underway = asyncio.create_task(path.pictures(an_event(a_frame())), name="underway")
        await asyncio.to_thread(hang.entered.wait, 5)
        path.holder.broke(PartFailed("another picture broke it"))
        hang.free.set()
        with pytest.raises(EdgeError) as caught:
            await underway
    assert caught.value.reason == "engine_not_qualified"
    assert path.kept.parcels == []


async def test_an_event_without_a_picture_is_refused() -> None:
    async with Path(FixedEngine()) as path:
        with pytest.raises(Rejected) as caught:
            await path.redact(an_event(a_frame()).carrying(b"{}"))
    assert caught.value.reason == "not_a_picture"


async def test_pictures_of_one_source_are_kept_in_the_order_in_which_they_came() -> None:
    slow_first = iter([True])
    hang = Hang()

    def answer() -> list[Detections]:
        return hang() if next(slow_first, False) else [middle()]

    async with Path(FixedEngine(answer), workers=3) as path:
        tasks = [asyncio.create_task(path.pictures(an_event(a_frame(), 0)), name="0")]
        await asyncio.to_thread(hang.entered.wait, 5)
        tasks += [
            asyncio.create_task(path.pictures(an_event(a_frame(seed=n), n)), name=f"{n}")
            for n in range(1, 4)
        ]
        other = await path.pictures(an_event(a_frame("yard"), 0))
        assert other is Outcome.DONE
        assert [parcel.source for parcel in path.kept.parcels] == ["yard"]
        hang.free.set()
        await asyncio.gather(*tasks)
    ids = [parcel.event_id for parcel in path.kept.parcels if parcel.source == "gate"]
    assert ids == [f"gate-{n}" for n in range(4)]


async def test_a_picture_that_ended_early_does_not_let_the_next_one_overtake() -> None:
    hang = Hang()
    answers: Iterator[Callable[[], list[Detections]]] = iter([hang, raises])

    def answer() -> list[Detections]:
        one: Callable[[], list[Detections]] = next(answers, lambda: [middle()])
        return one()

    async with Path(FixedEngine(answer), workers=3) as path:
        first = asyncio.create_task(path.pictures(an_event(a_frame(), 0)), name="0")
        await asyncio.to_thread(hang.entered.wait, 5)
        with pytest.raises(PartFailed):
            await path.pictures(an_event(a_frame(), 1))
        third = asyncio.create_task(path.pictures(an_event(a_frame(), 2)), name="2")
        await asyncio.sleep(0.2)
        assert path.kept.parcels == []
        hang.free.set()
        await asyncio.gather(first, third)
    assert [parcel.event_id for parcel in path.kept.parcels] == ["gate-0", "gate-2"]


async def test_delivery_drops_live_frames_and_keeps_pictures_while_the_outbox_is_full() -> None:
    async with Path(FixedEngine()) as path:
        path.kept.full = True
        worker = asyncio.create_task(path.delivery.run(), name="path")
        await path.lanes.offer(an_event(a_frame("gate")), path.settle)
        await path.lanes.accept(an_event(a_frame("drop")), path.settle)
        while not path.ends:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert path.ends == [("gate-0", Outcome.DROPPED, "outbox_full")]
        path.kept.full = False
        assert await path.delivery.drain(10) == 0
        worker.cancel()
    assert path.ends[1:] == [("drop-0", Outcome.DONE, "")]


async def test_a_picture_that_breaks_the_engine_again_and_again_is_set_aside() -> None:
    async with Path(FixedEngine(raises)) as path:
        worker = asyncio.create_task(path.delivery.run(), name="path")
        await path.lanes.accept(an_event(a_frame("drop")), path.settle)

        assert await path.delivery.drain(30) == 0
        worker.cancel()
    assert path.ends == [("drop-0", Outcome.REJECTED, "raised: the driver is gone")]
    assert path.kept.parcels == []
