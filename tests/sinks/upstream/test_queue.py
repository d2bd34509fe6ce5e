"""The upstream queue: order, numbers, ids, transactions, and what is shown of it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

from edge.config.mqtt import CLASSES
from edge.ops.database import Database
from edge.ops.metrics import Metrics, counts_by
from edge.sinks.upstream.outgoing import Totals
from edge.sinks.upstream.queue import TAKE_BYTES
from tests.sinks.conftest import DAY, Clock
from tests.sinks.upstream.parts import Life, living, message, numbers, rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


async def test_messages_leave_by_class_and_then_as_they_came(path: Path, clock: Clock) -> None:
    kinds = [*reversed(CLASSES), *CLASSES]
    async with living(path, clock) as queue:
        await queue.put(*[message(n, kind=kind) for n, kind in enumerate(kinds)])
        taken = await queue.take(100)
        assert [item.kind for item in taken] == [kind for kind in CLASSES for _ in range(2)]
        assert all(
            first.n < second.n for first, second in zip(taken[::2], taken[1::2], strict=True)
        )


async def test_with_newest_first_the_newest_of_a_class_goes_first(path: Path, clock: Clock) -> None:
    async with living(path, clock, order="newest") as queue:
        await queue.put(*[message(n) for n in range(5)])
        assert numbers(await queue.take(2)) == [4, 3]
        await queue.put(message(5))
        assert numbers(await queue.take(9)) == [5, 2, 1, 0]


async def test_numbers_count_each_source_and_class_and_go_on_after_a_restart(
    path: Path, clock: Clock
) -> None:
    async with living(path, clock) as queue:
        await queue.put(message(1), message(2), message(1, "yard"), message(1, kind="event"))
        taken = await queue.take(9)
        assert [(one.kind, one.source, one.seq) for one in taken] == [
            ("result", "gate", 1),
            ("result", "gate", 2),
            ("result", "yard", 1),
            ("event", "gate", 1),
        ]
        await queue.delivered([one.n for one in taken])
    async with living(path, clock) as queue:
        await queue.put(message(3))
        assert [(one.seq, one.n) for one in await queue.take(9)] == [(3, taken[-1].n + 1)]


async def test_what_was_taken_is_not_taken_again_until_it_is_given_back_or_the_box_restarts(
    path: Path, clock: Clock
) -> None:
    async with living(path, clock) as queue:
        await queue.put(*[message(n) for n in range(4)])
        assert numbers(await queue.take(2)) == [0, 1]
        assert numbers(await queue.take(2)) == [2, 3]
        assert await queue.take(2) == []
        await queue.release()
        taken = await queue.take(9)
        assert numbers(taken) == [0, 1, 2, 3]
        await queue.delivered([taken[1].n])
    async with living(path, clock) as queue:
        assert queue.arrived.is_set()
        assert numbers(await queue.take(9)) == [0, 2, 3]


async def test_the_same_id_again_is_nothing_while_it_is_remembered(
    path: Path, clock: Clock
) -> None:
    async with living(path, clock, remember="7d") as queue:
        assert await queue.put(message(1), message(1), message(1, "yard")) == 2
        assert await queue.put(message(1, body={"other": 1})) == 0
        await queue.delivered([one.n for one in await queue.take(9)])
        clock.now += 6 * DAY
        assert await queue.put(message(1)) == 0
        clock.now += 2 * DAY
        assert await queue.put(message(1)) == 1
        assert queue.totals().produced == 3


async def test_an_id_is_not_forgotten_while_its_message_waits(path: Path, clock: Clock) -> None:
    async with living(path, clock, remember="1d") as queue:
        await queue.put(*[message(n) for n in range(200)])
        clock.now += 30 * DAY
        await queue.put(*[message(n) for n in range(200, 500)])
        assert await queue.put(*[message(n) for n in range(200)]) == 0


async def test_old_ids_are_forgotten_a_few_at_a_time(path: Path, clock: Clock) -> None:
    async with living(path, clock, remember="1d") as queue:
        await queue.put(*[message(n) for n in range(1000)])
        await queue.delivered([one.n for one in await queue.take(1000)])
        clock.now += 2 * DAY
        await queue.put(*[message(n) for n in range(1000, 2000)])
    assert rows(path, "SELECT count(*) FROM upstream_known") == [(1000,)]


async def test_a_note_shares_the_fate_of_its_transaction(path: Path, clock: Clock) -> None:
    life = Life(path, clock)
    queue = await life.open()
    note = queue.note(message(1))

    def fails(connection: sqlite3.Connection) -> None:
        note(connection)
        connection.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(sqlite3.OperationalError):
        await life.database.do(fails)
    assert queue.totals() == Totals()
    assert await queue.take(9) == []
    await life.database.do(note)
    assert queue.totals().waiting == 1
    assert [one.seq for one in await queue.take(9)] == [1]
    await life.close()


async def test_large_messages_are_taken_few_at_a_time_and_one_always_comes(
    path: Path, clock: Clock
) -> None:
    big = {"specversion": "1.0", "pad": "x" * (TAKE_BYTES // 2 - 100)}
    huge = {"specversion": "1.0", "pad": "x" * 2 * TAKE_BYTES}
    async with living(path, clock) as queue:
        await queue.put(*[message(n, body=big) for n in range(3)], message(3, body=huge))
        assert [len(await queue.take(9)) for _ in range(4)] == [2, 1, 1, 0]


async def test_only_the_classes_that_are_asked_for_are_taken(path: Path, clock: Clock) -> None:
    async with living(path, clock) as queue:
        await queue.put(message(1), message(2, kind="alarm"), message(3, kind="event"))
        assert numbers(await queue.take(9, ("event", "alarm"))) == [2, 3]
        assert await queue.take(9, ()) == []


async def test_the_payload_is_the_message_with_its_number_and_its_age(
    path: Path, clock: Clock
) -> None:
    text = b'{"specversion":"1.0","data":{"text":"}\\u001e \xc3\xbc"}}\n'
    async with living(path, clock) as queue:
        await queue.put(message(1, body=text), message(2, body={"a": "\x1e", "seq": 99}))
        first, second = await queue.take(9)
        assert json.loads(first.payload(historical=True)) == {
            **json.loads(text),
            "seq": 1,
            "historical": True,
        }
        assert json.loads(second.payload(historical=False)) == {
            "a": "\x1e",
            "seq": 2,
            "historical": False,
        }


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"null", b'{"a":"\x1e"}', {}, {"seq": 1}])
async def test_a_body_that_is_no_object_with_members_is_refused(
    path: Path, clock: Clock, body: object
) -> None:
    async with living(path, clock) as queue:
        with pytest.raises(ValueError, match="expected a JSON object"):
            await queue.put(message(1, body=body))


def test_an_unknown_class_and_a_time_that_is_none_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one of state, alarm"):
        message(1, kind="rumour")
    with pytest.raises(ValueError, match="expected seconds"):
        message(1, at=float("nan"))


async def test_sums_are_metrics_and_outlive_a_restart(path: Path, clock: Clock) -> None:
    life = Life(path, clock)
    queue = await life.open()
    await queue.put(*[message(n) for n in range(5)], message(1, kind="alarm"))
    await queue.delivered([one.n for one in (await queue.take(3))])
    await queue.bury([(await queue.take(1))[0].n], "too_large")
    clock.now += 60
    stats = queue.stats()
    assert (stats.waiting, stats.oldest_seconds) == (3, 60.0)  # with the tombstone
    assert stats.classes["result"].tombstoned == 1
    await life.close()
    again = Life(path, clock)
    queue = await again.open()
    assert counts_by(again.metrics.upstream_messages, "outcome") == {
        "produced": 7,
        "delivered": 3,
        "tombstoned": 1,
    }
    value = again.metrics.registry.get_sample_value
    assert value("edge_upstream_waiting", {"class": "result"}) == 2
    assert value("edge_upstream_bytes", {"class": "alarm"}) == 0
    assert value("edge_upstream_oldest_seconds") == 60
    await again.close()


async def test_who_waits_for_messages_is_told_when_they_are_on_disk(
    path: Path, clock: Clock
) -> None:
    async with living(path, clock) as queue:
        told: list[int] = []
        queue.told.append(lambda: told.append(queue.stats().waiting))
        waiter = asyncio.create_task(queue.arrived.wait(), name="waiter")
        await queue.put(message(1), message(2))
        await asyncio.wait_for(waiter, 5)
        assert told == [2]


async def test_the_bytes_of_a_day_are_remembered_over_a_restart(path: Path, clock: Clock) -> None:
    async with living(path, clock) as queue:
        assert [await queue.spent(), await queue.spent(10), await queue.spent(5)] == [0, 10, 15]
    async with living(path, clock) as queue:
        assert await queue.spent() == 15
        clock.now += DAY
        assert await queue.spent(1) == 1


async def test_a_damaged_queue_counts_what_is_left(path: Path, clock: Clock) -> None:
    async with living(path, clock) as queue:
        await queue.put(*[message(n) for n in range(10)])
        await queue.delivered([one.n for one in await queue.take(4)])
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM upstream WHERE n IN (6, 8)")
        connection.execute("DELETE FROM upstream_line")
        connection.execute("DELETE FROM upstream_known WHERE n > 3")
    connection.close()
    life = Life(path, clock)
    await life.database.open()

    def repair(connection: sqlite3.Connection) -> None:
        from edge.sinks.upstream.mend import mend

        mend(connection)
        life.queue._changed = True

    await life.database.do(repair)
    await life.queue.open()
    found = life.queue.totals()
    assert (found.produced, found.delivered, found.waiting, found.tombstoned) == (10, 4, 4, 2)
    assert await life.queue.put(message(99)) == 1
    taken = await life.queue.take(9)
    assert [one.seq for one in taken] == [5, 7, 9, 10, 11]
    assert taken[-1].n == 11
    await life.close()


async def test_a_queue_begins_in_a_file_that_others_share(tmp_path: Path, clock: Clock) -> None:
    from edge.app.spool import spool_in
    from edge.config.mqtt import UpstreamConfig
    from edge.sinks.upstream.queue import UpstreamQueue

    spool: Database = spool_in(tmp_path)
    queue = UpstreamQueue(spool, UpstreamConfig(), Metrics(), clock=clock)
    await spool.open()
    await queue.open()
    await queue.put(message(1))
    assert numbers(await queue.take(1)) == [1]
    await spool.close()
