"""A disk that fills up, and a process that is killed: real ones."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.config.store import OutboxConfig
from edge.errors import PartFailed, TryLater
from edge.ops.metrics import Metrics
from edge.sinks.forward import Forwarder
from tests.parts import MemoryStore, make_parcel, outbox_at
from tests.places import ROOT
from tests.sinks.conftest import fill
from tests.sinks.test_outbox import read_all, set_aside

BODY = bytes(range(256)) * 2000


async def test_a_full_disk_refuses_and_loses_nothing(
    small_disk: Callable[[int], Path], metrics: Metrics
) -> None:
    box = outbox_at(small_disk(48) / "o.db", OutboxConfig(), metrics)
    await box.open()
    kept = 0

    async def put_until_full() -> None:
        nonlocal kept
        for kept in range(1000):
            await box.put(make_parcel(kept, body=BODY))

    with pytest.raises(TryLater) as full:
        await put_until_full()
    assert full.value.reason == "disk_full"
    assert full.value.after
    assert full.value.hint
    assert kept > 20
    taken = await read_all(box)  # deliveries can be noted, though the disk is full
    assert [waiting.parcel for waiting in taken] == [
        make_parcel(number, body=BODY) for number in range(kept)
    ]
    assert await box.put(make_parcel(2000, body=BODY))
    await box.close()


async def test_it_works_again_once_others_have_freed_the_disk(
    small_disk: Callable[[int], Path], metrics: Metrics
) -> None:
    disk = small_disk(64)
    box = outbox_at(disk / "o.db", OutboxConfig(), metrics)
    await box.open()
    for number in range(40):
        await box.put(make_parcel(number, body=BODY))
    for head in await read_all(box):
        await box.passed(head.seq)
    await box.put(make_parcel(50))
    ballast = fill(disk)
    # there is room inside the file, so that this one reaches SQLite, whose log finds no room
    with pytest.raises(TryLater) as full:
        await box.put(make_parcel(51, body=BODY * 36))
    assert full.value.reason == "disk_full"
    assert "disk" in str(full.value)
    assert [waiting.parcel for waiting in await box.heads(2)] == [make_parcel(50)]
    ballast.unlink()
    assert await box.put(make_parcel(51, body=BODY * 36))
    assert len(await read_all(box)) == 2
    await box.close()


async def test_an_outbox_on_a_full_disk_says_so_when_it_is_opened(
    small_disk: Callable[[int], Path], metrics: Metrics
) -> None:
    disk = small_disk(2)
    ballast = fill(disk)
    box = outbox_at(disk / "box" / "o.db", OutboxConfig(), metrics)
    with pytest.raises(PartFailed) as full:
        await box.open()
    assert full.value.hint
    ballast.unlink()
    await box.open()
    with pytest.raises(TryLater):  # less than what is kept free
        await box.put(make_parcel())
    await box.close()


async def test_a_person_who_locks_the_file_delays_and_breaks_nothing(
    tmp_path: Path, metrics: Metrics
) -> None:
    box = outbox_at(tmp_path / "o.db", OutboxConfig(), metrics)
    await box.open()
    person = sqlite3.connect(tmp_path / "o.db", isolation_level=None)
    person.execute("BEGIN IMMEDIATE")
    tries = [box.put(make_parcel(number)) for number in range(5)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert {answer.reason for answer in answers if isinstance(answer, TryLater)} == {"busy"}
    forwarder = Forwarder(box, MemoryStore(), OutboxConfig(), metrics)
    with pytest.raises(PartFailed):
        await forwarder.run(lambda: None)
    person.execute("ROLLBACK")
    person.close()
    assert await box.put(make_parcel())
    await box.close()


async def test_kill_9_at_random_moments_loses_nothing_acknowledged(
    tmp_path: Path, metrics: Metrics
) -> None:
    path = tmp_path / "o.db"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.sinks.lives", str(path), "20",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await child.communicate()
    assert child.returncode == 0
    acknowledged: list[list[int]] = json.loads(output)
    assert len(acknowledged) == 20
    assert sum(map(len, acknowledged)) > 100

    box = outbox_at(path, OutboxConfig(), metrics)
    await box.open()
    taken = [waiting.parcel for waiting in await read_all(box)]
    await box.close()
    assert not set_aside(tmp_path)
    numbers = [int(parcel.key.rpartition("/")[2][:-4]) for parcel in taken]
    assert set(numbers) >= {number for life in acknowledged for number in life}
    assert len(numbers) == len(set(numbers))
    for parcel in taken:
        assert hashlib.sha256(parcel.body).hexdigest() == parcel.message["sha256"]
