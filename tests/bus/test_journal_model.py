"""The journal against a plain model of it: whatever is done in whatever order, they agree."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.bus.journal import Arrival, Due, Journal, Target, digest_of
from edge.errors import TryLater
from edge.traffic import LetterQuery
from tests.bus.parts_journal import DAY, Clock, attempt, event, journal_at, reply

T = TypeVar("T")
TRIGGERS = ("one", "two", "keyed")
MOST_EVENTS = 12
NUMBERS = st.integers(0, 15)


@dataclass
class Wait:
    """A delivery that is open."""

    order: int
    key: str
    tries: int = 0
    due: float = 0.0


@dataclass
class Model:
    """What the journal ought to hold. An event is named by its digest."""

    #: open deliveries by event and trigger
    open: dict[tuple[bytes, str], Wait] = field(default_factory=dict)
    #: dead letters by number: event, trigger
    letters: dict[int, tuple[bytes, str]] = field(default_factory=dict)
    #: events that were ever accepted: their place, and the key of each of their deliveries
    order: dict[bytes, int] = field(default_factory=dict)
    key: dict[tuple[bytes, str], str] = field(default_factory=dict)
    since: dict[bytes, float] = field(default_factory=dict)
    id: dict[bytes, str] = field(default_factory=dict)
    #: those that head the queue of their key
    heads: set[tuple[bytes, str]] = field(default_factory=set)
    newest_letter: int = 0

    def waiting(self) -> set[bytes]:
        return {digest for digest, _ in self.open}

    def add(self, digest: bytes, trigger: str) -> None:
        key = self.key[digest, trigger]
        if not key or not self.of_key(trigger, key):
            self.heads.add((digest, trigger))
        self.open[digest, trigger] = Wait(self.order[digest], key)

    def of_key(self, trigger: str, key: str) -> list[tuple[int, bytes]]:
        return sorted(
            (wait.order, digest)
            for (digest, name), wait in self.open.items()
            if name == trigger and wait.key == key
        )

    def end(self, digest: bytes, trigger: str, state: str) -> None:
        wait = self.open.pop((digest, trigger))
        was_head = (digest, trigger) in self.heads
        self.heads.discard((digest, trigger))
        following = self.of_key(trigger, wait.key)
        if wait.key and was_head and following:
            self.heads.add((following[0][1], trigger))
        if state == "dead":
            self.newest_letter += 1
            self.letters[self.newest_letter] = (digest, trigger)

    def due(self, trigger: str, now: float) -> list[bytes]:
        for digest, name in self.heads:
            if name == trigger and self.open[digest, name].due <= now:
                self.open[digest, name].due = 0
        ready = [
            (self.open[digest, name].order, digest)
            for digest, name in self.heads
            if name == trigger and self.open[digest, name].due <= now
        ]
        return [digest for _, digest in sorted(ready)]


class Machine(RuleBasedStateMachine):
    """Drives both, and compares."""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.clock, self.model = Clock(), Model()
        self.open_it()

    def open_it(self) -> None:
        self.stack = contextlib.AsyncExitStack()
        self.journal: Journal = self.run(
            self.stack.enter_async_context(
                journal_at(
                    Path(self.folder.name) / "j.db",
                    clock=self.clock,
                    max_events=MOST_EVENTS,
                    max_age="10d",
                    remember="60d",
                    dead_for="60d",
                )
            )
        )

    def run(self, what: Awaitable[T]) -> T:
        async def wait() -> T:
            return await what

        return self.loop.run_until_complete(wait())

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.run(self.stack.aclose())
            self.loop.close()
            self.folder.cleanup()

    def took(self, one: Arrival, seq: int) -> None:
        model = self.model
        model.order[one.digest], model.since[one.digest] = seq, self.clock.now
        model.id[one.digest] = one.event.id
        for target in one.targets:
            model.key[one.digest, target.trigger] = target.key
            model.add(one.digest, target.trigger)

    @rule(numbers=st.lists(NUMBERS, max_size=4), triggers=st.sets(st.sampled_from(TRIGGERS)))
    def accept(self, numbers: list[int], triggers: set[str]) -> None:
        arrivals = [self.arrival(number, triggers) for number in numbers]
        fresh = {one.digest for one in arrivals} - set(self.model.order)
        many = len(fresh) if triggers else 0
        room = len(self.model.waiting()) + many <= MOST_EVENTS or not many
        try:
            accepted = self.run(self.journal.accept(arrivals))
        except TryLater:
            assert not room
            return
        assert room
        for one, answer in zip(arrivals, accepted, strict=True):
            assert answer.new == (one.digest in fresh)
            if answer.new:
                fresh.discard(one.digest)
                self.took(one, answer.seq)

    def arrival(self, number: int, triggers: set[str]) -> Arrival:
        keys = {"keyed": f"k{number % 2}"}
        targets = [Target(name, keys.get(name, "")) for name in sorted(triggers)]
        happened = event(number)
        return Arrival(happened, targets, 255, digest_of(happened))

    def one_due(self, trigger: str) -> Due | None:
        found = self.run(self.journal.due(trigger, 100))
        assert [one.digest for one in found] == self.model.due(trigger, self.clock.now)
        for one in found:
            wait = self.model.open[one.digest, trigger]
            assert (one.seq, one.key, one.tries) == (wait.order, wait.key, wait.tries)
        return found[-1] if found else None

    @rule(trigger=st.sampled_from(TRIGGERS), answers=st.booleans())
    def done(self, trigger: str, answers: bool) -> None:
        if due := self.one_due(trigger):
            number = f"r{len(self.model.order)}"
            replies = [reply(due, number, "one")] if answers else []
            self.run(self.journal.done(due, attempt(), replies))
            self.model.end(due.digest, trigger, "done")
            for one in replies:
                (trace,) = self.run(self.journal.traces(one.event.id))
                assert trace.cause == due.event.id
                (found,) = [
                    made
                    for made in self.run(self.journal.due("one", 100))
                    if made.digest == one.digest
                ]
                self.model.due("one", self.clock.now)  # a look brings back whose time has come
                self.took(one, found.seq)

    @rule(trigger=st.sampled_from(TRIGGERS), wait=st.sampled_from([0, 50, 5000]))
    def failed(self, trigger: str, wait: int) -> None:
        if due := self.one_due(trigger):
            self.run(self.journal.failed(due, attempt("busy"), self.clock.now + wait))
            model = self.model.open[due.digest, trigger]
            model.tries, model.due = model.tries + 1, self.clock.now + wait if wait else 0

    @rule(trigger=st.sampled_from(TRIGGERS))
    def held(self, trigger: str) -> None:
        if due := self.one_due(trigger):
            self.run(self.journal.held(due, self.clock.now + 50))
            self.model.open[due.digest, trigger].due = self.clock.now + 50

    @rule(trigger=st.sampled_from(TRIGGERS))
    def dead(self, trigger: str) -> None:
        if due := self.one_due(trigger):
            self.run(self.journal.dead(due, None, "", "rejected", "no"))
            self.model.end(due.digest, trigger, "dead")

    @precondition(lambda self: self.model.letters)
    @rule(trigger=st.sampled_from(["", *TRIGGERS]), limit=st.sampled_from([None, 1, 3]))
    def replay(self, trigger: str, limit: int | None) -> None:
        query = LetterQuery(trigger=trigger, limit=limit)
        replayed = self.matching(trigger)[:limit]
        assert self.run(self.journal.replay(query)) == len(replayed)
        for number in replayed:
            digest, name = self.model.letters.pop(number)
            if digest not in self.model.waiting():
                self.model.since[digest] = self.clock.now
            self.model.add(digest, name)

    @precondition(lambda self: self.model.letters)
    @rule(trigger=st.sampled_from(TRIGGERS))
    def drop(self, trigger: str) -> None:
        gone = self.matching(trigger)
        assert self.run(self.journal.drop(LetterQuery(trigger=trigger))) == len(gone)
        for number in gone:
            del self.model.letters[number]

    def matching(self, trigger: str) -> list[int]:
        return [
            number
            for number, (_, name) in sorted(self.model.letters.items())
            if trigger in ("", name)
        ]

    @rule(trigger=st.sampled_from(TRIGGERS))
    def forget(self, trigger: str) -> None:
        self.run(self.journal.forget_trigger(trigger))
        while mine := [(digest, name) for digest, name in self.model.heads if name == trigger]:
            for one in sorted(mine, key=lambda one: self.place(*one)):  # then those behind them
                self.model.end(*one, "dead")

    def place(self, digest: bytes, trigger: str) -> tuple[float, int]:
        wait = self.model.open[digest, trigger]
        return (wait.due, wait.order)

    @rule(seconds=st.sampled_from([1, 60, 3 * DAY]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def reopen_and_expire(self) -> None:
        self.run(self.stack.aclose())
        self.open_it()  # nothing is under way then
        self.run(self.journal.expire())
        limit = self.clock.now - 10 * DAY
        old = {digest for digest in self.model.waiting() if self.model.since[digest] < limit}
        for digest, trigger in sorted(
            self.model.open, key=lambda one: (self.model.order[one[0]], one[1])
        ):
            if digest in old:
                self.model.end(digest, trigger, "dead")

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        model, stats = self.model, self.journal.stats()
        assert stats.events == len(model.waiting())
        assert (stats.bytes > 0) == bool(stats.events)
        assert stats.waiting == {
            name: many
            for name in TRIGGERS
            if (many := sum(trigger == name for _, trigger in model.open))
        }
        letters = self.run(self.journal.letters(LetterQuery()))
        dead = [(one.id, one.attributes["id"], one.trigger) for one in letters]
        assert dead == [
            (f"event-{number}", model.id[digest], name)
            for number, (digest, name) in sorted(model.letters.items())
        ]
        assert stats.letters == len(model.letters)
        assert stats.letter_bytes == sum(letter.bytes for letter in letters)


TestTheJournalAgreesWithItsModel = Machine.TestCase
TestTheJournalAgreesWithItsModel.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
