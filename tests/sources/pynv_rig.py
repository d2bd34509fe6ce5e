"""PyNvVideoCodec for tests: a library of ours in its place, cameras, and streams from files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels
from edge.sources.camera_address import Address, read_address
from edge.sources.capture_opencv import Reader
from edge.sources.capture_pynvvideocodec import PyNvReader
from tests.places import need

READ_TIMEOUT = 8.0
PATIENCE = 30.0


def a_library(folder: Path) -> str:
    """Return a directory with a package of the library's name: ``fake_pynvvideocodec``."""
    fake = "from tests.gpu import fake_pynvvideocodec as fake"
    return a_package(folder, f"import sys\n{fake}\nsys.modules[__name__] = fake\n")


def a_package(folder: Path, text: str) -> str:
    """Return a directory with a package of the library's name that has this text."""
    package = folder / str(len(list(folder.iterdir()))) / "PyNvVideoCodec" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.write_text(text)
    return str(package.parent.parent)


def a_reader(address: Address, library: str, *, device: int = 0) -> PyNvReader:
    return PyNvReader(
        address,
        verify=False,
        open_timeout=PATIENCE,
        read_timeout=READ_TIMEOUT,
        library_path=library,
        device=device,
    )


def pictures(reader: Reader, count: int) -> list[Pixels]:
    found: list[Pixels] = []
    while len(found) < count and reader.grab():
        pixels = reader.retrieve()
        if pixels is not None:
            found.append(pixels)
    return found


def every_picture(path: Path) -> list[Pixels]:
    capture = cv2.VideoCapture(str(path))
    found: list[Pixels] = []
    while True:
        whole, picture = capture.read()
        if not whole:
            return found
        found.append(np.asarray(picture, np.uint8))


def small(picture: Pixels) -> NDArray[np.int16]:
    return cv2.resize(picture, (80, 45), interpolation=cv2.INTER_AREA).astype(np.int16)


def which(picture: Pixels, among: list[NDArray[np.int16]]) -> tuple[int, float]:
    """Return the number of the picture that is most like it, and the mean difference in levels."""
    apart = [float(np.abs(small(picture) - other).mean()) for other in among]
    return int(np.argmin(apart)), min(apart)


def a_stream(path: Path, *sizes: str, coder: str = "libx264") -> None:
    """Write one elementary stream of pictures of several sizes."""
    ffmpeg = [need("ffmpeg", "ffmpeg"), "-v", "error", "-y"]
    with path.open("wb") as whole:
        for size in sizes:
            part = path.with_suffix(f".{size}")
            source = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r=10:d=1"]
            coding = ["-c:v", coder, "-bf", "0", "-pix_fmt", "yuv420p", "-f", path.suffix[1:]]
            subprocess.run([*ffmpeg, *source, *coding, part], check=True)
            whole.write(part.read_bytes())


class FromFile:
    """Stands where ffmpeg is, and passes on a file: what no camera at hand does."""

    def __init__(self, path: Path, *more: str) -> None:
        self._path = path
        self._more = more
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, output: int) -> None:
        ffmpeg = [need("ffmpeg", "ffmpeg"), "-v", "error", "-i", str(self._path)]
        self.process = subprocess.Popen(
            [*ffmpeg, "-c", "copy", *self._more, "-f", "nut", "pipe:1"],
            stdout=output,
            stdin=subprocess.DEVNULL,
        )

    def interrupt(self) -> None:
        if self.process:
            self.process.kill()

    def close(self) -> None:
        if self.process:
            self.process.wait()


def from_file(path: Path, library: str, *more: str) -> PyNvReader:
    """Return a reader of a file; ``more`` is what ffmpeg is told of its output."""
    reader = a_reader(read_address("rtsp://127.0.0.1:1/none"), library)
    reader.pipe = FromFile(path, *more)  # type: ignore[assignment] # all of it that is used
    return reader
