"""What gives way when there is no room, and how that is said."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from edge.messages.published import TOMBSTONE
from edge.sinks.upstream.quota import AT_ONCE
from tests.sinks.conftest import DAY, Clock, fill
from tests.sinks.upstream.parts import ORIGIN, living, losses, message, numbers, rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


async def test_the_oldest_of_the_least_urgent_gives_way(path: Path, clock: Clock) -> None:
    async with living(path, clock, max_items=6) as queue:
        await queue.put(message(1, kind="alarm"), *[message(n, kind="event") for n in (2, 3)])
        await queue.put(*[message(n) for n in range(4, 10)])
        taken = await queue.take(99)
        alarms, results = (
            [t for t in taken if t.kind == "alarm"],
            [t for t in taken if t.kind == "result"],
        )
        assert numbers(alarms) == [1]
        assert numbers(results) == [7, 8, 9]
        said = {(one["class"], one["reason"]): one for one in losses(taken)}
        assert said["event", "items"]["count"] == 2
        assert said["result", "items"]["from_seq"] == 1
        assert said["result", "items"]["to_seq"] == 3
        assert queue.stats().waiting == 6


async def test_a_tombstone_says_what_is_lost_in_its_published_form(
    path: Path, clock: Clock
) -> None:
    async with living(path, clock, max_items=5) as queue:
        await queue.put(*[message(n) for n in range(12)])
        tombstone = next(one for one in await queue.take(99) if one.kind == "loss")
        event = json.loads(tombstone.body)
        jsonschema.validate(event, TOMBSTONE.schema())
        assert event["source"] == f"{ORIGIN}/gate"
        size = sum(len(message(n).json()) for n in range(8))
        assert event["data"] == {
            "source": "gate",
            "class": "result",
            "from_seq": 1,
            "to_seq": 8,
            "count": 8,
            "bytes": size,
            "reason": "items",
            "since": "2027-01-15T08:00:00.000Z",
            "until": "2027-01-15T08:00:07.000Z",
        }


async def test_a_tombstone_grows_until_it_is_taken_and_then_another_begins(
    path: Path, clock: Clock
) -> None:
    async with living(path, clock, max_items=4) as queue:
        await queue.put(*[message(n) for n in range(8)])
        first = [one for one in await queue.take(1) if one.kind == "loss"]
        await queue.put(*[message(n) for n in range(8, 12)])
        second = [one for one in await queue.take(99) if one.kind == "loss"]
        (one,), (other,) = losses(first), losses(second)
        assert one["to_seq"] + 1 == other["from_seq"]
        assert json.loads(first[0].body)["id"] != json.loads(second[0].body)["id"]
        total = queue.stats().classes["result"]
        assert one["count"] + other["count"] == total.tombstoned
        assert total.produced == total.tombstoned + total.waiting


async def test_what_was_taken_and_may_have_been_sent_does_not_give_way(
    path: Path, clock: Clock
) -> None:
    async with living(path, clock, max_items=4) as queue:
        await queue.put(*[message(n) for n in range(4)])
        sent = await queue.take(2)
        await queue.release([one.n for one in sent])
        await queue.put(message(4))
    # the life ends here: it is not known whether the broker has them
    async with living(path, clock, max_items=4) as queue:
        await queue.put(message(5))
        taken = [one for one in await queue.take(99) if one.kind == "result"]
        assert numbers(taken)[:2] == [0, 1]


async def test_what_was_taken_and_not_sent_gives_way_again(path: Path, clock: Clock) -> None:
    async with living(path, clock, max_items=4) as queue:
        await queue.put(*[message(n) for n in range(4)])
        await queue.take(4)
        await queue.release()
        await queue.put(*[message(n) for n in range(4, 10)])
        assert numbers([one for one in await queue.take(99) if one.kind == "result"]) == [7, 8, 9]


async def test_bytes_are_a_limit_too(path: Path, clock: Clock) -> None:
    body = {"pad": "x" * 1000, "data": {"n": 0}}
    async with living(path, clock, max_bytes=10_000) as queue:
        for n in range(50):
            await queue.put(message(n, body={**body, "data": {"n": n}}))
            assert queue.stats().waiting_bytes <= 10_000
        (loss, *rest) = await queue.take(99)
        assert numbers(rest)[-1] == 49
        assert losses([loss])[0]["reason"] == "bytes"
        assert losses([loss])[0]["count"] == 50 - len(rest)


async def test_a_message_that_is_larger_than_all_the_room_pushes_nobody_out(
    path: Path, clock: Clock
) -> None:
    async with living(path, clock, max_bytes=10_000) as queue:
        await queue.put(*[message(n) for n in range(5)])
        assert await queue.put(message(5, body={"pad": "x" * 20_000, "data": {"n": 5}})) == 1
        taken = await queue.take(99)
        assert numbers(taken[1:]) == [0, 1, 2, 3, 4]
        assert losses(taken)[0]["reason"] == "too_large"


async def test_what_waited_too_long_gives_way_whatever_its_class(path: Path, clock: Clock) -> None:
    async with living(path, clock, max_age="2d") as queue:
        await queue.put(*[message(n) for n in range(2 * AT_ONCE)], message(1, kind="state"))
        clock.now += DAY
        await queue.put(message(9999))
        await queue.tidy()
        assert queue.totals().tombstoned == 0
        clock.now += 1.5 * DAY
        await queue.tidy()
        taken = await queue.take(99)
        assert numbers([one for one in taken if one.kind == "result"]) == [9999]
        assert {one["class"]: one["count"] for one in losses(taken)} == {
            "result": 2 * AT_ONCE,
            "state": 1,
        }
        clock.now += 30 * DAY
        await queue.tidy()
        assert queue.stats().classes["loss"].waiting == 2


async def test_tombstones_stay_few_and_the_queue_keeps_to_its_limits_without_end(
    path: Path, clock: Clock
) -> None:
    kinds = ["result", "event", "receipt"]
    async with living(path, clock, max_items=100) as queue:
        for start in range(0, 3000, 200):
            await queue.put(
                *[message(n, f"cam{n % 3}", kinds[n % 2]) for n in range(start, start + 200)]
            )
        totals = queue.stats().classes
        assert queue.stats().waiting <= 100
        assert totals["loss"].waiting <= 6
        lost = sum(one["count"] for one in losses(await queue.take(999)))
        assert lost == totals["result"].tombstoned + totals["event"].tombstoned


async def test_an_urgent_message_takes_the_place_of_a_result(path: Path, clock: Clock) -> None:
    async with living(path, clock, max_items=10) as queue:
        await queue.put(*[message(n) for n in range(10)])
        await queue.put(*[message(n, kind="alarm") for n in range(12)])
        taken = await queue.take(99)
        # all results gave way, then the oldest alarms
        assert {one.kind for one in taken} == {"alarm", "loss"}
        assert numbers([one for one in taken if one.kind == "alarm"])[-1] == 11


async def test_where_the_disk_is_short_the_queue_grows_no_more(
    small_disk: Callable[[int], Path], clock: Clock
) -> None:
    disk = small_disk(64)
    pad = "x" * 10_000
    async with living(disk / "spool.db", clock, keep_free="40MiB") as queue:
        await queue.put(*[message(n, body={"pad": pad, "data": {"n": n}}) for n in range(100)])
        before = queue.stats().waiting_bytes
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(40 * 2**20))
        for n in range(100, 200):
            await queue.put(message(n, body={"pad": pad, "data": {"n": n}}))
        stats = queue.stats()
        assert stats.waiting_bytes <= before + 2000
        assert stats.classes["result"].tombstoned == 100
        # others who fill the disk do not empty the queue
        assert stats.classes["result"].waiting == 100
        ballast.unlink()
        await queue.put(message(200, body={"pad": pad, "data": {"n": 200}}))
        assert queue.stats().classes["result"].waiting == 101


async def test_on_a_full_disk_nothing_is_taken_and_nothing_is_lost(
    small_disk: Callable[[int], Path], clock: Clock
) -> None:
    from edge.errors import TryLater

    disk = small_disk(8)
    async with living(disk / "spool.db", clock, keep_free="0B") as queue:
        await queue.put(*[message(n) for n in range(100)])
        ballast = fill(disk)
        kept = 100
        with contextlib.suppress(TryLater):
            while kept < 5000:
                await queue.put(message(kept, body={"pad": "x" * 3000, "data": {"n": kept}}))
                kept += 1
        assert kept < 5000
        ballast.unlink()
        assert len(await queue.take(9999)) == kept
        assert queue.totals().produced == kept


async def test_many_messages_slow_nothing_down(path: Path, clock: Clock) -> None:
    """Nothing is counted or searched: what comes last goes in as fast as the first."""
    async with living(path, clock, max_items=30_000) as queue:
        times = []
        for start in range(0, 40_000, 1000):
            batch = [message(n, f"cam{n % 4}") for n in range(start, start + 1000)]
            began = time.process_time()
            await queue.put(*batch)
            times.append(time.process_time() - began)
        assert sorted(times[-9:])[4] < 3 * sorted(times[2:11])[4]
        began = time.process_time()
        assert len(await queue.take(1000)) == 1000
        assert time.process_time() - began < 0.5
    ((most,),) = rows(path, "SELECT count(*) FROM upstream")
    assert most <= 30_000
