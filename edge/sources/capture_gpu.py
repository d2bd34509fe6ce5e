"""RTSP cameras that the GPU decodes, by the first way that this box has; else by the processor.

Off unless a camera asks for it (``decode = "gpu"``), and only while it works: whatever goes wrong,
the processor decodes instead, and the log says which way decodes and why no other. No way was ever
seen on a GPU: the tests have the processor decode in the GPU's place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.errors import PartFailed
from edge.frame import Pixels
from edge.sources.capture_opencv import Reader

log = logging.getLogger(__name__)

_TRIES = 3
"""So often within an hour the GPU may begin to decode a camera."""
_HOUR = 3600.0
_asking = threading.Lock()
"""Each camera asks the same at the start; the answers are kept, so that one at a time is enough."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to have a GPU decode a camera.

    Its reader raises ``PartFailed`` from ``grab`` and ``retrieve``, too, where it knows that not
    the camera failed but the decoder. Interrupted before ``open``, it opens nothing or soon ends.
    """

    #: as the log calls it
    name: str
    #: tells in a clause of its own why this box cannot; empty: it may be tried. May block at first
    why_not: Callable[[], str]
    #: makes what reads the camera this way
    reader: Callable[[], Reader]


class GpuDecoding:
    """Who decodes one camera: the GPU, until there is a reason against it.

    Args:
        name: the camera's name, for the log.

    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._begun: deque[float] = deque()
        self._passed_over: list[str] = []
        #: why the processor decodes from now on; empty: the GPU does
        self.given_up = ""
        #: who decodes and why, in words; empty: nobody knows yet
        self.told = ""

    def begin(self, ways: Sequence[Way]) -> Way | None:
        """Return the way that decodes the stream that is opened now, the best first; may block.

        None: the processor decodes it.
        """
        if self.given_up:
            return None
        way = self.choose(ways)
        now = time.monotonic()
        while self._begun and self._begun[0] < now - _HOUR:
            self._begun.popleft()
        self._begun.append(now)
        if way and len(self._begun) <= _TRIES:
            return way
        often = f"it was opened {len(self._begun)} times within an hour"
        self.give_up(often if way else "; ".join(self._passed_over))
        return None

    def choose(self, ways: Sequence[Way]) -> Way | None:
        """Return the first way that this box has; may block where nobody asked before."""
        passed_over: list[str] = []
        self._passed_over = passed_over
        with _asking:
            for way in ways:
                why = way.why_not()
                if not why:
                    return way
                passed_over.append(why)
        return None

    def give_up(self, why: str) -> None:
        """Leave the camera to the processor, until it or the box is started anew."""
        if not self.given_up:
            self.given_up = why
            self.told = f"decoded by the processor: {why}"
            log.warning("camera %s is %s", self._name, self.told)

    def works(self, way: Way) -> None:
        """Say that its first picture came."""
        why = f" ({'; '.join(self._passed_over)})" if self._passed_over else ""
        self.told = f"decoded by the GPU, by {way.name}{why}"
        log.info("camera %s is %s", self._name, self.told)


class GpuReader:
    """Reads with the GPU, or with the processor where that cannot be.

    Args:
        decoding: what is known of this camera.
        ways: how a GPU might decode it, the best first.
        processor: reads the same camera without it.

    """

    def __init__(self, decoding: GpuDecoding, *, ways: Sequence[Way], processor: Reader) -> None:
        self._decoding = decoding
        self._ways = ways
        self._processor = processor
        self._inner: Reader = processor
        self._way: Way | None = None
        self._pictures = 0
        self._interrupted = threading.Event()

    def open(self) -> None:
        self._way = self._decoding.begin(self._ways)
        if not (self._way and self._opens(self._way.reader())):
            self._way, self._inner = None, self._processor
            self._processor.open()

    def _opens(self, reader: Reader) -> bool:
        self._inner = reader
        if self._interrupted.is_set():  # just before it was there
            reader.interrupt()
        try:
            reader.open()
        except PartFailed as error:
            self._decoding.give_up(f"what the GPU decoded could not be opened: {error}")
            reader.close()
            if self._interrupted.is_set():
                raise
            return False
        return True

    def grab(self) -> bool:
        try:
            return self._inner.grab()
        except PartFailed as error:
            self._failed(error)
            return False

    def retrieve(self) -> Pixels | None:
        try:
            pixels = self._inner.retrieve()
        except PartFailed as error:
            self._failed(error)
            return None
        if pixels is not None and self._way:
            if not self._pictures:
                self._decoding.works(self._way)
            self._pictures += 1
        return pixels

    @property
    def position(self) -> float:
        return self._inner.position

    def close(self) -> None:
        self._judge()
        self._inner.close()

    def interrupt(self) -> None:
        self._interrupted.set()
        # Whoever waits no longer opens it again at once: with the processor, then.
        self._judge()
        self._inner.interrupt()
        self._processor.interrupt()

    def _failed(self, error: PartFailed) -> None:
        if not self._way:
            raise error
        if not self._interrupted.is_set():
            self._decoding.give_up(f"the GPU's decoder failed: {error}")

    def _judge(self) -> None:
        if self._way and not self._pictures:
            self._decoding.give_up("the GPU brought no picture of it")
