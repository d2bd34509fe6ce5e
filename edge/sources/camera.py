"""A CCTV camera or a video file as a source of frames."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import cv2

from edge.config.sources import CameraConfig
from edge.contracts import Picture, SourceStatus
from edge.errors import PartFailed
from edge.event import FRAME_TAKEN, Event, Outcome
from edge.frame import Frame
from edge.ops.metrics import Metrics
from edge.sources.camera_address import Address, read_address
from edge.sources.camera_watch import Watch
from edge.sources.capture import Capture, Manner, Tally
from edge.sources.capture_ffmpeg import FfmpegReader
from edge.sources.capture_gpu import GpuDecoding, GpuReader
from edge.sources.capture_opencv import OpenCvReader, Reader
from edge.sources.gpu_ways import Gpu, Limits, gpu_ways

_IN_HAND = 8
"""Frames of a file played as fast as possible that may be unsettled at once."""
_CLOSING = 0.8
"""Seconds that the end of ``events`` waits for a thread; one that hangs ends by itself later."""
_WINDOW = 5.0
"""Seconds over which frames a second are measured."""


class Camera:
    """A live source of frames; a file with ``pace = "fast"`` is not live and waits instead.

    A live frame's time is the moment at which it arrived. A frame of a fast file has the file's
    time of change plus its position, so that the same file gives the same events again.

    Args:
        name: the source's name.
        config: its section.
        metrics: where pictures are counted.
        origin: ``/{site}/{node}``, in front of the name in an event's ``source``.
        wanted: asked before a live frame is decoded to the end; False: it is left out.
        gpu: which one may decode it, where the section asks for one.

    """

    def __init__(
        self,
        name: str,
        config: CameraConfig,
        *,
        metrics: Metrics,
        origin: str,
        wanted: Callable[[], bool] = lambda: True,
        gpu: Gpu | None = None,
    ) -> None:
        self.name = name
        self._wanted = wanted
        self._config = config
        self._metrics = metrics
        self._source = f"{origin.rstrip('/')}/{name}"
        self._fault: PartFailed | None = None
        self._address: Address | None = None
        try:
            self._address = read_address(config.url.reveal())
        except PartFailed as error:
            self._fault = error
        fast = config.pace == "fast" and self._address is not None and not self._address.live
        self.live = not fast
        dropped = metrics.pictures_dropped.labels(name, "newer")
        self._tally = Tally(dropped=dropped.inc)
        self._decoding = GpuDecoding(name)
        self._gpu = gpu or Gpu()
        self._watch: Watch | None = None
        self._fresh = asyncio.Event()
        self._closed = False
        self._in_hand: set[str] = set()
        self._last_at: datetime | None = None
        self._size: tuple[int, int] | None = None
        self._times: deque[float] = deque()

    async def events(self) -> AsyncIterator[Event[Picture]]:
        """Yield frames until closed, or until a file is over.

        Raises:
            PartFailed: a file that cannot be played, an address that cannot be read, or an
                encrypted camera without ``ffmpeg``; everything else is tried again for ever.

        """
        if not self._config.enabled or self._closed:
            return
        if self._address is None:
            raise self._fault or PartFailed("no address")
        await self._look_for_gpu(self._address)
        watch = self._watch = self._make_watch(self._address)
        life = asyncio.create_task(watch.run(), name=f"camera {self.name}")
        life.add_done_callback(lambda _: self._fresh.set())
        try:
            while not self._closed:
                self._fresh.clear()
                frame = watch.take()
                if frame is not None:
                    event = self._event(frame)
                    del frame  # six megabytes that nobody need hold while the next one is read
                    yield event
                    del event
                elif life.done():
                    life.result()
                    return
                else:
                    await self._fresh.wait()
        finally:
            watch.stop()
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            await watch.threads_end(_CLOSING)

    @property
    def decoder(self) -> str:
        """Who decodes it and why, in words; empty where nobody asked for a GPU, or none knows."""
        return self._decoding.told

    async def settle(self, event: Event[Picture], outcome: Outcome, reason: str = "") -> None:
        """Make room for the next frame of a fast file."""
        del outcome, reason  # however it ended, it is out of hand
        if self._watch and event.id in self._in_hand:
            self._in_hand.remove(event.id)
            self._watch.settled()

    async def close(self) -> None:
        self._closed = True
        if self._watch:
            self._watch.stop()
        self._fresh.set()

    def status(self) -> SourceStatus:
        watch = self._watch
        fault = self._fault
        state = "failed" if fault else watch.state if watch else "connecting"
        if self._closed and state != "failed":
            state = "finished"
        tally = self._tally
        return SourceStatus(
            name=self.name,
            kind="camera",
            state=state if self._config.enabled else "disabled",
            reason=str(fault) if fault else watch.reason if watch else "",
            hint=fault.hint if fault else watch.hint if watch else "",
            where=self._address.where if self._address else "",
            last_picture_at=self._last_at,
            counts={
                "read": tally.read,
                "offered": tally.offered,
                "skipped": tally.skipped,
                "newer": tally.newer,
                "broken": tally.broken,
                "reconnects": tally.reconnects,
                "stalls": tally.stalls,
            },
            fps=self._fps(),
            size=self._size,
        )

    def _make_watch(self, address: Address) -> Watch:
        loop = asyncio.get_running_loop()

        def make() -> Capture:
            return Capture(
                self.name,
                self._reader(address),
                self._manner(address),
                tally=self._tally,
                heard=watch.heard,
                loop=loop,
            )

        watch = Watch(
            self.name,
            self._config,
            address,
            tally=self._tally,
            metrics=self._metrics,
            make=make,
            news=self._fresh.set,
        )
        return watch

    async def _look_for_gpu(self, address: Address) -> None:
        """Ask before the first opening, which has a time limit, what may take seconds."""
        if self._wants_gpu(address):
            ways = gpu_ways(address, self._gpu, **self._limits(address))
            await asyncio.to_thread(self._decoding.choose, ways)

    def _wants_gpu(self, address: Address) -> bool:
        return address.kind == "rtsp" and self._config.decode == "gpu"

    def _reader(self, address: Address) -> Reader:
        """Choose what reads this kind of address."""
        processor = self._by_processor(address)
        if not self._wants_gpu(address):
            return processor
        ways = gpu_ways(address, self._gpu, **self._limits(address))
        return GpuReader(self._decoding, ways=ways, processor=processor)

    def _by_processor(self, address: Address) -> Reader:
        if address.tls:
            return FfmpegReader(address, **self._limits(address))
        return OpenCvReader(
            address.url.reveal(),
            backend=cv2.CAP_V4L2 if address.kind == "v4l2" else cv2.CAP_FFMPEG,
            network=address.network,
            open_timeout=self._config.open_timeout,
            read_timeout=self._config.stall_after + 1,
        )

    def _limits(self, address: Address) -> Limits:
        return {
            "verify": address.tls and self._config.tls_verify,
            "open_timeout": self._config.open_timeout,
            "read_timeout": self._config.stall_after + 1,
        }

    def _manner(self, address: Address) -> Manner:
        config, file = self._config, address.kind == "file"
        return Manner(
            every=config.every,
            fps=config.fps,
            file=file,
            paced=file and self.live,
            looped=file and config.loop,
            in_hand=0 if self.live else _IN_HAND,
            wanted=self._wanted if self.live else lambda: True,
            began=None if self.live else partial(_changed, address),
        )

    def _event(self, frame: Frame) -> Event[Picture]:
        self._times.append(time.monotonic())
        self._last_at, self._size = frame.taken_at, frame.size
        self._tally.offered += 1
        self._metrics.pictures_taken.labels(self.name).inc()
        event: Event[Picture] = Event(
            id=f"{self.name}-{frame.taken_at:%Y%m%dT%H%M%S.%fZ}",
            source=self._source,
            type=FRAME_TAKEN,
            subject=self.name,
            time=frame.taken_at.isoformat(),
            data=frame,
        )
        if not self.live:
            self._in_hand.add(event.id)
        return event

    def _fps(self) -> float:
        now, times = time.monotonic(), self._times
        while times and times[0] < now - _WINDOW:
            times.popleft()
        return round((len(times) - 1) / (now - times[0]), 1) if len(times) > 1 else 0.0


def _changed(address: Address) -> datetime:
    """Return when a file was changed last: the best guess of when it was filmed."""
    try:
        seconds = Path(address.url.reveal()).stat().st_mtime
    except OSError as error:
        raise PartFailed(f"{address.where} has gone", reason="no_file") from error
    return datetime.fromtimestamp(seconds, UTC)
