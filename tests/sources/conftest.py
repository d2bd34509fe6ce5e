"""Cameras under test, someone who watches them, and videos made for them."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge.config.sources import CameraConfig
from edge.contracts import Picture
from edge.event import Event, Outcome
from edge.frame import Frame
from edge.ops.metrics import Metrics
from edge.sources.camera import Camera
from tests.places import need
from tests.servers.http_camera import http_camera, https_camera
from tests.servers.odd_s3 import odd_https, odd_s3
from tests.servers.rgw import bucket, rgw
from tests.servers.rtsp import serve_rtsp, start_rtsp

__all__ = [
    "bucket",
    "http_camera",
    "https_camera",
    "odd_https",
    "odd_s3",
    "rgw",
    "serve_rtsp",
    "start_rtsp",
]

PATIENCE = 20.0
"""Seconds after which something that was waited for has not happened. Never a measure of speed."""


def frame_of(event: Event[Picture]) -> Frame:
    assert isinstance(event.data, Frame)
    return event.data


@dataclass
class Viewer:
    """Takes a camera's frames as they come, and settles each."""

    camera: Camera
    metrics: Metrics
    #: pixels are let go, or a long test would hold gigabytes
    sizes: list[tuple[int, int]] = field(default_factory=list)
    #: moments of the loop's clock
    times: list[float] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self.task = asyncio.create_task(self._watch(), name="viewer")

    async def _watch(self) -> None:
        async for event in self.camera.events():
            self.sizes.append(frame_of(event).size)
            self.ids.append(event.id)
            self.times.append(asyncio.get_running_loop().time())
            await self.camera.settle(event, Outcome.DONE)

    async def until(self, true: Callable[[], bool], patience: float = PATIENCE) -> float:
        """Wait until something is true, noting the states on the way; return when it was."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while True:
            state = self.camera.status().state
            if not self.states or self.states[-1] != state:
                self.states.append(state)
            if true():
                return loop.time()
            assert loop.time() < end, f"it did not happen: {self.camera.status()}"
            await asyncio.sleep(0.005)

    async def frames(self, more: int = 1) -> float:
        """Wait for so many more frames; return when the last came."""
        wanted = len(self.times) + more
        await self.until(lambda: len(self.times) >= wanted)
        return self.times[wanted - 1]

    async def state(self, name: str) -> float:
        return await self.until(lambda: self.camera.status().state == name)

    async def end(self) -> None:
        await self.camera.close()
        if self.task:
            await asyncio.wait_for(asyncio.gather(self.task, return_exceptions=True), PATIENCE)


Watch = Callable[..., Viewer]


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """Open and watch a camera: ``watch(url, name="gate", stall_after="1s", …)``."""
    viewers: list[Viewer] = []

    def open_camera(url: str | Path, name: str = "gate", **config: object) -> Viewer:
        metrics = Metrics()
        section = CameraConfig.model_validate({"kind": "camera", "url": str(url), **config})
        viewer = Viewer(Camera(name, section, metrics=metrics, origin="/site/box"), metrics)
        viewers.append(viewer)
        viewer.begin()
        return viewer

    yield open_camera
    for viewer in viewers:
        await viewer.end()


MakeVideo = Callable[..., Path]


@pytest.fixture(scope="session")
def make_video(tmp_path_factory: pytest.TempPathFactory) -> MakeVideo:
    """Make a moving test picture: ``make_video("a.mp4", seconds=4, size="640x360")``."""
    folder = tmp_path_factory.mktemp("videos")
    ffmpeg = need("ffmpeg", "ffmpeg")

    def make(name: str, *more: str, seconds: float = 4, size: str = "640x360") -> Path:
        path = folder / name
        if not path.exists():
            picture = f"testsrc2=s={size}:r=15:d={seconds}"
            coding = more or ("-c:v", "libx264", "-g", "15", "-bf", "0", "-preset", "ultrafast")
            command = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", picture, "-pix_fmt", "yuv420p"]
            subprocess.run([*command, *coding, str(path)], check=True)
        return path

    return make
