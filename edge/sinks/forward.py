"""Forwarder: carries parcels from the outbox to the store, in order for each source that has one.

A door that is shut holds everything and nothing is counted against a parcel; the supervisor reopens
it. A parcel that the store refuses for itself is set aside with the reason, and the rest goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from edge.config.store import OutboxConfig
from edge.contracts import Note, Store
from edge.errors import Fatal, PartFailed, Rejected, TryLater
from edge.ops.database import DISK_RETRY_S
from edge.ops.metrics import Metrics
from edge.ops.redact_url import without_credentials
from edge.parcel import Parcel
from edge.sinks.outbox import Outbox, Waiting

log = logging.getLogger(__name__)

T = TypeVar("T")

REFUSALS_IN_A_ROW = 10
"""As many refused parcels without a stored one between them: the store is at fault, not they."""
GATE_LOOK_S = 60.0
"""Seconds after which a shut gate is looked at again, whatever it said."""
IN_A_ROW = 16
"""Parcels that one source may deliver before it stands behind the others again."""
BUGS_A_PARCEL = 3
"""As many unforeseen exceptions set a parcel aside: it must not stop its source for ever."""


class Forwarder:
    """Empties the outbox into one store.

    Args:
        outbox: open.
        store: any door; ``run`` opens it, ``close`` closes it.
        config: ``[outbox]``; ``parallel`` sources are under way at once.
        metrics: gets ``store_*`` and ``parcels_*``.
        stored: called with each parcel that the store has, once the outbox has noted it; more may
            be added to the attribute of that name.

    Attributes:
        also: asked about each parcel that the store has: what comes of it goes into the transaction
            in which the parcel passes. Asked again where that has to be tried again.
        unordered: tells of a source's name whether its pictures have no order to keep: then as many
            of them as ``parallel`` says are under way at once.
        gate: asked with the bytes of each parcel before it is sent; the seconds that it must wait,
            0: it goes, and is counted.

    """

    def __init__(
        self,
        outbox: Outbox,
        store: Store,
        config: OutboxConfig,
        metrics: Metrics,
        *,
        stored: Callable[[Parcel], None] | None = None,
    ) -> None:
        self._outbox, self._store, self._metrics = outbox, store, metrics
        self._parallel = config.parallel
        self.stored = [] if stored is None else [stored]
        self.also: list[Callable[[Waiting], Note | None]] = []
        self.unordered: Callable[[str], bool] = lambda _: False
        self.gate: Callable[[int], float] = lambda _: 0.0
        self._shut_for: float | None = None
        self._underway: dict[str, asyncio.Task[None]] = {}
        self._door = _Door(metrics)

    async def run(self, up: Callable[[], None]) -> None:
        """Open the store and deliver until cancelled; the form of ``Supervisor.keep``.

        ``up`` is called when the store is proven: it took a parcel, or none waits.

        Raises:
            PartFailed: the store is shut. All that was not delivered waits in the outbox.
            Fatal: the store can never work as configured.

        """
        try:
            self._door.trying()
            await self._store.open()
            await self._deliver(up)
        except PartFailed as error:
            self._door.shut(error)
            raise
        except TryLater as error:  # from the outbox, for example while its file is locked
            broken = PartFailed(str(error), hint=error.hint, reason=error.reason)
            self._door.shut(broken)
            raise broken from error
        finally:
            await self._let_go()

    async def drain(self, budget_s: float) -> bool:
        """Wait until nothing waits, for ``budget_s`` at most; True if the outbox is empty.

        Returns early when the door is shut: the outbox keeps the rest.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(budget_s):
                while self._outbox.stats().waiting and not self._held():
                    self._door.moved.clear()
                    await self._door.moved.wait()
        return not self._outbox.stats().waiting

    def _held(self) -> bool:
        return self._door.is_shut or self._shut_for is not None

    def age(self) -> float | None:
        """Return how many seconds ago the store was last tried; None while nothing waits."""
        due = self._outbox.stats().waiting and self._shut_for is None
        return time.monotonic() - self._door.tried_at if due else None

    async def close(self) -> None:
        """Let go of the store, once ``run`` has ended."""
        await self._store.close()

    def status(self) -> Mapping[str, Any]:
        """Say how the door is, in JSON values: for the page. Cheap, never blocks."""
        stats = self._outbox.stats()
        return {
            "store": dict(self._store.describe()),
            **self._door.status(),
            "waiting": stats.waiting,
            "bytes": stats.waiting_bytes,
            "oldest_s": round(stats.oldest_seconds, 1),
            "dead": stats.dead,
        }

    # -- delivery

    async def _deliver(self, up: Callable[[], None]) -> None:
        proven = False
        while True:
            self._outbox.arrived.clear()
            # until the store took something, one parcel at a time tries it
            await self._start(self._parallel if proven else 1)
            if not proven and (not self._underway or await self._first_answer()):
                proven = True
                self._door.opened()
                up()
                continue
            await self._news_or_end()

    async def _start(self, parallel: int) -> None:
        room = parallel - len(self._underway)
        self._shut_for = None
        if room <= 0:
            return
        for waiting in await self._outbox.heads(room, self._underway):
            if not self._may_go(waiting):
                return
            source = waiting.parcel.source
            self._outbox.carried.add(source)
            self._underway[source] = asyncio.create_task(
                self._carry(waiting), name=f"deliver {source}"
            )

    def _may_go(self, waiting: Waiting) -> bool:
        wait = self.gate(len(waiting.parcel.body))
        self._shut_for = min(wait, GATE_LOOK_S) if wait > 0 else None
        return wait <= 0

    async def _first_answer(self) -> bool:
        await asyncio.wait(self._underway.values())
        return await self._reap()

    async def _news_or_end(self) -> None:
        """Wait until a delivery ends or, where there is room for one more, a parcel arrives."""
        arrived = asyncio.create_task(self._outbox.arrived.wait(), name="parcel arrives")
        try:
            full = len(self._underway) >= self._parallel
            tasks = list(self._underway.values())
            await asyncio.wait(
                tasks if full else [*tasks, arrived],
                timeout=self._shut_for,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            arrived.cancel()
        await self._reap()

    async def _reap(self) -> bool:
        """Take out the deliveries that ended, raise what broke them; True if any ended well."""
        ended = {source: task for source, task in self._underway.items() if task.done()}
        for source in ended:
            del self._underway[source]
            self._outbox.carried.discard(source)
        errors = [error for task in ended.values() if (error := task.exception())]
        if not errors:
            return bool(ended)
        if self._underway:  # they may still succeed; what succeeds is not sent again
            await asyncio.wait(self._underway.values())
        raise min(errors, key=lambda error: isinstance(error, PartFailed))  # a bug is told first

    async def _carry(self, waiting: Waiting) -> None:
        """Deliver what waits of one source, in order, until it is the others' turn."""
        following: Waiting | None = waiting
        for _ in range(IN_A_ROW):
            if following is None:
                return
            if following is not waiting and self.unordered(following.parcel.source):
                # the first one went alone: a store that is shut is not tried with several
                following = await self._carry_several(following.parcel.source)
            elif following is not waiting and not self._may_go(following):
                return
            else:
                following = await self._carry_one(following)
            self._door.moved.set()

    async def _carry_several(self, source: str) -> Waiting | None:
        """Deliver the oldest of a source side by side; return one that still waits, or None.

        Raises:
            PartFailed, Fatal: of one of them, when all have ended.

        """
        several = [
            one
            for one in _apart(await self._outbox.oldest(source, self._parallel))
            if self._may_go(one)
        ]
        tasks = [
            asyncio.create_task(self._carry_one(one), name=f"deliver {source} {one.seq}")
            for one in several
        ]
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        except asyncio.CancelledError:
            await asyncio.gather(*tasks, return_exceptions=True)  # gather has cancelled them
            raise
        errors = [error for task in tasks if (error := task.exception())]
        if errors:
            raise min(errors, key=lambda error: isinstance(error, PartFailed))
        return next(iter(await self._outbox.oldest(source, 1)), None) if several else None

    async def _carry_one(self, waiting: Waiting) -> Waiting | None:
        finished = False
        try:
            following = await self._hand_over(waiting)
            finished = True
        except (PartFailed, Fatal, asyncio.CancelledError):
            finished = True  # not the parcel's fault
            raise
        finally:
            if not finished:
                await self._met_bug(waiting)
        return following

    async def _hand_over(self, waiting: Waiting) -> Waiting | None:
        parcel = waiting.parcel
        try:
            await self._store.put(parcel)
        except Rejected as error:
            await self._bury(waiting, error.reason, str(error))
            self._door.refused(error)
            return None
        following = await self._noted(
            lambda: self._outbox.passed(waiting.seq, self._what_comes_of(waiting))
        )
        self._door.took_one()
        for tell in self.stored:
            tell(parcel)
        return following

    def _what_comes_of(self, waiting: Waiting) -> list[Note]:
        return [note for ask in self.also if (note := ask(waiting)) is not None]

    async def _met_bug(self, waiting: Waiting) -> None:
        await self._noted(lambda: self._outbox.missed(waiting.seq, "a bug; see the log"))
        if waiting.tries + 1 >= BUGS_A_PARCEL:
            await self._bury(waiting, "bug", f"{BUGS_A_PARCEL} tries met a bug; see the log")

    async def _bury(self, waiting: Waiting, reason: str, text: str) -> None:
        await self._noted(lambda: self._outbox.dead(waiting.seq, f"{reason}: {text}"))
        self._metrics.parcels_dead.labels(reason).inc()
        log.warning("a parcel of %s is set aside: %s", waiting.parcel.source, text)

    async def _noted(self, note: Callable[[], Awaitable[T]]) -> T:
        """Write down how a delivery ended; a full disk delays that, and nothing else."""
        while True:
            try:
                return await note()
            except TryLater as error:
                log.warning("cannot note a delivery: %s. %s", error, error.hint)
                await asyncio.sleep(error.after or DISK_RETRY_S)

    async def _let_go(self) -> None:
        tasks = list(self._underway.values())
        self._underway.clear()
        self._outbox.carried.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _apart(several: Sequence[Waiting]) -> list[Waiting]:
    """Return those with a name of their own: of two of one name, the later one waits its turn."""
    return list({one.parcel.key.rpartition(".")[0]: one for one in reversed(several)}.values())


class _Door:
    """What is known of the store: shown to people, counted for machines."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._state, self._since = "opening", time.time()
        self._reason = self._hint = ""
        self._last_success: float | None = None
        self._last_try: float | None = None
        self._refusals = 0
        #: when something was last tried, on the clock that never jumps
        self.tried_at = time.monotonic()
        #: set whenever a delivery ended or the door changed
        self.moved = asyncio.Event()

    @property
    def is_shut(self) -> bool:
        return self._state == "shut"

    def trying(self) -> None:
        if self.is_shut:
            self._metrics.store_retries.inc()
        self._tried()

    def opened(self) -> None:
        self._change("up")
        self._reason = self._hint = ""
        self._metrics.store_up.set(1)

    def shut(self, error: PartFailed) -> None:
        self._change("shut")
        self._reason, self._hint = without_credentials(str(error)), error.hint
        self._metrics.store_up.set(0)

    def took_one(self) -> None:
        self._refusals = 0
        self._tried()
        self._last_success = self._last_try
        self._metrics.parcels_stored.inc()

    def refused(self, error: Rejected) -> None:
        """Count a refusal.

        Raises:
            PartFailed: so many in a row that the store is at fault, not the parcels.

        """
        self._tried()
        self._refusals += 1
        if self._refusals >= REFUSALS_IN_A_ROW:
            raise PartFailed(
                f"the store refused {self._refusals} parcels in a row, the last one: {error}",
                hint=error.hint
                or "check the store's settings; the parcels are in the dead letters",
                reason="store_refuses",
            )

    def status(self) -> dict[str, Any]:
        return {
            "state": self._state,
            "since": self._since,
            "last_success": self._last_success,
            "last_try": self._last_try,
            "reason": self._reason,
            "hint": self._hint,
        }

    def _tried(self) -> None:
        self._last_try, self.tried_at = time.time(), time.monotonic()

    def _change(self, state: str) -> None:
        if state != self._state:
            self._state, self._since = state, time.time()
        self.moved.set()
