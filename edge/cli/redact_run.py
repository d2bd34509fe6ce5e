"""Runs ``edge redact`` on the service's own path: lanes, delivery, engine holder, gate.

Only the ends differ: files come in, and parcels go into files instead of the outbox.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from edge.app.hands import WAITING
from edge.app.parts import choose_engine, with_model
from edge.bus.delivery import Delivery
from edge.bus.lanes import Lanes
from edge.bus.pictures import Alone, Pictures
from edge.cli.redact_ends import Ends
from edge.cli.redact_plan import Planned
from edge.cli.redact_progress import Progress
from edge.cli.redact_report import Report, Task
from edge.cli.redact_video import OUTPUT, VideoDoor
from edge.config.detect import DetectConfig, ModelsConfig
from edge.config.privacy import Margin, Policy
from edge.config.root import Config
from edge.config.secret import Secret
from edge.config.sources import CameraConfig
from edge.config.store import FolderStoreConfig
from edge.contracts import Picture
from edge.errors import Fatal, PartFailed
from edge.event import PICTURE_ARRIVED, Event, Outcome
from edge.frame import Encoded
from edge.ops.groups import cause_of
from edge.ops.metrics import Metrics
from edge.privacy.gate import PrivacyGate
from edge.sources.camera import Camera
from edge.stages.engines.holder import EngineHolder
from edge.stages.pool import PicturePool
from edge.stages.walk import Redact

MAX_BYTES = 512 * 2**20
"""A picture file larger than this is refused; videos may be of any size."""
ENGINE_TRIES = 3
"""An engine that fails to open so many times in a row ends the run."""
_SOURCE = "files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of the command, as click has checked them."""

    method: Any
    margin: float
    picture_format: Any
    quality: int
    engine: Any
    model: str
    models: Path | None
    threshold: float | None
    workers: int | None
    audio: bool

    def policy(self) -> Policy:
        """Return how people are covered."""
        side = self.margin
        return Policy(
            method=self.method,
            margin=Margin(top=side, right=side, bottom=side, left=side),
            format=self.picture_format,
            quality=self.quality,
        )

    def config(self) -> Config:
        """Return what the path needs of a box's configuration."""
        return Config(
            store=FolderStoreConfig(kind="folder", path="unused"),
            detect=DetectConfig.model_validate(
                {
                    "engine": self.engine,
                    "model": self.model,
                    "threshold": self.threshold,
                    "workers": self.workers or os.cpu_count() or 1,
                    "timeout": "60s",
                }
            ),
            models=ModelsConfig(path=str(self.models or "")),
        )


async def run(
    tasks: Sequence[Planned], settings: Settings, file: TextIO | None, *, progress: bool
) -> dict[str, Any]:
    """Redact everything; return the sums.

    Raises:
        Fatal: no model. PartFailed: the engine does not run, or an output cannot be written.

    """
    started = time.monotonic()
    report = Report(file)
    with Progress(tasks, show=progress) as bar:
        ends = Ends(report, bar.step)
        try:
            async with asyncio.TaskGroup() as group:
                path = await _open_path(settings, ends, group)
                await _pictures([task for task in tasks if not task.video], path.lanes, ends)
                for task in tasks:
                    if task.video:
                        await _video(task, path.lanes, ends, audio=settings.audio)
                path.close()
        except BaseExceptionGroup as failures:
            raise _told(cause_of(failures)) from failures
    return {**report.sums(), "seconds": round(time.monotonic() - started, 3)}


def _told(cause: BaseException) -> BaseException:
    # Fatal stops the path at once; to the shell a full disk is a dependency, not a bad set-up.
    if isinstance(cause, Fatal) and cause.reason == OUTPUT:
        return PartFailed(str(cause), hint=cause.hint, reason=OUTPUT)
    return cause


@dataclass(frozen=True, slots=True)
class _Path:
    """The open path: what to put pictures into, and what runs behind it."""

    lanes: Lanes
    pool: PicturePool
    tasks: tuple[asyncio.Task[None], ...]

    def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.pool.close()


async def _open_path(settings: Settings, ends: Ends, group: asyncio.TaskGroup) -> _Path:
    config, policy, metrics = settings.config(), settings.policy(), Metrics()
    config = await asyncio.to_thread(with_model, config, config.detect.model)
    holder = EngineHolder(choose_engine(config).open, metrics)
    pool = PicturePool(config.detect.workers, config.detect.timeout)
    lanes = Lanes(metrics)
    redact = Redact(
        metrics,
        pool=pool,
        holder=holder,
        gate=PrivacyGate(lambda _: policy, engine_ok=holder.qualifies),
        policy_for=lambda _: policy,
        max_pixels=config.detect.max_pixels,
    )
    pictures = Pictures(metrics, audience=Alone("redact", redact), keeper=ends)
    in_hand = pool.workers + WAITING
    delivery = Delivery(lanes, pictures, metrics, in_hand=in_hand, broke=holder.broke)
    ready = asyncio.Event()
    engine = group.create_task(_keep_engine(holder, ready), name="engine")
    path = group.create_task(delivery.run(), name="path")
    await ready.wait()
    return _Path(lanes, pool, (engine, path))


async def _keep_engine(holder: EngineHolder, ready: asyncio.Event) -> None:
    failures = 0

    def up() -> None:
        nonlocal failures
        failures = 0
        ready.set()

    while True:
        try:
            await holder.run(up)
        except PartFailed:
            failures += 1
            if failures >= ENGINE_TRIES:
                raise
            await asyncio.sleep(0.2)


async def _pictures(tasks: Sequence[Planned], lanes: Lanes, ends: Ends) -> None:
    for number, planned in enumerate(tasks):
        task = Task(input=planned.input, output=planned.output)
        try:
            size = planned.input.stat().st_size
            body = b"" if size > MAX_BYTES else await asyncio.to_thread(planned.input.read_bytes)
        except OSError as error:
            ends.refuse(task, f"damaged: {error.strerror}")
            continue
        if size > MAX_BYTES:
            ends.refuse(task, f"too_large: {size} bytes; at most {MAX_BYTES} are read")
            continue
        event = _arrived(number, planned.input, body)
        ends.expect(event, task)
        await lanes.accept(event, ends.settle)
    await ends.all_ended()


def _arrived(number: int, path: Path, body: bytes) -> Event[Picture]:
    taken_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    picture = Encoded(
        body=body, name=path.name, taken_at=taken_at, source=_SOURCE, subject=path.name
    )
    return Event(
        id=f"{number}-{path.name}",
        source=f"/redact/{_SOURCE}",
        type=PICTURE_ARRIVED,
        subject=path.name,
        time=taken_at.isoformat(),
        data=picture,
    )


async def _video(planned: Planned, lanes: Lanes, ends: Ends, *, audio: bool) -> None:
    config = CameraConfig(kind="camera", url=Secret(str(planned.input.resolve())), pace="fast")
    camera = Camera("video", config, metrics=Metrics(), origin="/redact")
    planned.output.parent.mkdir(parents=True, exist_ok=True)
    door = ends.video = VideoDoor(planned.input, planned.output, audio=audio)
    written = False
    try:
        await _frames(planned, camera, lanes, ends)
        written = await asyncio.to_thread(door.close)
        state = camera.status()
        if not written and state.state == "failed":
            ends.refuse(_whole(planned), f"damaged: {state.reason}")
    except PartFailed as error:
        ends.refuse(_whole(planned), f"damaged: {error}")
    finally:
        await camera.close()
        ends.video = None
        if not written:
            door.abort()


async def _frames(planned: Planned, camera: Camera, lanes: Lanes, ends: Ends) -> None:
    async def settle(event: Event[Picture], outcome: Outcome, reason: str = "") -> None:
        await ends.settle(event, outcome, reason)
        await camera.settle(event, outcome, reason)

    index = 0
    async for event in camera.events():
        ends.expect(event, Task(input=planned.input, output=planned.output, frame=index))
        index += 1
        await lanes.accept(event, settle)
    await ends.all_ended()


def _whole(planned: Planned) -> Task:
    return Task(input=planned.input, output=planned.output)
