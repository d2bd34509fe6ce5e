from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bus.lanes import KEPT_ROOM, LanePolicy, Lanes
from edge.contracts import Picture
from edge.event import FRAME_TAKEN, Event, Outcome
from edge.frame import Frame
from edge.ops.metrics import Metrics, counts_by


def an_event(source: str, number: int) -> Event[Picture]:
    now = datetime.now(UTC)
    pixels = np.zeros((4, 4, 3), np.uint8)
    frame = Frame(pixels=pixels, taken_at=now, source=source, subject=source)
    return Event(
        id=f"{source}-{number}",
        source=f"/site/node/{source}",
        type=FRAME_TAKEN,
        subject=source,
        time=now.isoformat(),
        data=frame,
    )


class Ends:
    """Remembers how events ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, Outcome, str]] = []

    async def __call__(self, event: Event[Picture], outcome: Outcome, reason: str) -> None:
        self.ends.append((event.id, outcome, reason))


async def test_a_newer_live_frame_takes_the_place_of_an_older_one_which_is_counted() -> None:
    metrics, ends = Metrics(), Ends()
    lanes = Lanes(metrics)
    for number in range(3):
        await lanes.offer(an_event("gate", number), ends)

    assert (await lanes.take()).event.id == "gate-2"
    assert ends.ends == [
        ("gate-0", Outcome.DROPPED, "newer"),
        ("gate-1", Outcome.DROPPED, "newer"),
    ]
    assert len(lanes) == 0
    assert counts_by(metrics.pictures_dropped, "source") == {"gate": 2}


async def test_kept_pictures_leave_in_the_order_in_which_they_came() -> None:
    lanes, ends = Lanes(Metrics()), Ends()
    for number in range(5):
        await lanes.accept(an_event("drop", number), ends)

    assert [(await lanes.take()).event.id for _ in range(5)] == [f"drop-{n}" for n in range(5)]
    assert ends.ends == []


async def test_accept_waits_while_its_lane_is_full_and_goes_on_when_there_is_room() -> None:
    lanes, ends = Lanes(Metrics()), Ends()
    for number in range(KEPT_ROOM):
        await lanes.accept(an_event("drop", number), ends)
    late = asyncio.create_task(lanes.accept(an_event("drop", 99), ends), name="late")
    await asyncio.sleep(0.01)
    assert not late.done()

    taken = [(await lanes.take()).event.id]
    await late
    taken += [(await lanes.take()).event.id for _ in range(KEPT_ROOM)]
    assert taken == [f"drop-{n}" for n in range(KEPT_ROOM)] + ["drop-99"]


async def test_accept_survives_that_its_lane_was_emptied_and_forgotten_while_it_waited() -> None:
    lanes, ends = Lanes(Metrics()), Ends()
    for number in range(KEPT_ROOM):
        await lanes.accept(an_event("drop", number), ends)
    late = [
        asyncio.create_task(lanes.accept(an_event("drop", 100 + n), ends), name="late")
        for n in range(3)
    ]
    await asyncio.sleep(0)
    taken = [(await lanes.take()).event.id for _ in range(KEPT_ROOM)]
    taken += [(await asyncio.wait_for(lanes.take(), 5)).event.id for _ in range(3)]
    await asyncio.gather(*late)

    assert sorted(taken) == sorted(
        [f"drop-{n}" for n in range(KEPT_ROOM)] + ["drop-100", "drop-101", "drop-102"]
    )


async def test_a_busy_source_cannot_starve_a_quiet_one() -> None:
    lanes, ends = Lanes(Metrics()), Ends()
    for number in range(4):
        await lanes.accept(an_event("busy", number), ends)
    await lanes.offer(an_event("quiet", 0), ends)

    order = [(await lanes.take()).event.id for _ in range(5)]
    assert order.index("quiet-0") == 1


async def test_closing_drops_live_frames_by_name_and_keeps_what_must_not_be_lost() -> None:
    lanes, ends = Lanes(Metrics()), Ends()
    await lanes.offer(an_event("gate", 0), ends)
    await lanes.accept(an_event("drop", 0), ends)
    await lanes.close()
    await lanes.offer(an_event("gate", 1), ends)

    assert ends.ends == [
        ("gate-0", Outcome.DROPPED, "stopping"),
        ("gate-1", Outcome.DROPPED, "stopping"),
    ]
    assert (await lanes.take()).event.id == "drop-0"


@pytest.mark.parametrize("sources", [1, 3])
async def test_take_waits_for_something(sources: int) -> None:
    lanes, ends = Lanes(Metrics()), Ends()
    takers = [asyncio.create_task(lanes.take(), name=f"take {n}") for n in range(sources)]
    await asyncio.sleep(0)
    for number in range(sources):
        await lanes.offer(an_event(f"cam{number}", 0), ends)
    got = {item.event.id for item in await asyncio.gather(*takers)}
    assert got == {f"cam{n}-0" for n in range(sources)}


async def test_a_source_whose_frame_was_replaced_still_has_one_turn_only() -> None:
    lanes, ends = Lanes(Metrics()), Ends()
    for number in range(2):
        await lanes.offer(an_event("gate", number), ends)
    assert (await lanes.take()).event.id == "gate-1"

    nothing = asyncio.create_task(lanes.take(), name="take")
    await asyncio.sleep(0.01)
    assert not nothing.done()
    await lanes.offer(an_event("gate", 2), ends)
    assert (await nothing).event.id == "gate-2"


async def test_each_policy_says_which_frame_gives_way_and_why() -> None:
    gone = {
        "latest": [("gate-0", "newer"), ("gate-1", "newer"), ("gate-2", "newer")],
        "drop-oldest": [("gate-0", "newer"), ("gate-1", "newer")],
        "drop-newest": [("gate-2", "full"), ("gate-3", "full")],
    }
    for policy in (
        LanePolicy("latest"),
        LanePolicy("drop-oldest", 2),
        LanePolicy("drop-newest", 2),
    ):
        metrics, ends = Metrics(), Ends()
        lanes = Lanes(metrics, {"gate": policy}.__getitem__)
        for number in range(4):
            await lanes.offer(an_event("gate", number), ends)

        assert [(id_, reason) for id_, _, reason in ends.ends] == gone[policy.queue]
        assert {outcome for _, outcome, _ in ends.ends} == {Outcome.DROPPED}
        assert counts_by(metrics.pictures_dropped, "source") == {"gate": len(ends.ends)}
        assert len(lanes) == policy.size


async def test_a_blocked_offer_waits_for_room_and_keeps_the_order() -> None:
    ends = Ends()
    lanes = Lanes(Metrics(), lambda _: LanePolicy("block", 2))
    for number in range(2):
        await lanes.offer(an_event("gate", number), ends)
    late = [
        asyncio.create_task(lanes.offer(an_event("gate", number), ends), name=f"late {number}")
        for number in range(2, 6)
    ]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in late)
    taken = []
    for _ in range(6):
        assert len(lanes) <= 2
        taken.append((await asyncio.wait_for(lanes.take(), 5)).event.id)
    await asyncio.gather(*late)
    assert taken == [f"gate-{number}" for number in range(6)]
    assert ends.ends == []


async def test_a_blocked_frame_ends_as_dropped_when_its_source_or_the_lanes_are_closed() -> None:
    metrics, ends = Metrics(), Ends()
    lanes = Lanes(metrics, lambda _: LanePolicy("block", 1))
    await lanes.offer(an_event("gate", 0), ends)
    late = [
        asyncio.create_task(lanes.offer(an_event("gate", number), ends), name=f"late {number}")
        for number in (1, 2)
    ]
    await asyncio.sleep(0)
    late[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await late[0]
    assert ends.ends == [("gate-1", Outcome.DROPPED, "stopping")]
    await lanes.close()
    await asyncio.wait_for(late[1], 5)
    await lanes.offer(an_event("gate", 3), ends)
    assert sorted(id_ for id_, _, _ in ends.ends) == [f"gate-{number}" for number in range(4)]
    assert counts_by(metrics.pictures_dropped, "reason") == {"stopping": 4}
    assert len(lanes) == 0


async def test_a_new_policy_counts_from_the_next_frame_on() -> None:
    policies = {"gate": LanePolicy("drop-oldest", 4)}
    ends = Ends()
    lanes = Lanes(Metrics(), policies.__getitem__)
    for number in range(4):
        await lanes.offer(an_event("gate", number), ends)
    policies["gate"] = LanePolicy("latest")
    await lanes.offer(an_event("gate", 4), ends)
    assert [id_ for id_, _, _ in ends.ends] == [f"gate-{number}" for number in range(4)]
    assert (await lanes.take()).event.id == "gate-4"


@pytest.mark.parametrize(("queue", "size"), [("latest", 2), ("block", 0), ("drop-oldest", -1)])
def test_a_policy_without_sense_is_refused(queue: Any, size: int) -> None:
    with pytest.raises(ValueError, match="room"):
        LanePolicy(queue, size)


POLICIES = st.one_of(
    st.just(LanePolicy()),
    st.builds(
        LanePolicy,
        st.sampled_from(("drop-oldest", "drop-newest", "block")),
        st.integers(1, 5),
    ),
)
STEPS = st.lists(st.one_of(st.sampled_from("abc"), st.just("take"), st.just("turn")), max_size=60)


class Run:
    """Offers and takes as told, and remembers how each frame ended."""

    def __init__(self, policies: dict[str, LanePolicy]) -> None:
        self.ends, self.policies, self.metrics = Ends(), policies, Metrics()
        self.lanes = Lanes(self.metrics, policies.__getitem__)
        self.offered: list[str] = []
        self.taken: list[str] = []
        self.offers: list[asyncio.Task[None]] = []

    async def step(self, what: str) -> None:
        if what == "turn":
            await asyncio.sleep(0)
        elif what == "take":
            await self._take()
        else:
            event = an_event(what, len(self.offered))
            self.offered.append(event.id)
            offer = self.lanes.offer(event, self.ends)
            if self.policies[what].queue == "block":
                self.offers.append(asyncio.create_task(offer, name=event.id))
            else:
                await offer
        assert self.waiting_are_within_their_size()

    async def drain(self) -> None:
        while len(self.lanes) or not all(task.done() for task in self.offers):
            await self._take()
            await asyncio.sleep(0)
        await asyncio.gather(*self.offers)

    def waiting_are_within_their_size(self) -> bool:
        gone = {*self.taken, *(id_ for id_, _, _ in self.ends.ends)}
        started = sum(task.done() for task in self.offers)
        free = [id_ for id_ in self.offered if self.policies[id_[0]].queue != "block"]
        counts = Counter(id_[0] for id_ in free if id_ not in gone)
        blocked = [task.get_name() for task in self.offers if task.done()]
        counts.update(id_[0] for id_ in blocked if id_ not in gone)
        assert started == len(blocked)
        return len(self.lanes) == counts.total() and all(
            count <= self.policies[name].size for name, count in counts.items()
        )

    async def _take(self) -> None:
        if len(self.lanes):
            self.taken.append((await self.lanes.take()).event.id)


@settings(max_examples=150, deadline=None)
@given(policies=st.fixed_dictionaries(dict.fromkeys("abc", POLICIES)), steps=STEPS)
def test_every_frame_is_taken_or_dropped_in_order_and_never_too_many_wait(
    policies: dict[str, LanePolicy], steps: list[str]
) -> None:
    async def whole() -> Run:
        run = Run(policies)
        for step in steps:
            await run.step(step)
        await run.drain()
        return run

    run = asyncio.run(whole())
    dropped = [id_ for id_, _, _ in run.ends.ends]
    assert sorted(run.offered) == sorted(run.taken + dropped)
    for name in "abc":
        taken = [id_ for id_ in run.taken if id_[0] == name]
        assert taken == [id_ for id_ in run.offered if id_ in set(taken) and id_[0] == name]
        if policies[name].queue == "block":
            assert not any(id_[0] == name for id_ in dropped)
    counted = counts_by(run.metrics.pictures_dropped, "source")
    assert sum(counted.values()) == len(dropped)


@settings(max_examples=50, deadline=None)
@given(policy=POLICIES, many=st.integers(2, 6), rounds=st.integers(1, 20))
def test_among_sources_that_always_have_something_none_gets_two_turns_more(
    policy: LanePolicy, many: int, rounds: int
) -> None:
    async def whole() -> list[str]:
        lanes, ends, taken = Lanes(Metrics(), lambda _: policy), Ends(), []
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            offers = []
            for number in range(rounds * many):
                # the first is the busiest: it always fills its lane
                for name in ["cam0"] * policy.size + [f"cam{at}" for at in range(1, many)]:
                    offer = lanes.offer(an_event(name, number), ends)
                    offers.append(group.create_task(offer, name=name))
                await asyncio.sleep(0)
                taken.append((await lanes.take()).event.subject)
            for waits in offers:
                waits.cancel()
        return taken

    counts = Counter(asyncio.run(whole()))
    assert max(counts.values()) - min(counts.values()) <= 1
