"""Put parcels into an outbox and be killed while doing so: ``python -m tests.sinks.lives DB N``.

Prints, as JSON, the numbers that were acknowledged in each of N lives. Each life is a forked child
that is killed with SIGKILL at a random moment after its first acknowledgement.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from edge.config.store import OutboxConfig
from edge.ops.metrics import Metrics
from tests.parts import make_parcel, outbox_at


async def live(path: Path, first: int, acknowledge: int) -> None:
    box = outbox_at(path, OutboxConfig(), Metrics())
    await box.open()
    numbers = iter(range(first, first + 100_000))

    async def put() -> None:
        for number in numbers:
            await box.put(make_parcel(number, f"cam{number % 3}", bytes(3000 * (number % 20) + 1)))
            os.write(acknowledge, f"{number}\n".encode())

    await asyncio.gather(put(), put(), put(), put())


def one_life(path: Path, first: int, chance: random.Random) -> list[int]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        asyncio.run(live(path, first, writer))
    os.close(writer)
    with os.fdopen(reader) as lines:
        numbers = [int(lines.readline())]
        time.sleep(chance.uniform(0, 0.06))
        os.kill(child, signal.SIGKILL)
        numbers += [int(line) for line in lines]
    os.waitpid(child, 0)
    return numbers


def main() -> None:
    chance = random.Random(9)
    path, lives = Path(sys.argv[1]), int(sys.argv[2])
    print(json.dumps([one_life(path, life * 100_000, chance) for life in range(lives)]))


main()
