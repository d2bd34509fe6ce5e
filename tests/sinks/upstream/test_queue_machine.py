"""Whatever happens to the queue, in whatever order: every message is somewhere, and only once."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge.config.mqtt import CLASSES
from edge.sinks.upstream.outgoing import Pending
from tests.sinks.conftest import Clock
from tests.sinks.upstream.parts import Life, message

T = TypeVar("T")
KINDS = st.sampled_from([kind for kind in CLASSES if kind != "loss"])
SOURCES = st.sampled_from(["gate", "yard"])
FATES = st.sampled_from(["acknowledged", "came, and the box died", "cut before it came", "refused"])


class TheQueue(RuleBasedStateMachine):
    """A queue with a small quota, a broker that remembers, and a box that is killed.

    A kill is a copy of the file as it is after the last commit: no commit is undone by it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.lives = itertools.count()
        self.clock = Clock()
        self.count = itertools.count()
        self.order = "oldest"
        self.noted: list[str] = []
        #: what the broker has, by id: whoever listens takes each id once
        self.broker: dict[str, Pending] = {}
        self.hand: list[Pending] = []
        self.sent: list[Pending] = []
        self.twice = 0

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize(order=st.sampled_from(["oldest", "newest"]), items=st.integers(3, 12))
    def begin(self, order: str, items: int) -> None:
        self.config: dict[str, Any] = {"order": order, "max_items": items, "max_age": "1h"}
        self.order = order
        self.path = self.folder / f"{next(self.lives)}.db"
        self.live()

    def live(self) -> None:
        self.life = Life(self.path, self.clock, **self.config)
        self.queue = self.do(self.life.open())
        self.hand, self.sent = [], []

    @rule(source=SOURCES, kinds=st.lists(KINDS, min_size=1, max_size=6))
    def something_happens(self, source: str, kinds: list[str]) -> None:
        several = [message(next(self.count), source, kind) for kind in kinds]
        self.noted += [one.id for one in several]
        assert self.do(self.queue.put(*several)) == len(several)
        assert self.do(self.queue.put(*several)) == 0

    @rule(many=st.integers(1, 6), kinds=st.sets(st.sampled_from(CLASSES), min_size=3))
    def some_are_taken(self, many: int, kinds: set[str]) -> None:
        taken = self.do(self.queue.take(many, tuple(kinds)))
        assert len(taken) <= many
        assert all(one.kind in kinds for one in taken)
        self.hand += taken

    @rule(fates=st.lists(FATES, min_size=1, max_size=6))
    def some_are_sent(self, fates: list[str]) -> None:
        sent, self.hand = self.hand[: len(fates)], self.hand[len(fates) :]
        for fate, one in zip(fates, sent, strict=False):
            if fate == "refused" and one.kind != "loss":
                self.do(self.queue.bury([one.n], "too_large"))
                self.twice += str(one.n) in self.broker
                continue
            self.sent.append(one)
            if fate != "cut before it came":
                self.comes(one)
            if fate == "acknowledged":
                self.do(self.queue.delivered([one.n]))
                self.sent.remove(one)

    def comes(self, one: Pending) -> None:
        name = str(one.n)
        if name in self.broker:
            # sent again: the same number, the same words
            assert self.broker[name]._replace(put_at=0) == one._replace(put_at=0)
        self.broker[name] = one

    @rule()
    def the_link_is_cut(self) -> None:
        self.do(self.queue.release([one.n for one in self.sent]))
        self.hand, self.sent = [], []

    @rule()
    def the_box_is_killed(self) -> None:
        there = self.folder / f"{next(self.lives)}.db"
        for tail in ("", "-wal"):
            if Path(f"{self.path}{tail}").exists():
                shutil.copy(f"{self.path}{tail}", f"{there}{tail}")
        self.do(self.life.close())
        self.path = there
        self.live()

    @rule(seconds=st.integers(1, 3000))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds
        self.do(self.queue.tidy())

    @invariant()
    def sums_are_right(self) -> None:
        if not hasattr(self, "life"):
            return
        with sqlite3.connect(self.path) as connection:
            rows = connection.execute("SELECT class, source, seq, n, bytes, body FROM upstream")
            waiting = rows.fetchall()
        connection.close()
        by_class = Counter(row[0] for row in waiting)
        for kind, totals in self.queue.stats().classes.items():
            assert totals.waiting == by_class[kind]
            assert totals.produced == totals.delivered + totals.waiting + totals.tombstoned
            size = sum(row[4] for row in waiting if row[0] == kind)
            assert totals.waiting_bytes == size == sum(len(r[5]) for r in waiting if r[0] == kind)
        produced = sum(
            one.produced for kind, one in self.queue.stats().classes.items() if kind != "loss"
        )
        assert produced == len(self.noted)
        assert self.queue.stats().classes["loss"].tombstoned == 0
        self.quota_is_kept(by_class)
        self.each_message_is_somewhere(waiting)

    def quota_is_kept(self, by_class: Counter[str]) -> None:
        held = len(self.hand) + len(self.sent) + 64  # what may have been sent stays
        assert sum(by_class.values()) - by_class["loss"] <= int(self.config["max_items"]) + held

    def each_message_is_somewhere(self, waiting: list[Any]) -> None:
        """Counted by who listens: what came, what is in tombstones, and what still waits."""
        losses = {n: json.loads(body)["data"] for kind, *_, n, _, body in waiting if kind == "loss"}
        here = {row[3] for row in waiting}
        came = [one for name, one in self.broker.items() if int(name) not in here]
        for one in self.broker.values():
            if one.kind == "loss":
                losses.setdefault(one.n, json.loads(one.body)["data"])
        lost = sum(loss["count"] for loss in losses.values())
        delivered = sum(1 for one in came if one.kind != "loss")
        still = sum(1 for row in waiting if row[0] != "loss")
        assert delivered + lost + still - self.twice == len(self.noted)
        sums = [one for kind, one in self.queue.stats().classes.items() if kind != "loss"]
        assert lost == sum(one.tombstoned for one in sums)
        # nothing that came stands in a tombstone, unless the broker refused it the second time
        assert delivered - sum(one.delivered for one in sums) == self.twice

    def teardown(self) -> None:
        if hasattr(self, "life"):
            self.do(self.life.close())
        self.loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)


TestTheQueue = TheQueue.TestCase
TestTheQueue.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
