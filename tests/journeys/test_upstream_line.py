"""Promise 3 towards a broker: whoever dies, and however the line fails, each message comes once.

``EDGE_KILLS=200`` kills the broker as often as that (CI: 25 times), and the box 30 times.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.journeys.far_reader import FarReader
from tests.journeys.upstream_life import (
    SOURCES,
    TOPICS,
    Upstream,
    batch,
    settings_for,
    upstream,
)
from tests.parts import until
from tests.places import ROOT
from tests.servers.bad_link import BadLink
from tests.servers.mosquitto import Mosquitto, idle_mosquitto

__all__ = ["idle_mosquitto"]

KILLS = int(os.environ.get("EDGE_KILLS", "25"))
A_BATCH = 500
BACKLOG = 5_000 if KILLS <= 25 else 20_000
"""About so many wait."""
MOST_A_LIFE = 1_000_000


@pytest.fixture
def reader(idle_mosquitto: Mosquitto, tmp_path: Path) -> Iterator[FarReader]:
    """A consumer whose session the broker remembers, even after SIGKILL, and the broker."""
    broker = idle_mosquitto
    broker.lines += [
        "persistence true",
        f"persistence_location {tmp_path}/",
        "autosave_interval 0",
        "max_queued_messages 0",
        # all that it has it hands on: what it acknowledged is in the consumer's hands
        "max_inflight_messages 0",
        "set_tcp_nodelay true",
    ]
    broker.start()
    consumer = FarReader(broker.host, broker.port, f"{TOPICS.base}/#", tmp_path / "came")
    consumer.start()
    broker.save()
    yield consumer
    consumer.stop()


def check(reader: FarReader, produced: int) -> None:
    """Each came, and with its ids thrown away that came before, once and in its order."""
    reader.wait_for(produced)
    assert len(reader.ids) == produced
    assert reader.faults() == {}
    assert sum(len(found) for found in reader.seqs.values()) == produced
    assert {source for _, source in reader.seqs} == set(SOURCES)
    assert not reader.losses


async def produce(life: Upstream, stop: asyncio.Event) -> int:
    """Put results into the queue, so that some always wait; return how many."""
    number = 0
    while not stop.is_set():
        await life.queue.put(*batch(number, A_BATCH, time.time()))
        number += A_BATCH
        await until(lambda: life.queue.stats().waiting < BACKLOG or stop.is_set())
    return number


def revive(broker: Mosquitto, line: BadLink, life: Upstream, after: float) -> int:
    """Kill the broker at a moment that the box does not know; start it behind a shut door.

    Returns how many messages were under way.
    """
    time.sleep(after)
    under_way = life.link.status().in_flight
    line.down = True
    broker.stop(signal.SIGKILL)
    broker.start()
    return under_way


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_broker_that_is_killed_while_the_queue_drains_gets_every_message(
    idle_mosquitto: Mosquitto, reader: FarReader, tmp_path: Path
) -> None:
    broker, chance, stop = idle_mosquitto, random.Random(KILLS), asyncio.Event()
    under_way: list[int] = []
    async with (
        BadLink(broker.host, broker.port, down=True) as line,
        upstream(tmp_path / "spool.db", settings_for(line.port)) as life,
    ):
        producing = asyncio.create_task(produce(life, stop), name="produce")
        await until(lambda: life.queue.stats().waiting >= BACKLOG // 2)
        line.down = False
        for _ in range(KILLS):
            life.link.hurry()
            await life.link.room()
            after = chance.uniform(0, 0.12)
            under_way.append(await asyncio.to_thread(revive, broker, line, life, after))
            # a broker forgets what it acknowledged while nobody listened: that is not tried here
            await asyncio.to_thread(reader.wait_up)
            line.down = False
        stop.set()
        produced = await producing
        await life.empty(180)
        totals = life.queue.totals()
    assert totals.produced == totals.delivered == produced
    await asyncio.to_thread(check, reader, produced)
    print(f"{KILLS} kills, {produced} messages, {reader.twice} came again")
    assert sum(map(bool, under_way)) > KILLS / 4, "few kills came in mid-stream"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_box_that_is_killed_while_it_sends_loses_nothing_and_repeats_no_number(
    idle_mosquitto: Mosquitto, reader: FarReader, tmp_path: Path
) -> None:
    spool, chance = tmp_path / "spool.db", random.Random(KILLS)
    firsts = range(0, max(6, KILLS * 15 // 100) * MOST_A_LIFE, MOST_A_LIFE)
    accepted = [one_life(spool, idle_mosquitto.port, first, chance) for first in firsts]
    produced = asyncio.run(drained(spool, idle_mosquitto.port))
    check(reader, produced)
    # what was put when it was killed may be on disk all the same
    sure = {str(number) for numbers in accepted for number in numbers}
    assert sure <= set(reader.ids)
    assert produced - len(sure) <= len(accepted) * A_BATCH
    print(f"{len(accepted)} kills, {produced} messages, {reader.twice} came again")


def one_life(spool: Path, port: int, first: int, chance: random.Random) -> range:
    """Return the numbers that were acknowledged, at least."""
    command = [sys.executable, "-m", "tests.journeys.upstream_life", str(spool), str(port)]
    with subprocess.Popen(
        [*command, str(first), str(A_BATCH)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as box:
        assert box.stdout
        reached = int(box.stdout.readline())
        time.sleep(chance.uniform(0, 0.3))
        box.kill()
        with suppress(ValueError):
            for line in box.stdout:
                reached = int(line)
    return range(first, reached)


async def drained(spool: Path, port: int) -> int:
    async with upstream(spool, settings_for(port)) as life:
        await life.empty(180)
        totals = life.queue.totals()
    assert totals.produced == totals.delivered
    return totals.produced
