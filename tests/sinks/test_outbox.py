from __future__ import annotations

import asyncio
import random
import sqlite3
import stat
import struct
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from edge.config.store import OutboxConfig
from edge.errors import Fatal, PartFailed, TryLater
from edge.ops.database_file import CHECK_BYTES, WAL_BYTES
from edge.ops.metrics import Metrics
from edge.ops.repair import MARK
from edge.sinks.outbox import Outbox, Waiting
from edge.sinks.outbox_mend import mend
from tests.parts import make_parcel, outbox_at
from tests.sinks.conftest import DAY, Clock


async def put_many(box: Outbox, numbers: range, source: str = "gate") -> None:
    await asyncio.gather(*(box.put(make_parcel(number, source)) for number in numbers))


async def read_all(box: Outbox) -> list[Waiting]:
    """Take out everything, in the order of delivery."""
    taken = []
    while heads := await box.heads(10):
        taken += heads
        await asyncio.gather(*(box.passed(head.seq) for head in heads))
    return taken


async def test_a_parcel_is_put_once(outbox: Outbox) -> None:
    assert await outbox.put(make_parcel())
    assert not await outbox.put(make_parcel())
    assert outbox.stats().waiting == 1


async def test_a_parcel_reads_back_as_it_was_put(outbox: Outbox) -> None:
    parcel = make_parcel(
        taken_at=datetime(2026, 3, 29, 1, 59, 59, 1, timezone(timedelta(hours=5, minutes=45))),
        source="Tor Süd",
        body=bytes(range(256)) * 999,
        message={"id": "é", "data": {"people": [1.5, None, True]}},
        receipt={"sha256": "00"},
    )
    await outbox.put(parcel)
    (head,) = await outbox.heads(1)
    assert head.parcel == parcel
    assert head.parcel.taken_at.utcoffset() == timedelta(hours=5, minutes=45)


async def test_a_delivered_parcel_is_known_and_not_put_again(outbox: Outbox) -> None:
    assert not await outbox.knows("gate/1")
    await outbox.put(make_parcel())
    assert await outbox.knows("gate/1")
    (head,) = await outbox.heads(1)
    await outbox.passed(head.seq)
    await outbox.passed(head.seq)  # again: nothing
    assert await outbox.knows("gate/1")
    assert not await outbox.put(make_parcel())
    assert outbox.stats().waiting == 0


async def test_one_event_under_two_policies_is_two_parcels(outbox: Outbox) -> None:
    assert await outbox.put(make_parcel(id="gate/1/p1"))
    assert await outbox.put(make_parcel(id="gate/1/p2"))


async def test_delivered_events_are_forgotten_after_the_retention(
    outbox: Outbox, clock: Clock
) -> None:
    await put_many(outbox, range(1, 5))
    await read_all(outbox)
    clock.now += 6.9 * DAY
    assert await outbox.knows("gate/1")
    clock.now += 0.2 * DAY
    assert not await outbox.knows("gate/1")
    assert await outbox.put(make_parcel(1))
    await put_many(outbox, range(10, 12))
    await read_all(outbox)

    def rows(connection: sqlite3.Connection) -> Any:
        return connection.execute("SELECT count(*) FROM known").fetchone()[0]

    assert await outbox._database.do(rows) == 3  # the old ones made room as the new ones came


async def test_heads_are_the_oldest_of_each_source_in_order(outbox: Outbox) -> None:
    for source, number in (("b", 1), ("a", 1), ("b", 2), ("c", 1), ("a", 2)):
        await outbox.put(make_parcel(number, source))
    heads = await outbox.heads(9)
    assert [head.parcel.key[:1] for head in heads] == ["b", "a", "c"]
    assert all(head.parcel.key.endswith("000001.jpg") for head in heads)
    assert [head.parcel.source for head in await outbox.heads(1, skip={"b"})] == ["a"]


async def test_a_dead_parcel_is_kept_aside_and_not_put_again(outbox: Outbox) -> None:
    await put_many(outbox, range(1, 3))
    (head,) = await outbox.heads(1)
    await outbox.dead(head.seq, "store_refused: too long")
    assert [head.parcel for head in await outbox.heads(9)] == [make_parcel(2)]
    assert not await outbox.put(make_parcel(1))
    assert await outbox.knows("gate/1")
    stats = outbox.stats()
    assert (stats.waiting, stats.dead, stats.dead_bytes > 0) == (1, 1, True)

    def kept(connection: sqlite3.Connection) -> Any:
        return connection.execute("SELECT error, body FROM dead").fetchall()

    assert await outbox._database.do(kept) == [("store_refused: too long", make_parcel(1).body)]


async def test_a_miss_is_counted_and_keeps_the_place(outbox: Outbox) -> None:
    await put_many(outbox, range(1, 3))
    (head,) = await outbox.heads(1)
    await outbox.missed(head.seq, "met a bug")
    (again,) = await outbox.heads(1)
    assert (again.seq, again.tries) == (head.seq, 1)


async def test_stats_and_metrics_say_how_full_it_is(
    outbox: Outbox, metrics: Metrics, clock: Clock
) -> None:
    assert outbox.stats().oldest_seconds == 0
    await outbox.put(make_parcel(1))
    clock.now += 60
    await outbox.put(make_parcel(2))
    stats = outbox.stats()
    assert (stats.waiting, stats.oldest_seconds) == (2, 60)
    assert stats.waiting_bytes > len(make_parcel(1).body) * 2
    sample = metrics.registry.get_sample_value
    assert sample("edge_outbox_parcels") == 2
    assert sample("edge_outbox_bytes") == stats.waiting_bytes
    assert sample("edge_outbox_oldest_seconds") == 60
    await read_all(outbox)
    assert sample("edge_outbox_parcels") == sample("edge_outbox_oldest_seconds") == 0


async def test_a_full_outbox_says_so_and_takes_again_when_it_has_room(
    tmp_path: Path, metrics: Metrics
) -> None:
    box = outbox_at(tmp_path / "o.db", OutboxConfig(max_bytes=100_000), metrics)
    await box.open()
    body = bytes(30_000)
    for number in range(3):
        await box.put(make_parcel(number, body=body))
    with pytest.raises(TryLater) as full:
        await box.put(make_parcel(3, body=body))
    assert full.value.reason == "outbox_full"
    assert full.value.after
    assert full.value.hint
    assert not await box.put(make_parcel(0, body=body))  # known ones need no room
    (head,) = await box.heads(1)
    await box.passed(head.seq)
    assert await box.put(make_parcel(3, body=body))
    await box.close()


async def test_a_refused_parcel_does_not_spoil_those_that_share_its_commit(
    tmp_path: Path, metrics: Metrics
) -> None:
    box = outbox_at(tmp_path / "o.db", OutboxConfig(max_bytes=100_000), metrics)
    await box.open()
    sizes = (1000, 200_000, 1000, 200_000, 1000)
    answers = await asyncio.gather(
        *(box.put(make_parcel(n, body=bytes(size))) for n, size in enumerate(sizes)),
        return_exceptions=True,
    )
    assert [answer is True for answer in answers] == [size == 1000 for size in sizes]
    assert box.stats().waiting == 3
    await box.close()


async def test_a_parcel_that_is_no_json_is_a_bug_of_its_own_only(outbox: Outbox) -> None:
    bad = outbox.put(make_parcel(1, message={"x": {1, 2}}))
    answers = await asyncio.gather(bad, outbox.put(make_parcel(2)), return_exceptions=True)
    assert isinstance(answers[0], TypeError)
    assert answers[1] is True


async def test_puts_that_arrive_together_share_a_commit(outbox: Outbox, tmp_path: Path) -> None:
    before = commits(tmp_path / "box" / "outbox.db-wal")
    await put_many(outbox, range(200))
    assert 1 <= commits(tmp_path / "box" / "outbox.db-wal") - before <= 5


def commits(log: Path) -> int:
    """Count commit frames in a write-ahead log (https://www.sqlite.org/fileformat2.html#walformat)."""
    content = log.read_bytes()
    (page,) = struct.unpack(">I", content[8:12])
    frames = range(32, len(content), 24 + page)
    return sum(struct.unpack(">I", content[at + 4 : at + 8])[0] > 0 for at in frames)


async def test_what_waits_survives_a_restart_in_order(tmp_path: Path, metrics: Metrics) -> None:
    path = tmp_path / "o.db"
    box = outbox_at(path, OutboxConfig(), metrics)
    await box.open()
    await put_many(box, range(30))
    last = (await read_all(box))[-1].seq
    await put_many(box, range(30, 60))
    await box.close()
    again = outbox_at(path, OutboxConfig(), metrics)
    await again.open()
    assert again.arrived.is_set()
    assert again.stats().waiting == 30
    taken = await read_all(again)
    assert [waiting.parcel for waiting in taken] == [make_parcel(n) for n in range(30, 60)]
    assert taken[0].seq > last
    await again.put(make_parcel(60))
    (head,) = await again.heads(1)
    assert head.seq > taken[-1].seq  # a number is never used twice, though the table was empty
    await again.close()


async def test_a_cancelled_put_leaves_the_sums_right(outbox: Outbox) -> None:
    tasks = [asyncio.create_task(outbox.put(make_parcel(n)), name=f"put {n}") for n in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert outbox.stats().waiting == len(await read_all(outbox))


async def test_a_random_walk_agrees_with_a_list(tmp_path: Path, metrics: Metrics) -> None:
    chance = random.Random(20260304)
    box = outbox_at(tmp_path / "o.db", OutboxConfig(), metrics)
    await box.open()
    model: list[tuple[int, str]] = []
    ever: set[tuple[int, str]] = set()
    for step in range(600):
        what = chance.random()
        if what < 0.5:
            name = (chance.randrange(200), chance.choice("abc"))
            assert await box.put(make_parcel(*name)) == (name not in ever)
            model += [] if name in ever else [name]
            ever.add(name)
        elif what < 0.97:
            firsts: dict[str, tuple[int, str]] = {}
            for name in model:
                firsts.setdefault(name[1], name)
            heads = await box.heads(9)
            assert [head.parcel for head in heads] == [make_parcel(*n) for n in firsts.values()]
            if heads:
                head = chance.choice(heads)
                name = next(n for n in firsts.values() if n[1] == head.parcel.source)
                model.remove(name)
                await (box.passed(head.seq) if step % 3 else box.dead(head.seq, "odd"))
        else:
            await box.close()
            box = outbox_at(tmp_path / "o.db", OutboxConfig(), metrics)
            await box.open()
        assert box.stats().waiting == len(model)
    await box.close()


async def test_the_space_of_delivered_parcels_is_used_again(outbox: Outbox, tmp_path: Path) -> None:
    file = tmp_path / "box" / "outbox.db"
    after_first, seq = 0, 1
    for start in range(0, 10_000, 200):
        await put_many(outbox, range(start, start + 200))
        assert (await outbox.heads(1))[0].seq == seq
        await asyncio.gather(*(outbox.passed(number) for number in range(seq, seq + 200)))
        seq += 200
        after_first = after_first or file.stat().st_size
    assert outbox.stats().waiting == 0
    # what grows is the memory of delivered ids; the log is used from its start again and again
    assert file.stat().st_size - after_first < 10_000 * 120
    assert file.with_name("outbox.db-wal").stat().st_size < 2 * WAL_BYTES


async def test_only_its_owner_can_read_the_outbox(outbox: Outbox, tmp_path: Path) -> None:
    await outbox.put(make_parcel())
    directory = tmp_path / "box"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}
    assert set(modes.values()) == {0o600}, modes


async def test_a_second_outbox_on_the_same_file_is_refused(outbox: Outbox, tmp_path: Path) -> None:
    second = outbox_at(tmp_path / "box" / "outbox.db", OutboxConfig(), Metrics())
    with pytest.raises(Fatal, match="in use") as refused:
        await second.open()
    assert refused.value.hint
    assert await outbox.put(make_parcel())
    await second.close()


async def test_an_outbox_of_a_newer_edge_is_not_touched(outbox: Outbox, tmp_path: Path) -> None:
    await outbox.put(make_parcel())

    def newer(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA user_version=99")
        connection.execute(f"PRAGMA application_id={MARK + 99}")

    await outbox._database.do(newer)
    await outbox.close()
    again = outbox_at(tmp_path / "box" / "outbox.db", OutboxConfig(), Metrics())
    with pytest.raises(Fatal, match="newer Edge"):
        await again.open()
    await again.close()


def set_aside(directory: Path) -> list[Path]:
    return list(directory.glob("*.damaged-*"))


@pytest.mark.parametrize(("where", "kept"), [("header", 300), ("middle", 60), ("cut", 60)])
async def test_a_damaged_outbox_is_set_aside_and_what_can_be_read_of_it_goes_on(
    tmp_path: Path, metrics: Metrics, where: str, kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "o.db"
    box = outbox_at(path, OutboxConfig(), metrics)
    await box.open()
    await put_many(box, range(300))
    await box.close()
    content = bytearray(path.read_bytes())
    if where == "header":
        content[:100] = b"\xa5" * 100
    elif where == "middle":
        content[len(content) // 2 :] = b"\xa5" * (len(content) - len(content) // 2)
    else:
        del content[len(content) // 2 :]
    path.write_bytes(content)

    again = outbox_at(path, OutboxConfig(), metrics, mend=mend)
    await again.open()
    assert kept <= again.stats().waiting <= 300
    assert not await again.put(make_parcel(1))
    assert await again.put(make_parcel(301))
    await again.close()
    (aside,) = set_aside(tmp_path)
    assert (aside / "o.db").read_bytes() == content
    assert "damaged" in caplog.text


async def test_a_repair_that_never_came_back_is_not_tried_again(
    tmp_path: Path, metrics: Metrics
) -> None:
    path = tmp_path / "o.db"
    path.write_bytes(b"\xa5" * 100_000)
    (tmp_path / "o.db.repairing").touch()
    box = outbox_at(path, OutboxConfig(), metrics)
    await box.open()
    assert await box.put(make_parcel(1))
    assert box.stats().waiting == 1
    await box.close()
    (aside,) = set_aside(tmp_path)
    assert aside.is_file()
    assert not (tmp_path / "o.db.repairing").exists()


async def test_damage_in_a_large_outbox_is_found_when_it_is_met_and_mended_by_a_restart(
    tmp_path: Path, metrics: Metrics
) -> None:
    path = tmp_path / "o.db"
    box = outbox_at(path, OutboxConfig(), metrics)
    await box.open()
    for number in range(70):
        await box.put(make_parcel(number, body=bytes(2**20)))
    await box.close()
    size = path.stat().st_size
    assert size > CHECK_BYTES
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xa5" * (size - size // 2))

    box = outbox_at(path, OutboxConfig(), metrics)
    await box.open()
    with pytest.raises(PartFailed, match="damaged"):
        await read_all(box)
    await box.close()
    box = outbox_at(path, OutboxConfig(), metrics, mend=mend)
    await box.open()
    assert box.stats().waiting  # those that were read were delivered
    assert await box.put(make_parcel(71))
    await box.close()
    assert set_aside(tmp_path)


async def test_a_picture_that_waits_is_found_by_its_key_until_it_is_delivered(
    outbox: Outbox,
) -> None:
    await put_many(outbox, range(3))
    wanted = make_parcel(1)
    assert await outbox.picture(wanted.key) == wanted.body
    assert await outbox.picture("gate/nowhere.jpg") is None
    await read_all(outbox)
    assert await outbox.picture(wanted.key) is None
