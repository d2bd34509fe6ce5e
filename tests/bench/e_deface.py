"""(e) Frames a second against deface, the tool that people use today, on the same clip.

deface covers faces and Edge covers people; both find them in each frame of the same 720p H.264 clip
and write each frame as a JPEG. deface has no picture output for videos of its own, so its video
loop (its reader, its detector, its anonymiser, its defaults) writes every frame with the function
with which it writes pictures (``imageio.imsave``); the time of its start is not counted. It is
installed from the package index into ``build/deface``, with ONNX Runtime, its faster backend.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.a_throughput import FRAMES as EDGE_FRAMES
from tests.bench.a_throughput import run_box
from tests.bench.inputs import Inputs
from tests.bench.result import Missing, Row, at_least, middle
from tests.places import ROOT

VENV = ROOT / "build" / "deface"
PACKAGES = ("deface==1.5.0", "onnx", "onnxruntime")
FRAMES = 40
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
"""Their environment holds nothing of ours."""
ROUNDS = 2
MODEL = "yolox_nano_416"
SCALES = {"full size, its default": "", "--scale 640x360": "640x360"}
GOAL = 5.0

SCRIPT = """
import sys, time, pathlib, imageio
from deface.centerface import CenterFace
from deface.deface import anonymize_frame
clip, folder, scale = sys.argv[1:4]
shape = tuple(map(int, scale.split("x"))) if scale else None
centerface = CenterFace(in_shape=shape, backend="onnxrt")
reader = imageio.get_reader(clip)
count, begin = 0, None
for frame in reader.iter_data():
    dets, _ = centerface(frame, threshold=0.2)
    anonymize_frame(dets, frame, mask_scale=1.3, replacewith="blur", ellipse=True,
                    draw_scores=False, replaceimg=None, mosaicsize=20)
    imageio.imsave(f"{folder}/{count}.jpg", frame)
    if begin is None:
        begin = time.perf_counter()
    else:
        count += 1
print(count / (time.perf_counter() - begin))
"""


def install() -> Path:
    """Make deface's own environment, once.

    Raises:
        Missing: the package index cannot be reached.

    """
    python = VENV / "bin" / "python"
    done = VENV / ".done"
    if done.is_file() and done.read_text() == " ".join(PACKAGES):
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    command = [str(python), "-m", "pip", "-qq", "install", *PACKAGES]
    if subprocess.run(command, check=False, cwd=VENV, env=ENVIRONMENT).returncode:
        raise Missing(f"{PACKAGES[0]} from the package index")
    done.write_text(" ".join(PACKAGES))
    return python


def run_deface(python: Path, clip: Path, scale: str) -> float:
    """Return deface's frames a second."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        command = [str(python), "-W", "ignore", "-c", SCRIPT, str(clip), folder, scale]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=folder, env=ENVIRONMENT
        )
    return float(done.stdout.split()[-1])


def measure(inputs: Inputs) -> list[Row]:
    """Run deface at its default and at its fast setting, and the box, in turn."""
    inputs.model(MODEL)
    python = install()
    clip = inputs.clip("720p", FRAMES)
    theirs: dict[str, list[float]] = {name: [] for name in SCALES}
    ours: list[float] = []
    for _ in range(ROUNDS):
        for name, scale in SCALES.items():
            theirs[name].append(run_deface(python, clip, scale))
        ours.append(run_box(inputs, "720p", MODEL).fps)
    return [_row(name, ours, speeds) for name, speeds in theirs.items()]


def _row(name: str, ours: list[float], speeds: list[float]) -> Row:
    ratio = middle([our / their for our, their in zip(ours, speeds, strict=True)])
    goal, kept = at_least(ratio, GOAL)
    return Row(
        part="e",
        what=f"against deface, 720p, {name}",
        value=ratio,
        unit="times",
        against=f"{middle(ours):.0f} to {middle(speeds):.1f} frames/s",
        goal=goal,
        kept=kept,
        note=f"{PACKAGES[0]} on ONNX Runtime, threshold 0.2, blur, mask scale 1.3, ellipse, JPEG "
        f"by imageio, {FRAMES} frames; Edge with {MODEL}, cells, JPEG 85, {EDGE_FRAMES} frames; "
        f"{ROUNDS} rounds",
    )
