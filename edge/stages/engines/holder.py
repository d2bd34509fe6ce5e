"""The holder of the engine: who looks now, whether it may be believed, and how it comes back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.contracts import Engine
from edge.detections import EngineInfo
from edge.errors import Fatal, GpuLost, PartFailed, TryLater, Withheld
from edge.ops.metrics import Metrics

log = logging.getLogger(__name__)

RETIRE_LIMIT = 60.0
"""Seconds after which an engine that was swapped is let go, whoever is still inside."""
_STILL_INSIDE = ("timeout", GpuLost.default_reason)
"""After these a call may still be inside: the engine is let go, not closed under it."""


@dataclass(slots=True, eq=False)
class _Lent:
    """An engine and how many pictures are with it."""

    engine: Engine
    loans: int = 0
    hangs: bool = False
    #: what it says does not count any more, also where it is swapped out
    broken: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class EngineHolder:
    """Opens the engine, lends it out, swaps it, and opens it anew after it broke.

    ``run`` is for the supervisor. While there is no engine, ``lend`` raises: no picture passes.
    A swap opens the next engine while the one before goes on, and changes over between two
    pictures: those that are with the old one end there and still count. Where the next one cannot
    be opened, nothing changes.
    """

    def __init__(self, open_engine: Callable[[], Awaitable[Engine]], metrics: Metrics) -> None:
        self._open = open_engine
        self._metrics = metrics
        self._serving: _Lent | None = None
        #: swapped out, with pictures still in them, and who waits to close each
        self._retiring: dict[_Lent, asyncio.Task[None]] = {}
        #: every engine that is not closed yet: serving, retiring, broken
        self._open_engines: list[_Lent] = []
        self._failure: PartFailed | None = None
        self._over = asyncio.Event()
        self._waiting: list[asyncio.Future[EngineInfo]] = []
        #: told of every engine that serves from now on
        self.served: Callable[[EngineInfo], None] = lambda _: None
        #: facts of the newest engine, also while it is down
        self.info: EngineInfo | None = None

    @contextlib.contextmanager
    def lend(self) -> Iterator[Engine]:
        """Lend the engine out for one picture. On the event loop only.

        Raises:
            TryLater: there is none now (``reason`` ``engine_down``); or what failed is an engine
                that serves no more, which says nothing about the one that does.

        """
        lent = self._serving
        if lent is None:
            raise TryLater("no engine is up, so no picture can be judged", reason="engine_down")
        lent.loans += 1
        lent.idle.clear()
        try:
            yield lent.engine
        except PartFailed as error:
            lent.hangs = lent.hangs or error.reason in _STILL_INSIDE
            if lent is self._serving or isinstance(error, GpuLost):
                raise
            raise TryLater(str(error), hint=error.hint, reason=error.reason) from error
        finally:
            lent.loans -= 1
            if not lent.loans:
                lent.idle.set()

    def qualifies(self, info: EngineInfo) -> bool:
        """Tell whether what this engine said still counts.

        It does if it serves now, or was swapped and its last pictures are still on their way. One
        that broke while the next was opened was swapped out, too, and does not.
        """
        # Called by the workers: an engine retires before another one serves.
        lent = (self._serving, *tuple(self._retiring))
        found = (one for one in lent if one is not None and one.engine.info is info)
        return any(not one.broken for one in found)

    @property
    def up(self) -> bool:
        """Whether an engine serves now."""
        return self._serving is not None

    def broke(self, error: PartFailed) -> None:
        """Take the engine out of service; the supervisor opens it anew."""
        self._metrics.engine_failures.labels(error.reason).inc()
        if self._serving is not None:
            self._serving.broken = True
            self._down()
            self._failure = error
            self._over.set()

    def reopen(self) -> None:
        """Ask for a swap, because a better engine has become available."""
        self._over.set()

    async def swap(self) -> EngineInfo:
        """Open the engine anew; return once it serves. The one before goes on meanwhile.

        Raises:
            PartFailed: the next one could not be opened, or did not pass; nothing changed.

        """
        waiting: asyncio.Future[EngineInfo] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._over.set()
        return await waiting

    async def retired(self) -> None:
        """Wait until no picture is with an engine that was swapped out."""
        while self._retiring:
            await asyncio.wait(self._retiring.values())

    async def run(self, up: Callable[[], None]) -> None:
        """Open, warm up, serve, swap when asked; return never.

        Raises:
            PartFailed: it broke, or could not be opened. Fatal: as the opener says.

        """
        try:
            asked = self._asked()
            try:
                self._serve(await self._opened())
            except (PartFailed, Fatal) as error:
                _refuse(asked, error)
                raise
            self._answer(asked)
            up()
            while True:
                await self._over.wait()
                self._over.clear()
                if self._failure is not None:
                    raise self._failure
                await self._swap()
        finally:
            await self._end()

    async def _opened(self) -> _Lent:
        engine = await self._open()
        try:
            await asyncio.to_thread(warm_up, engine)
        except BaseException:
            await asyncio.to_thread(engine.close)
            raise
        lent = _Lent(engine)
        self._open_engines.append(lent)
        return lent

    async def _swap(self) -> None:
        asked, old = self._asked(), self._serving
        try:
            fresh = await self._opened()
        except GpuLost as error:
            _refuse(asked, error)
            raise
        except (PartFailed, Fatal) as error:
            log.warning("the engine was not swapped: %s. %s", error, error.hint)
            _refuse(asked, error)
            return
        if old is not None:
            self._retire(old)
        self._serve(fresh)
        self._answer(asked)

    def _asked(self) -> list[asyncio.Future[EngineInfo]]:
        """Return who waits for the engine that is opened now; who comes later waits for another."""
        self._over.clear()
        asked, self._waiting = self._waiting, []
        return asked

    def _answer(self, asked: Sequence[asyncio.Future[EngineInfo]]) -> None:
        for waiting in asked:
            if not waiting.done() and self.info is not None:
                waiting.set_result(self.info)

    def _serve(self, lent: _Lent) -> None:
        self._ready(0)
        self._failure = None
        info = lent.engine.info
        self._serving, self.info = lent, info
        self._ready(1)
        self._metrics.safe_mode.set(info.safe_mode)
        self.served(info)
        log.info("engine %s looks with model %s", info.name, info.model)

    def _down(self) -> None:
        self._serving = None
        self._ready(0)

    def _ready(self, value: int) -> None:
        if self.info is not None:
            self._metrics.engine_ready.labels(self.info.name, self.info.model).set(value)

    def _retire(self, lent: _Lent) -> None:
        if not lent.loans:
            lent.idle.set()
        task = asyncio.create_task(self._let_go(lent), name=f"retire {lent.engine.info.name}")
        self._retiring[lent] = task
        task.add_done_callback(lambda _: self._retiring.pop(lent, None))

    async def _let_go(self, lent: _Lent) -> None:
        try:
            async with asyncio.timeout(RETIRE_LIMIT):
                await lent.idle.wait()
        except TimeoutError:
            lent.hangs = True
        self._open_engines.remove(lent)
        await _close(lent)

    async def _end(self) -> None:
        """Close whatever is open, unless a call may still be inside."""
        self._down()
        tasks = list(self._retiring.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        left, self._open_engines = self._open_engines, []
        lost = self._failure is not None and self._failure.reason in _STILL_INSIDE
        for lent in left:
            lent.hangs = lent.hangs or lost
            await _close(lent)


async def _close(lent: _Lent) -> None:
    if not lent.hangs:
        await asyncio.to_thread(lent.engine.close)


def _refuse(asked: Sequence[asyncio.Future[EngineInfo]], error: PartFailed | Fatal) -> None:
    told = error
    if isinstance(error, Fatal):  # for this box, perhaps; for who asked for a swap it is a refusal
        told = PartFailed(str(error), hint=error.hint, reason=error.reason)
    for waiting in asked:
        if not waiting.done():
            waiting.set_exception(told)


def warm_up(engine: Engine) -> None:
    """Run one grey picture through, so that the first real one is not the slow one.

    Raises:
        PartFailed: it does not answer.

    """
    width, height = engine.info.input_size
    grey = np.full((1, height, width, 3), 114, np.uint8)
    try:
        answer = engine.infer(grey, (None,))
    except Withheld:  # safe mode: it cannot judge a still picture, and says so
        return
    if len(answer) != 1:
        raise PartFailed(
            f"engine {engine.info.name} gave {len(answer)} answers to one picture",
            reason="wrong_shape",
        )
