"""What is measured with: clips made by ffmpeg, and a canonical model. Kept under build/."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edge.catalog.installed import Catalog
from edge.errors import EdgeError
from tests.bench.result import Missing
from tests.places import ROOT, SHARED

DATA = ROOT / "build" / "bench-data"
FPS = 25
SIZES = {"720p": (1280, 720), "1080p": (1920, 1080)}
ORIGINALS = {
    "picodet_s_416": "picodet_s_416_coco.onnx",
    "yolox_nano_416": "yolox_nano_416x416.onnx",
}
WALK = "data/seq-dev/one_by_one_a.mp4"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where clips and models are, and what is missing."""

    models: Path
    missing: tuple[str, ...]

    def model(self, name: str) -> Path:
        """Return the canonical graph of a model.

        Raises:
            Missing: it is not on this machine and could not be had.

        """
        found = Catalog(self.models).find(name)
        if found is None:
            raise Missing(f"model {name} ({ORIGINALS[name]} of the shared data)")
        return found.path

    def clip(self, size: str, frames: int) -> Path:
        """Return an H.264 clip of people who come and go, at 25 frames a second."""
        return make_clip(size, frames)


def prepare() -> Inputs:
    """Install the models, from the shared data or from their public address."""
    catalog = Catalog(DATA / "models")
    missing = []
    for name, file in ORIGINALS.items():
        original = SHARED / "data" / "models" / "originals" / file
        try:
            if catalog.find(name) is None and original.is_file():
                catalog.import_file(original)
            elif catalog.find(name) is None:
                asyncio.run(catalog.pull(name, timeout=60))
        except EdgeError as error:
            missing.append(f"model {name}: {error}")
    if not (SHARED / WALK).is_file():
        missing.append(f"{WALK} of the shared data: a test picture without people instead")
    return Inputs(DATA / "models", tuple(missing))


def make_clip(size: str, frames: int) -> Path:
    """Make a clip, looped and scaled from the shared one, unless it is there."""
    width, height = SIZES[size]
    source = SHARED / WALK
    kind = "people" if source.is_file() else "pattern"
    path = DATA / f"{kind}-{size}-{frames}.mp4"
    if path.is_file():
        return path
    DATA.mkdir(parents=True, exist_ok=True)
    given = ["-stream_loop", "-1", "-i", str(source)]
    if kind == "pattern":
        given = ["-f", "lavfi", "-i", f"testsrc2=size={width}x{height}:rate={FPS}"]
    drawn = f"fps={FPS},scale={width}:{height}:flags=bilinear,format=yuv420p"
    ffmpeg([*given, "-vf", drawn, "-frames:v", str(frames), *H264], path)
    return path


H264 = ["-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-g", str(FPS), "-bf", "0"]
"""As cameras send it: no B frames, one key frame a second."""


def ffmpeg(arguments: list[str], path: Path) -> None:
    """Run ffmpeg; the file appears only when it is whole."""
    part = path.with_name(f".part-{path.name}")
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments, str(part)]
    try:
        subprocess.run(command, check=True)
    except FileNotFoundError as error:
        raise Missing("ffmpeg (packaging/test-servers installs it)") from error
    part.rename(path)
