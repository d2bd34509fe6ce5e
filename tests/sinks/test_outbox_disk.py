"""A disk that fills up, and a process that is killed: real ones."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.config.store import OutboxConfig
from edge.errors import TryLater
from edge.ops.metrics import Metrics
from edge.sinks.outbox import Outbox
from tests.parts import make_parcel
from tests.places import ROOT
from tests.sinks.conftest import fill
from tests.sinks.test_outbox import read_all, set_aside

BODY = bytes(range(256)) * 2000


async def test_a_full_disk_refuses_and_loses_nothing(
    small_disk: Callable[[int], Path], metrics: Metrics
) -> None:
    box = Outbox(small_disk(48) / "o.db", OutboxConfig(), metrics)
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
    box = Outbox(disk / "o.db", OutboxConfig(), metrics)
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

    box = Outbox(path, OutboxConfig(), metrics)
    await box.open()
    taken = [waiting.parcel for waiting in await read_all(box)]
    await box.close()
    assert not set_aside(tmp_path)
    numbers = [int(parcel.key.rpartition("/")[2][:-4]) for parcel in taken]
    assert set(numbers) >= {number for life in acknowledged for number in life}
    assert len(numbers) == len(set(numbers))
    for parcel in taken:
        assert hashlib.sha256(parcel.body).hexdigest() == parcel.message["sha256"]
