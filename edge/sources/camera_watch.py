"""The watch over one camera: opens it, notices that it hangs or ends, and opens it again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

from edge.config.sources import CameraConfig
from edge.errors import PartFailed
from edge.frame import Frame
from edge.ops.backoff import Backoff
from edge.ops.metrics import Metrics
from edge.sources.camera_address import Address
from edge.sources.camera_probe import find_fault, until_it_answers
from edge.sources.capture import Capture, Tally

log = logging.getLogger(__name__)

_FINAL = frozenset({"bad_address", "no_ffmpeg"})
"""Reasons that no further try of this camera mends."""
_NO_ANSWER = frozenset({"refused", "unreachable"})
_CHEAP = frozenset({"not_found", "no_answer"})
"""Reasons that a small question finds again, and that a camera shows while it starts."""
_WAITED = frozenset({"stalled", "timeout"})
"""Reasons that took their time: the next attempt begins at once, and waits for the camera."""

_FIRST_WAIT = 0.1
_GRACE = 1.0
"""Seconds beyond a reader's own limits before it is given up."""
_PATIENT = 0.8
"""Share of the time limit after which a failed opening counts as a timeout."""
_LEFT_BEHIND = 2
"""As many threads of captures that were given up may still hang in a read."""
_STEADY = 2.0
"""Seconds of pictures after which earlier failures no longer lengthen the waits."""
_SOON = 60.0
"""Seconds after its last picture during which a camera is asked often: it is probably starting."""
_OFTEN = 0.25

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


class Watch:
    """Keeps one camera open, judging by the times at which its frames arrive.

    Args:
        name: the source's name.
        config: its section.
        address: where the camera is.
        tally: where it counts.
        metrics: the box's metrics.
        make: makes the next capture; raises ``PartFailed`` where none can be made.
        news: called when a frame may wait in ``take``.

    """

    def __init__(
        self,
        name: str,
        config: CameraConfig,
        address: Address,
        *,
        tally: Tally,
        metrics: Metrics,
        make: Callable[[], Capture],
        news: Callable[[], None],
    ) -> None:
        self._name = name
        self._config = config
        self._address = address
        self._tally = tally
        self._metrics = metrics
        self._make = make
        self._news = news
        self._change = asyncio.Event()
        self._backoff = Backoff(_FIRST_WAIT, config.reconnect_max)
        self._capture: Capture | None = None
        self._left: list[Capture] = []
        self._fault: PartFailed | None = None
        self._failures = 0
        self._last_picture = -_SOON
        self.state = "connecting"

    @property
    def reason(self) -> str:
        """Why it brings no picture; empty while it does."""
        return str(self._fault) if self._fault else ""

    @property
    def hint(self) -> str:
        """What to do about it."""
        return self._fault.hint if self._fault else ""

    async def run(self) -> None:
        """Keep the camera open until its content is over (a file).

        Raises:
            PartFailed: no further try of this camera helps; ``hint`` says what does.

        """
        while True:
            try:
                await self._one_life()
            except PartFailed as error:
                await self._after(error)
            else:
                self.state = "finished"
                return

    def heard(self, capture: Capture) -> None:
        """Take news from a capture (called in the loop)."""
        self._change.set()
        if capture is self._capture:
            self._news()

    def take(self) -> Frame | None:
        """Return the next frame, if one waits."""
        return self._capture.take() if self._capture else None

    def settled(self) -> None:
        """Pass on that a frame was settled."""
        if self._capture:
            self._capture.settled()

    def stop(self) -> None:
        """Shut the tap at once."""
        if self._capture:
            self._capture.stop()

    async def threads_end(self, limit: float) -> None:
        """Wait for the capture threads to end, at most ``limit`` seconds.

        A thread that comes back from OpenCV while the interpreter shuts down aborts the process.
        """
        captures = [*self._left, *([self._capture] if self._capture else [])]
        await self._until(lambda: all(capture.ended for capture in captures), limit)

    async def _one_life(self) -> None:
        """Open it and stay while frames arrive; return at the end of a file.

        Raises:
            PartFailed: it could not be opened, it hangs, or it ended.

        """
        hung = self._fault is not None and self._fault.reason in _WAITED
        fault = await find_fault(self._address, self._config, hung=hung)
        if fault:
            raise fault
        await self._wait_for_threads()
        capture = self._capture = self._make()
        began = time.monotonic()
        try:
            await self._open(capture)
            await self._first_picture(capture)
            self._streaming()
            await self._while_it_lives(capture)
        finally:
            self._metrics.source_up.labels(self._name).set(0)
            if capture.delivered:
                self._last_picture = capture.last_arrival
            if capture.delivered and capture.last_arrival - began > _STEADY:
                self._backoff.reset()
            if not capture.ended:
                capture.stop()
                self._left.append(capture)

    async def _wait_for_threads(self) -> None:
        """Let given-up threads end before there are too many; each ends when its read does."""

        def few() -> bool:
            self._left = [capture for capture in self._left if not capture.ended]
            return len(self._left) < _LEFT_BEHIND

        await self._until(few, None)

    async def _open(self, capture: Capture) -> None:
        """Start it and wait until it is open; one camera at a time, as OpenCV does it anyway.

        Raises:
            PartFailed: it failed or took too long; the wait for other cameras does not count.

        """
        limit = self._config.open_timeout
        async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            began = time.monotonic()
            capture.start()
            live = self._address.live
            bound = limit + _GRACE if live else None
            if not await self._until(lambda: capture.opened or capture.ended, bound):
                raise self._too_late("opening it", limit)
        if capture.failure:
            raise self._cause(capture.failure, time.monotonic() - began)

    async def _first_picture(self, capture: Capture) -> None:
        """Wait until it has shown a picture.

        Raises:
            PartFailed: it ended, or the picture took too long.

        """
        limit = self._config.stall_after
        bound = limit if self._address.live else None
        if not await self._until(lambda: capture.delivered or capture.ended, bound):
            raise self._too_late("its first picture", limit)
        if capture.failure:
            raise capture.failure
        if not capture.delivered:
            raise PartFailed("it ended before its first picture", reason="ended")

    def _cause(self, failure: PartFailed, took: float) -> PartFailed:
        """Say what OpenCV did not."""
        if failure.reason != "not_opened":
            return failure
        if self._address.kind == "file":
            return PartFailed(
                f"no video in {self._address.where} that can be played",
                hint="it is damaged, was cut off while it was written, or is no video",
                reason="no_video",
            )
        if took > _PATIENT * self._config.open_timeout:
            return self._too_late("opening it", self._config.open_timeout)
        return PartFailed(
            "it answers, but its video cannot be opened",
            hint="is it H.264, H.265 or MJPEG? Another stream of the camera may do",
            reason="no_video",
        )

    async def _while_it_lives(self, capture: Capture) -> None:
        """Stay while frames arrive in time; return at the end of a file.

        Raises:
            PartFailed: ``stalled``, ``ended``, or what the capture failed of.

        """
        limit = self._config.stall_after
        while not capture.ended:
            left = capture.last_arrival + limit - time.monotonic()
            if not self._address.live:
                await self._until(lambda: capture.ended, None)
            elif left > 0:
                await self._until(lambda: capture.ended, left)
            else:
                self._tally.stalls += 1
                self._metrics.source_stalls.labels(self._name).inc()
                raise PartFailed(
                    f"no picture for {limit:g} s although the connection stands",
                    hint="it is opened anew; if this repeats, look at the camera and its network",
                    reason="stalled",
                )
        if capture.failure:
            raise capture.failure
        if self._address.live:
            raise PartFailed(
                "the camera ended the stream",
                hint="it may have been restarted or set up anew; it is opened again",
                reason="ended",
            )

    async def _until(self, true: Callable[[], bool], limit: float | None) -> bool:
        """Wait for news that makes ``true`` true, at most ``limit`` seconds."""
        try:
            async with asyncio.timeout(limit):
                while not true():
                    self._change.clear()
                    await self._change.wait()
        except TimeoutError:
            return true()
        return True

    @staticmethod
    def _too_late(what: str, seconds: float) -> PartFailed:
        return PartFailed(
            f"{what} took more than {seconds:g} s",
            hint="the camera accepts connections but sends nothing: restart it if this lasts",
            reason="timeout",
        )

    def _streaming(self) -> None:
        self.state = "streaming"
        self._metrics.source_up.labels(self._name).set(1)
        if self._fault:
            self._tally.reconnects += 1
            self._metrics.source_reconnects.labels(self._name).inc()
            log.info("camera %s recovered after %d failures", self._name, self._failures)
        self._fault, self._failures = None, 0

    async def _after(self, error: PartFailed) -> None:
        """Say once what failed, and wait until another try makes sense.

        Raises:
            PartFailed: the same, where none does.

        """
        first = self._fault is None
        self._fault = error
        self._failures += 1
        final = self._address.kind == "file" or error.reason in _FINAL
        hangs = error.reason == "stalled" or (error.reason in _WAITED and self.state == "stalled")
        self.state = "failed" if final else "stalled" if hangs else "waiting"
        if first:
            log.warning("camera %s: %s. %s", self._name, error, error.hint)
        if final:
            raise error
        wait = self._backoff.next()
        if error.reason in _NO_ANSWER:
            await until_it_answers(self._address.host, self._address.port)
        elif error.reason not in _WAITED:
            await asyncio.sleep(self._longest(error.reason, wait))

    def _longest(self, reason: str, wait: float) -> float:
        """Bend a wait: cheap questions may be asked often, wrong passwords must not."""
        if reason == "auth":
            return max(wait, self._config.reconnect_max)
        recently = time.monotonic() - self._last_picture < _SOON
        cheap = reason == "no_device" or (recently and reason in _CHEAP)
        return min(wait, _OFTEN) if cheap else wait
