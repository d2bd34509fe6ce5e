"""(f) How old a frame is when it arrives and when it is stored, and how soon a hang is noticed.

An RTSP camera of our own notes when it sends which frame; the number of the frame is drawn into its
top edge as blocks, and read again from the redacted picture in the store.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

from edge.frame import Pixels
from tests.bench.box import Box, box, camera, detect
from tests.bench.inputs import DATA, FPS, H264, Inputs, ffmpeg, make_clip
from tests.bench.result import Missing, Row, at_most, middle
from tests.places import free_port

SYSTEM_PYTHON = "/usr/bin/python3"
FRAMES = 250
BITS, BLOCK = 8, 24
"""A frame's number is so many blocks of so many pixels, then the same ones inverted."""
MODEL = "yolox_nano_416"
WATCH = 10.0
LIMIT = 2.0
ROUNDS = 3
GOAL_NOTICE, GOAL_BACK = 1.2, 1.3
"""In limits; and in seconds, of which one is the clip's GOP."""


def draw(pixels: Pixels, number: int) -> None:
    """Draw a number along the top edge."""
    bits = [number >> bit & 1 for bit in range(BITS)]
    for place, bit in enumerate([*bits, *(1 - bit for bit in bits)]):
        pixels[:BLOCK, place * BLOCK : (place + 1) * BLOCK] = 255 * bit


def read(pixels: Pixels) -> int | None:
    """Read the number again; None where something covers it."""
    edge = pixels[BLOCK // 2, BLOCK // 2 : 2 * BITS * BLOCK : BLOCK].mean(axis=1) > 127
    if (edge[:BITS] == edge[BITS:]).any():
        return None
    return int(sum(int(bit) << place for place, bit in enumerate(edge[:BITS])))


def numbered_clip() -> Path:
    """Make the 720p clip with numbers in it."""
    path = DATA / f"numbered-{FRAMES}.mp4"
    if path.is_file():
        return path
    capture = cv2.VideoCapture(str(make_clip("720p", FRAMES)))
    raw = DATA / ".numbered.bgr"
    with raw.open("wb") as out:
        for number in range(FRAMES):
            _, pixels = capture.read()
            frame = pixels.astype(np.uint8, copy=False)
            draw(frame, number)
            out.write(frame.tobytes())
    size = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", "1280x720", "-r", str(FPS)]
    ffmpeg([*size, "-i", str(raw), "-pix_fmt", "yuv420p", *H264], path)
    raw.unlink()
    return path


@dataclass
class Sender:
    """The camera's process, and when it sent which frame."""

    process: subprocess.Popen[str]
    port: int
    sent: list[tuple[int, float]] = field(default_factory=list)

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            number, when = line.split()
            self.sent.append((int(number), float(when)))

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def sent_before(self, number: int, when: float) -> float | None:
        """Return when a frame was sent for the last time before ``when``."""
        times = [sent for which, sent in self.sent if which == number and sent <= when]
        return times[-1] if times else None


@contextmanager
def sender() -> Iterator[Sender]:
    """Run the camera.

    Raises:
        Missing: GStreamer's RTSP server is not installed.

    """
    port = free_port()
    script = Path(__file__).with_name("rtsp_sender.py")
    command = [SYSTEM_PYTHON, str(script), str(numbered_clip()), str(port), str(FPS)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "READY":
            raise Missing("GStreamer's RTSP server (packaging/test-servers installs it)")
        one = Sender(process, port)
        thread = threading.Thread(target=one.listen, name="sender", daemon=True)
        thread.start()
        try:
            yield one
        finally:
            process.kill()
            thread.join()


def ages(one: Box, cam: Sender) -> tuple[list[float], list[float]]:
    """Return the seconds from sending to arrival and to the store, of every stored picture."""
    arrived, stored = [], []
    for path in one.stored():
        pixels = cv2.imread(str(path))
        number = None if pixels is None else read(pixels.astype(np.uint8, copy=False))
        done = path.stat().st_mtime
        sent = None if number is None else cam.sent_before(number, done)
        message = path.with_suffix(".json")
        if sent is None or not message.is_file():
            continue
        taken = datetime.fromisoformat(json.loads(message.read_text())["time"]).timestamp()
        arrived.append(taken - sent)
        stored.append(done - sent)
    return arrived, stored


def streaming(one: Box) -> bool:
    return bool(one.status()["seeing"][0]["state"] == "streaming")


def hang(one: Box, cam: Sender) -> tuple[float, float]:
    """Let the camera hang; return the seconds to notice, and to the first picture afterwards."""
    one.wait_for(lambda: streaming(one))
    time.sleep(2.0)
    cam.tell("stall")
    time.sleep(0.2)
    last = cam.sent[-1][1]
    one.wait_for(lambda: not streaming(one), step=0.01)
    noticed = time.time() - last
    time.sleep(1.0)
    count = len(cam.sent)
    cam.tell("resume")
    one.wait_for(lambda: len(cam.sent) > count, step=0.005)
    back = cam.sent[count][1]
    one.wait_for(lambda: newest(one) > back, step=0.02)
    return noticed, newest(one) - back


def newest(one: Box) -> float:
    with suppress(FileNotFoundError):  # a picture that is just being renamed
        return max((path.stat().st_mtime for path in one.stored()), default=0.0)
    return 0.0


def measure(inputs: Inputs) -> list[Row]:
    """Watch for a while, then let it hang a few times."""
    inputs.model(MODEL)
    with sender() as cam:
        url = f"rtsp://127.0.0.1:{cam.port}/cam"
        table = camera("c", url, stall_after=f"{LIMIT}s")
        with box(f"{detect(inputs.models, MODEL)}\n{table}") as one:
            one.wait_for(one.stored)
            time.sleep(WATCH)
            arrived, stored = ages(one, cam)
            hangs = [hang(one, cam) for _ in range(ROUNDS)]
    note = f"720p H.264 over RTSP on loopback, 25 frames/s, {MODEL}, {len(stored)} pictures; "
    note += f"limit {LIMIT:g} s, {len(hangs)} hangs, key frame every second"
    return [
        age_row("frame age at arrival", arrived, note),
        age_row("frame age in the store, redacted", stored, note),
        *hang_rows(hangs),
    ]


def age_row(what: str, seconds: list[float], note: str) -> Row:
    worst = 1000 * float(np.percentile(seconds, 95))
    value = 1000 * middle(seconds)
    against = f"95 %: {worst:.0f} ms"
    return Row(part="f", what=what, value=value, unit="ms", against=against, note=note)


def hang_rows(hangs: list[tuple[float, float]]) -> list[Row]:
    notice = middle([noticed for noticed, _ in hangs])
    goal, kept = at_most(notice / LIMIT, GOAL_NOTICE)
    rows = [
        Row(
            part="f",
            what="a hang is noticed after",
            value=notice / LIMIT,
            unit="limits",
            against=f"{notice:.2f} of {LIMIT:g} s",
            goal=goal,
            kept=kept,
        )
    ]
    back, worst = middle([again for _, again in hangs]), max(again for _, again in hangs)
    goal, kept = at_most(back, GOAL_BACK)
    return [
        *rows,
        Row(
            part="f",
            what="camera back to a stored picture",
            value=back,
            unit="s",
            against=f"GOP 1 s + 0.3 s; most {worst:.2f} s",
            goal=goal,
            kept=kept,
        ),
    ]
