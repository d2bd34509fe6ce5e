"""NVIDIA's driver as PyNvVideoCodec needs it, of our own: it knows what each packet shows."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
from importlib.machinery import PathFinder
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.places import ROOT, need

LIBRARY = "PyNvVideoCodec"
_LIBRARY = ROOT / "build" / "gpu" / "video"
_DRIVER = ROOT / "tests" / "gpu" / "driver"


def library_path() -> str:
    """Return where the real PyNvVideoCodec is; skip where there is none: it is no dependency."""
    subprocess.run([ROOT / "packaging" / "test-pycuda"], check=True)  # at once where it is there
    if PathFinder.find_spec(LIBRARY, [str(_LIBRARY)]) is None:
        pytest.skip(f"needs {LIBRARY}: packaging/test-pycuda brings it")
    return str(_LIBRARY)


def build(folder: Path) -> Path:
    """Compile the driver into a folder, for ``LD_LIBRARY_PATH``; skip where that cannot be."""
    files = importlib.metadata.files("nvidia-cuda-runtime") or []
    header = next((Path(str(file.locate())) for file in files if file.name == "cuda.h"), None)
    if header is None or not shutil.which("gcc"):
        pytest.skip("needs gcc, and CUDA's headers: pip install nvidia-cuda-runtime")
    names = (_DRIVER / "names.txt").read_text().split()
    rest = folder / "rest.c"
    lacks = "__attribute__((weak)) int {}(void) {{ return 801; }}\n"
    rest.write_text("".join(lacks.format(name) for name in names))
    for name, sources in (
        ("libcuda.so.1", [_DRIVER / "fake.c", _DRIVER / "video.c", rest]),
        ("libnvcuvid.so.1", [_DRIVER / "nvcuvid.c"]),
    ):
        options = ["-O1", "-fPIC", "-shared", "-w", "-pthread", f"-I{header.parent}"]
        command = ["gcc", *options, f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run([*command, *map(str, sources)], check=True)
    (folder / "libnvidia-encode.so.1").symlink_to("libnvcuvid.so.1")
    return folder


def environment(driver: Path) -> dict[str, str]:
    """Return the environment of a child that has the driver."""
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(driver),
        "PYTHONPATH": str(ROOT),
        "ORT_DISABLE_TELEMETRY": "1",
    }


def records(video: Path) -> bytes:
    """Return what each packet of an elementary stream without B-frames shows, for ``nvcuvid.c``."""
    ffmpeg = [need("ffmpeg", "ffmpeg"), "-v", "error", "-i", str(video)]
    nut = video.with_suffix(".nut")
    subprocess.run([*ffmpeg, "-y", "-c", "copy", nut], check=True)
    packets = cv2.VideoCapture(str(nut), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    width = int(packets.get(cv2.CAP_PROP_FRAME_WIDTH))
    height = int(packets.get(cv2.CAP_PROP_FRAME_HEIGHT))
    made = subprocess.run(
        [*ffmpeg, "-pix_fmt", "nv12", "-f", "rawvideo", "pipe:1"], check=True, capture_output=True
    ).stdout
    pictures = np.frombuffer(made, np.uint8).reshape(-1, width * height * 3 // 2)
    found = b""
    for picture in pictures:
        whole, packet = packets.read()
        assert whole
        found += _fnv(packet.tobytes()).to_bytes(8, "little")
        found += width.to_bytes(4, "little") + height.to_bytes(4, "little") + picture.tobytes()
    assert not packets.grab()
    return found


def _fnv(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value
