"""One capture: a thread that reads one stream, and the place where its frames wait.

A capture is opened once. Whoever gives up on it calls ``stop`` and makes another: the old one's
frames lie in its own slot, which nobody reads any more, so a read that returns late delivers
nothing. Its thread ends as soon as that read returns, which the reader bounds.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from edge.errors import PartFailed
from edge.frame import Frame, Pixels
from edge.sources.capture_opencv import Reader
from edge.sources.capture_sampling import Pace, Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a stream is read."""

    every: int = 1
    fps: float | None = None
    #: a file: its frames have positions, and its end is an end
    file: bool = False
    #: a file plays at its own speed
    paced: bool = False
    #: a file begins again at its end
    looped: bool = False
    #: 0: the newest frame wins. n: each frame is handed over, at most n unsettled ones at once
    in_hand: int = 0
    #: tells whether the next frame that ``every`` and ``fps`` leave is wanted; in the thread
    wanted: Callable[[], bool] = lambda: True
    #: tells the capture time of a file's first frame; None: frames are taken when they are read
    began: Callable[[], datetime] | None = None


@dataclass(slots=True)
class Tally:
    """What one camera counted over all its captures."""

    read: int = 0
    skipped: int = 0
    newer: int = 0
    broken: int = 0
    offered: int = 0
    reconnects: int = 0
    stalls: int = 0
    #: called for each frame that gave way to a newer one
    dropped: Callable[[], None] = field(default=lambda: None, repr=False)


class Capture:
    """Reads one stream in a thread of its own, from ``start`` to its end or ``stop``.

    Args:
        name: the source's name; the thread is called after it.
        reader: what it reads from; nobody else may use it.
        manner: how.
        tally: where it counts.
        heard: called in ``loop`` when there is news: opened, first frame, a frame, ended.
        loop: the event loop that the news goes to.

    """

    def __init__(
        self,
        name: str,
        reader: Reader,
        manner: Manner,
        *,
        tally: Tally,
        heard: Callable[[Capture], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.name = name
        self._reader = reader
        self._manner = manner
        self._tally = tally
        self._heard = heard
        self._loop = loop
        self._sampling = Sampling(manner.every, manner.fps)
        self._pace = Pace() if manner.paced else None
        self._room = threading.Semaphore(manner.in_hand) if manner.in_hand else None
        self._played = 0.0  # seconds of a looped file's earlier rounds
        self._began: datetime | None = None
        self._last_taken: datetime | None = None
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._slot: deque[Frame] = deque()
        self._told = False
        self._thread = threading.Thread(target=self._run, name=f"camera-{name}", daemon=True)
        self.opened = False
        self.delivered = False
        self.ended = False
        self.failure: PartFailed | None = None
        #: moment (``time.monotonic``) at which the last whole frame arrived
        self.last_arrival = time.monotonic()

    def start(self) -> None:
        """Begin to open and read."""
        self._thread.start()

    def stop(self) -> None:
        """Give up on it: nothing more is delivered. Never blocks."""
        self._stopped.set()
        if self._thread.ident is None:
            self.ended = True  # it never began
        with self._lock:
            self._slot.clear()
        if self._room:
            self._room.release()
        self._reader.interrupt()

    def take(self) -> Frame | None:
        """Return the oldest waiting frame (of a live stream there is at most one)."""
        with self._lock:
            self._told = False
            return self._slot.popleft() if self._slot else None

    def settled(self) -> None:
        """Make room for one more frame of those that are handed over one by one."""
        if self._room:
            self._room.release()

    def _run(self) -> None:
        try:
            self._reader.open()
            self._began = self._manner.began() if self._manner.began else None
            self.opened, self.last_arrival = True, time.monotonic()
            self._tell()
            while self._read_through() and self._manner.looped and not self._stopped.is_set():
                self._reader.close()
                self._reader.open()
        except PartFailed as error:
            self.failure = error
        finally:
            self._reader.close()
            self.ended = True
            self._tell()

    def _read_through(self) -> bool:
        """Read to the end; True if there was a picture in it."""
        start, position, pictures = self._played, 0.0, 0
        while not self._stopped.is_set() and self._reader.grab():
            if self._stopped.is_set():
                break
            self._tally.read += 1
            position = self._reader.position if self._manner.file else 0.0
            pictures += self._arrived(start + position)
        self._played = start + position + 1e-3
        if not pictures and self._manner.file and not self._stopped.is_set():
            raise PartFailed("no picture in it could be decoded", reason="no_video")
        return pictures > 0

    def _arrived(self, position: float) -> bool:
        """Handle the frame just grabbed; False if it is broken."""
        now = time.monotonic()
        taken_at = datetime.now(UTC)
        if self._pace:
            self._stopped.wait(self._pace.wait(position, now))
            taken_at = datetime.now(UTC)
        at = position if self._manner.file else now
        if not (self._sampling.wants(at) and self._manner.wanted()):
            self._tally.skipped += 1
            self.last_arrival = now
            return True
        if self._room:
            self._room.acquire()
        pixels = None if self._stopped.is_set() else self._reader.retrieve()
        if pixels is None:
            self._tally.broken += 1
            self.settled()
            return False
        self.last_arrival = now
        if self._began:
            taken_at = self._began + timedelta(seconds=position)
        self._put(pixels, taken_at)
        return True

    def _put(self, pixels: Pixels, taken_at: datetime) -> None:
        # Ids are made from the capture time: no two frames of a capture may share one.
        # (A clock that was set back by more is believed.)
        if self._last_taken and timedelta() <= self._last_taken - taken_at < timedelta(seconds=1):
            taken_at = self._last_taken + timedelta(microseconds=1)
        self._last_taken = taken_at
        frame = Frame(pixels=pixels, taken_at=taken_at, source=self.name, subject=self.name)
        with self._lock:
            if self._stopped.is_set():
                return
            gave_way = bool(self._slot) and self._room is None
            if gave_way:
                self._slot.clear()
            self._slot.append(frame)
            self.delivered = True
            told, self._told = self._told, True
        if gave_way:
            self._tally.newer += 1
            self._tally.dropped()
        if not told:
            self._tell()

    def _tell(self) -> None:
        """Wake the loop; it may have gone, and then nobody is left to tell."""
        if not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._heard, self)
            except RuntimeError:  # closed between the question and the call
                return
