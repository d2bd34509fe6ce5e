"""Work a journal and be killed while doing so: ``python -m tests.bus.journal_lives DB LIVES``.

Prints, as JSON, what was answered before SIGKILL: numbers that were accepted, ended and replied to.
Each life is a forked child that is killed at a random moment after its first answer. What it is
sent holds duplicates, of this life and of earlier ones.
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

from edge.bus.journal import Due, Journal
from edge.traffic import LetterQuery
from tests.bus.parts_journal import arrival, attempt, journal_at, reply

KEYS = 5


class Life:
    """One life: what it does, and how it says what was answered."""

    def __init__(self, journal: Journal, first: int, say: int) -> None:
        self.journal, self.first, self.say = journal, first, say
        self.numbers = iter(range(first, first + 100_000))
        self.under_way: set[int] = set()

    def tell(self, what: str, name: str) -> None:
        os.write(self.say, f"{what} {name}\n".encode())

    async def bring(self) -> None:
        for number in self.numbers:
            again = max(0, number - number % 7 * 1000)  # a duplicate, now and then of an old life
            targets = ["work", "other"] if number % 3 else ["work"]
            key = f"k{number % KEYS}" if number % 2 else ""
            batch = [
                arrival(one, *targets, key=key, data=bytes(100 * (one % 20)))
                for one in dict.fromkeys((number, again))
            ]
            await self.journal.accept(batch)
            for one in batch:
                self.tell("accepted", one.event.id)

    async def work(self, trigger: str) -> None:
        while True:
            found = await self.journal.due(trigger, 3, self.under_way)
            self.under_way |= {due.seq for due in found}
            for due in found:
                await self.finish(due)
                self.under_way.discard(due.seq)

    async def finish(self, due: Due) -> None:
        kind = due.seq % 11
        if kind == 0:
            await self.journal.dead(due, attempt("bad"), "", "rejected", "no")
            self.tell("dead", f"{due.trigger} {due.event.id}")
        elif kind == 1 and not due.tries:
            await self.journal.failed(due, attempt("busy"), 0)
        else:
            name = f"-{due.trigger}-{due.event.id}"
            replies = [reply(due, name, "replies")] if kind % 2 else []
            await self.journal.done(due, attempt(), replies)
            self.tell("done", f"{due.trigger} {due.event.id}")

    async def live(self) -> None:
        await self.journal.replay(LetterQuery(limit=5))
        lanes = ("work", "other", "replies")
        await asyncio.gather(*(self.bring() for _ in range(4)), *map(self.work, lanes))


async def begin(path: Path, first: int, say: int) -> None:
    async with journal_at(path) as journal:
        await Life(journal, first, say).live()


def one_life(path: Path, first: int, chance: random.Random) -> list[str]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        asyncio.run(begin(path, first, writer))
    os.close(writer)
    with os.fdopen(reader) as lines:
        answers = [lines.readline()]
        time.sleep(chance.uniform(0, 0.08))
        os.kill(child, signal.SIGKILL)
        answers += list(lines)
    os.waitpid(child, 0)
    return [answer.strip() for answer in answers if answer.endswith("\n")]


def main() -> None:
    chance = random.Random(9)
    path, lives = Path(sys.argv[1]), int(sys.argv[2])
    print(json.dumps([one_life(path, life * 1000, chance) for life in range(lives)]))


main()
