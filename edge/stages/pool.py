"""The picture pool: a few threads, each of which carries a picture through every step.

A worker for a whole picture beats a thread a stage (LIMITS: 0.89-0.97 of the no-GIL bound), because
no picture waits in a queue between two stages and no core waits for a neighbour.

A call that exceeds its time cannot be killed, for it may sit in a driver. It is given up: the
caller learns at once, whatever it still returns is thrown away, and fresh threads take over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from edge.errors import PartFailed

T = TypeVar("T")


class PicturePool:
    """Some workers; how many may change between two calls.

    Args:
        workers: threads that carry pictures.
        limit: seconds that one picture may take, queueing included.

    """

    def __init__(self, workers: int, limit: float) -> None:
        self.workers = workers
        self.limit = limit
        #: calls that were given up since the start; their threads may still hang
        self.given_up = 0
        self._executor = self._fresh()

    async def run(self, call: Callable[[], T]) -> T:
        """Run ``call`` in a worker and return what it returns.

        Raises:
            PartFailed: it took too long (``reason`` ``timeout``).
            Exception: whatever ``call`` raised.

        """
        executor = self._executor
        future = asyncio.get_running_loop().run_in_executor(executor, call)
        scope = asyncio.timeout(self.limit)
        try:
            async with scope:
                return await future
        except TimeoutError as error:
            if not scope.expired():
                raise  # the call's own
            self._give_up(executor)
            raise PartFailed(
                f"a picture took longer than {self.limit:g} s",
                hint="the engine hangs or the box is overloaded; see [detect] timeout",
                reason="timeout",
            ) from error

    def resize(self, workers: int) -> None:
        """Have so many workers from the next call on; what was called before ends where it is."""
        if workers == self.workers:
            return
        self.workers, before = workers, self._executor
        self._executor = self._fresh()
        before.shutdown(wait=False)

    def _give_up(self, executor: ThreadPoolExecutor) -> None:
        self.given_up += 1
        if executor is self._executor:
            # Those who queue behind the one that hangs go on in what is left of the old threads.
            executor.shutdown(wait=False)
            self._executor = self._fresh()

    def close(self) -> None:
        """Take no more calls; what queues is cancelled, what runs ends by itself."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _fresh(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.workers, thread_name_prefix="picture")
