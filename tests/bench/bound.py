"""The bound: the bare parts of the path in one loop, one process a core, nothing in between.

    python -m tests.bench.bound CLIP MODEL FOLDER

decodes, detects, redacts, encodes and writes every frame of CLIP: the very graph and the very way
of redacting that the box has, and no queue, no gate, no outbox, no message, no page. Two of these
on two cores share no GIL: no single process can be faster with the same parts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from edge.config.privacy import Policy, PrivacyConfig, SourcePrivacy
from edge.detections import Detections, Sighting
from edge.frame import Frame, Pixels
from edge.ops.process import settle_process
from edge.stages.detect import prepare
from edge.stages.engines.onnx import OnnxEngine
from edge.stages.redact import redact
from tests.places import ROOT

STEPS = ("decode", "detect", "redact", "encode", "write")


@dataclass(frozen=True, slots=True)
class Bound:
    """What the bare loops reached together."""

    fps: float
    #: processor seconds a frame, writing the file included
    cpu: float
    #: seconds a frame by step, on a busy machine
    steps: dict[str, float]


def measure(processes: int, clip: Path, model: Path, folder: Path) -> Bound:
    """Run the loop in several processes at once, started together."""
    running = []
    for number in range(processes):
        out = folder / str(number)
        out.mkdir(parents=True)
        command = [sys.executable, "-m", "tests.bench.bound", str(clip), str(model), str(out)]
        pipe = subprocess.PIPE
        running.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT))
    for one in running:
        assert one.stdout is not None
        one.stdout.readline()  # ready
    for one in running:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    told = [json.loads(one.communicate()[0]) for one in running]
    frames = sum(one["frames"] for one in told)
    seconds = max(one["end"] for one in told) - min(one["begin"] for one in told)
    steps = {step: sum(one["steps"][step] for one in told) / frames for step in STEPS}
    return Bound(frames / seconds, sum(one["cpu"] for one in told) / frames, steps)


def look(pixels: Pixels, engine: OnnxEngine) -> Detections:
    """Run the graph, and bring its boxes back to the picture: what no loop can do without."""
    picture, used = prepare(pixels, engine.info)
    named = {"image": picture[np.newaxis]}
    boxes, scores, labels = engine._session.run(["boxes", "scores", "labels"], named)
    people = scores[0] >= engine.info.threshold
    scale = np.array([pixels.shape[1] / used[0], pixels.shape[0] / used[1]] * 2, np.float32)
    return Detections(
        boxes=boxes[0][people] * scale, scores=scores[0][people], labels=labels[0][people]
    )


def one_frame(
    capture: cv2.VideoCapture, engine: OnnxEngine, policy: Policy, path: Path
) -> list[float]:
    """Take one frame all the way; return the time before each step and after the last, none at
    the end of the clip.
    """
    times = [time.perf_counter()]
    more, pixels = capture.read()
    if not more:
        return []
    times.append(time.perf_counter())
    taken = Frame(
        pixels=pixels.astype(np.uint8, copy=False),
        taken_at=datetime.now(UTC),
        source="c",
        subject="c",
    )
    found = Sighting(frame=taken, detections=look(taken.pixels, engine), engine=engine.info)
    times.append(time.perf_counter())
    covered = redact(found, policy).pixels
    times.append(time.perf_counter())
    _, body = cv2.imencode(".jpg", covered, [cv2.IMWRITE_JPEG_QUALITY, policy.quality])
    times.append(time.perf_counter())
    path.write_bytes(body.tobytes())
    return [*times, time.perf_counter()]


def work(clip: Path, model: Path, folder: Path) -> None:
    """Be one of the processes."""
    cv2.setNumThreads(1)
    policy = PrivacyConfig().for_source(SourcePrivacy())
    engine = OnnxEngine.open(model)
    capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    print("ready", flush=True)
    sys.stdin.readline()
    frames, steps = 0, dict.fromkeys(STEPS, 0.0)
    begin, cpu = time.time(), time.process_time()
    while times := one_frame(capture, engine, policy, folder / f"{frames}.jpg"):
        for step, start, end in zip(STEPS, times, times[1:], strict=False):
            steps[step] += end - start
        frames += 1
    used = time.process_time() - cpu
    told = {"frames": frames, "begin": begin, "end": time.time(), "cpu": used, "steps": steps}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    settle_process()
    work(*map(Path, sys.argv[1:4]))
