"""The publisher and brokers that answer oddly, by a link that says what they say."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from edge.errors import PartFailed, Rejected, TryLater
from edge.sinks.upstream.suspicion import STRIKES, Suspicion
from tests.sinks.conftest import Clock
from tests.sinks.upstream.parts import message
from tests.sinks.upstream.sending import TOPICS, OddLink, batch, publishing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


def said(kind: type[Any], reason: str) -> Any:
    error = kind("the broker says no", reason=reason)
    error.status = 0x97
    return error


async def test_a_used_up_quota_is_waited_for_and_loses_nothing(path: Path) -> None:
    link, refusals = OddLink(), iter([said(TryLater, "quota")] * 6)
    link.answer = lambda _, __: next(refusals, None)
    async with publishing(path, link) as box:
        await box.queue.put(*batch(0, 10))
        await box.until(lambda: box.state() == "resting")
        assert len(link.sent) == 4  # a window, then silence
        assert box.publisher.status()["words"] == "the broker says no"
        box.publisher.resume()
        await box.until(lambda: len(link.sent) == 8)
        box.publisher.resume()
        await box.empty()
        # the broker took two of the second window; what it refused goes before the rest
        assert link.took == [2, 3, 0, 1, *range(4, 10)]
        assert box.queue.totals().tombstoned == 0


async def test_after_a_cut_the_unacknowledged_goes_first_and_in_order(path: Path) -> None:
    link = OddLink()
    link.manual = []
    async with publishing(path, link) as box:
        await box.queue.put(*batch(0, 10))
        await box.until(lambda: len(link.sent) == 4)
        futures = link.manual
        futures.pop(1).set_result(None)  # of the four, only the second was acknowledged
        link.up.clear()
        link.cut(PartFailed("cut", reason="cut"))
        await box.queue.put(message(1, kind="alarm"))
        await box.until(lambda: not box.publisher.status()["in_flight"])
        assert box.state() == "waiting_for_broker"
        link.sent.clear()
        link.up.set()
        await box.empty()
        topics = [topic for topic, _ in link.sent]
        assert topics[0] == TOPICS.event("alarm")
        assert [body["data"]["n"] for _, body in link.sent[1:]] == [0, *range(2, 10)]


@pytest.mark.parametrize("reason", ["too_large", "bad_topic", "bad_payload"])
async def test_what_the_broker_will_never_take_becomes_a_tombstone(path: Path, reason: str) -> None:
    link = OddLink()

    def took(topic: str, body: dict[str, Any]) -> Exception | None:
        if topic == TOPICS.loss:
            losses.append(body["data"])
            body["data"]["n"] = -1
            return None
        return said(Rejected, reason) if body["data"]["n"] in {3, 4} else None

    losses: list[dict[str, Any]] = []
    link.answer = took
    async with publishing(path, link) as box:
        await box.queue.put(*batch(0, 10))
        await box.empty()
        assert [n for n in link.took if n >= 0] == [0, 1, 2, 5, 6, 7, 8, 9]
        assert {loss["reason"] for loss in losses} == {reason}
        assert sum(loss["count"] for loss in losses) == 2


async def test_a_class_that_is_not_allowed_is_tried_again_when_somebody_says_so(path: Path) -> None:
    link = OddLink()
    link.answer = lambda topic, _: said(PartFailed, "not_authorized") if "result" in topic else None
    async with publishing(path, link) as box:
        await box.queue.put(*batch(0, 6), message(1, kind="event"))
        await box.until(lambda: link.took == [1])
        await box.until(lambda: box.state() == "held")
        before = len(link.sent)
        await asyncio.sleep(0.2)
        assert len(link.sent) == before
        link.answer = lambda _, __: None
        box.publisher.resume()
        await box.empty()
        assert link.took == [1, *range(6)]


async def test_while_there_is_no_link_nothing_is_held_in_memory(path: Path) -> None:
    link = OddLink()
    link.up.clear()
    async with publishing(path, link, max_items=50) as box:
        for first in range(0, 500, 50):
            await box.queue.put(*batch(first, 50))
        assert box.state() == "waiting_for_broker"
        assert box.queue.stats().waiting <= 50
        link.up.set()
        await box.until(lambda: 499 in link.took)


async def test_newest_first_holds_for_what_arrives_while_a_backlog_is_sent(path: Path) -> None:
    link = OddLink(window=1)
    link.manual = []
    async with publishing(path, link, order="newest") as box:
        await box.queue.put(*batch(0, 10))
        await box.until(lambda: len(link.sent) == 1)
        await box.queue.put(*batch(10, 1))
        await asyncio.sleep(0.05)
        future = link.manual.pop()
        link.manual = None
        link.settle(future, *link.sent[0])
        await box.empty()
        assert link.took == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 10] or link.took[1] == 10


async def test_a_shut_file_ends_the_publisher_with_its_reason(path: Path, clock: Clock) -> None:
    link = OddLink()
    async with publishing(path, link, clock) as box:
        await box.queue.put(message(1))
        await box.empty()

        async def broken(*_: object) -> list[Any]:
            raise PartFailed("damaged", reason="damaged")

        box.queue.take = broken  # type: ignore[method-assign, assignment]
        await box.queue.put(message(2))
        await asyncio.wait([box.task], timeout=5)
        assert isinstance(box.task.exception(), PartFailed)


# -- who makes a broker hang up


def cut() -> PartFailed:
    return PartFailed("cut", reason="cut")


def test_a_bad_link_makes_no_message_guilty() -> None:
    watch = Suspicion()
    watch.took(500)
    for _ in range(100):
        assert not watch.lost(cut(), [(1, 400)])
        assert not watch.lost(PartFailed("silent", reason="silent"), [(2, 9000)])


def test_who_is_alone_each_time_and_larger_than_all_before_is_guilty() -> None:
    watch = Suspicion()
    watch.took(500)
    many = [(n, 100) for n in range(10)]
    assert not watch.lost(cut(), many)
    assert not watch.lost(cut(), many)
    assert not watch.lost(cut(), many)
    assert watch.careful
    found = [watch.lost(cut(), [(7, 9000)]) for _ in range(STRIKES)]
    assert found == [0] * (STRIKES - 1) + [7]


def test_a_broker_that_says_why_is_believed_at_once() -> None:
    watch = Suspicion()
    error = PartFailed("too large", reason="too_large")
    assert not watch.lost(error, [(1, 10), (2, 9000)])
    assert watch.careful
    assert watch.lost(error, [(2, 9000)]) == 2
