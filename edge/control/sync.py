"""Delivery to the store and the broker, paused, resumed and hurried while the box runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

log = logging.getLogger(__name__)


class Sending(Protocol):
    """What is paused with the delivery to the store: messages to a broker."""

    def pause(self, seconds: float | None) -> None:
        """Send nothing for so long; None: until ``resume``."""
        ...

    def resume(self) -> None:
        """Send again, whatever a back-off says."""
        ...

    def now(self) -> None:
        """Send what waits, whatever a plan says, too."""
        ...


class Sync:
    """Keeps delivery going, unless it is paused.

    Args:
        keep: opens the door and delivers until cancelled; a supervised part.
        clock: seconds since the epoch.

    Attributes:
        also: what else is paused, resumed and hurried.

    """

    def __init__(
        self, keep: Callable[[], Coroutine[Any, Any, None]], clock: Callable[[], float] = time.time
    ) -> None:
        self._keep, self._clock = keep, clock
        self._changed = asyncio.Event()
        self.paused = False
        #: when a pause ends by itself, seconds since the epoch; None: it does not
        self.until: float | None = None
        self.also: list[Sending] = []

    def pause(self, seconds: float | None) -> None:
        """Deliver nothing for so long; None: until ``resume``. What waits is kept."""
        self.paused = True
        self.until = None if seconds is None else self._clock() + seconds
        self._changed.set()
        log.info("delivery to the store is paused")
        for one in self.also:
            one.pause(seconds)

    def resume(self) -> None:
        """Deliver, and try at once whatever the back-off says."""
        self._go_on()
        for one in self.also:
            one.resume()

    def now(self) -> None:
        """Deliver what waits now, whatever the back-off and the bandwidth plan say."""
        self._go_on()
        for one in self.also:
            one.now()

    def _go_on(self) -> None:
        self.paused, self.until = False, None
        self._changed.set()

    async def run(self) -> None:
        """Deliver until cancelled.

        Raises:
            Fatal: as ``keep`` raises it.

        """
        while True:
            self._changed.clear()
            if self.paused:
                await self._rest()
            else:
                await self._deliver()

    async def _rest(self) -> None:
        left = None if self.until is None else max(0.0, self.until - self._clock())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._changed.wait()
            return
        log.info("delivery to the store goes on: its pause is over")
        self.paused, self.until = False, None

    async def _deliver(self) -> None:
        work = asyncio.create_task(self._keep(), name="store door")
        change = asyncio.create_task(self._changed.wait(), name="sync change")
        try:
            await asyncio.wait([work, change], return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait([work])
        if not work.cancelled():
            work.result()
