"""(a) File to folder through the whole appliance, as a ratio to the bound without a GIL.
(b) What the appliance adds to the bare parts.

Both come from the same runs: the box plays a file as fast as it can redact, and two processes run
the bare parts on the same file; one after the other, several rounds, medians of ratios.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench import bound
from tests.bench.box import box, camera, detect
from tests.bench.inputs import Inputs
from tests.bench.result import Row, at_least, at_most, middle

FRAMES = 240
ROUNDS = 3
EDGES = 20
"""Frames at either end that are not counted: the pipe fills and runs empty."""
CASES = (("720p", "picodet_s_416"), ("1080p", "picodet_s_416"), ("720p", "yolox_nano_416"))
GOAL_RATIO, GOAL_ADDED = 0.85, 1.0


@dataclass(frozen=True, slots=True)
class Through:
    """What the box reached."""

    fps: float
    #: processor seconds a frame
    cpu: float


def run_box(
    inputs: Inputs, size: str, model: str, folder: Path | None = None, frames: int = FRAMES
) -> Through:
    """Play a clip through the box as fast as it goes."""
    clip = inputs.clip(size, frames)
    config = f"{detect(inputs.models, model)}\n{camera('c', clip, pace='fast')}"
    samples: list[tuple[int, float]] = []

    def done() -> bool:
        samples.append((len(one.stored()), one.cpu()))
        return samples[-1][0] >= frames

    with box(config, folder) as one:
        one.wait_for(done, step=0.5)
        times = sorted(path.stat().st_mtime for path in one.stored())
    steady = times[EDGES : len(times) - EDGES]
    inner = [sample for sample in samples if EDGES <= sample[0] <= frames - EDGES]
    (first, before), (last, after) = inner[0], inner[-1]
    return Through((len(steady) - 1) / (steady[-1] - steady[0]), (after - before) / (last - first))


def run_bound(inputs: Inputs, size: str, model: str, folder: Path) -> bound.Bound:
    """Run the bare parts on the same clip, a process a core."""
    clip, graph = inputs.clip(size, FRAMES), inputs.model(model)
    return bound.measure(os.cpu_count() or 2, clip, graph, folder)


def measure(inputs: Inputs, rounds: int = ROUNDS) -> list[Row]:
    """Run every case in every round, one after the other."""
    for _, model in CASES:
        inputs.model(model)
    found: dict[tuple[str, str], list[tuple[Through, bound.Bound]]] = {case: [] for case in CASES}
    # Just after files were deleted, ext4 takes three times as long to make new ones: nothing is
    # deleted before everything was measured.
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as home:
        for turn in range(rounds):
            for number, (case, pairs) in enumerate(found.items()):
                folders = [Path(home) / f"{turn}-{number}-{who}" for who in ("box", "bound")]
                for folder in folders:
                    folder.mkdir()
                through = run_box(inputs, *case, folders[0])
                pairs.append((through, run_bound(inputs, *case, folders[1])))
    return [row for case, pairs in found.items() for row in _rows(case, pairs)]


def _rows(case: tuple[str, str], pairs: list[tuple[Through, bound.Bound]]) -> list[Row]:
    size, model = case
    ratio = middle([through.fps / bare.fps for through, bare in pairs])
    goal, kept = at_least(ratio, GOAL_RATIO)
    fps, limit = middle([one.fps for one, _ in pairs]), middle([one.fps for _, one in pairs])
    rows = [
        Row(
            part="a",
            what=f"file to folder, {size}, {model}",
            value=ratio,
            unit="of the bound",
            against=f"{fps:.0f} of {limit:.0f} frames/s",
            goal=goal,
            kept=kept,
            note=f"{FRAMES} frames, {len(pairs)} rounds, {os.cpu_count()} bare processes",
        )
    ]
    added = 1000 * middle([through.cpu - bare.cpu for through, bare in pairs])
    goal, kept = at_most(added, GOAL_ADDED)
    bare = 1000 * middle([one.cpu for _, one in pairs])
    return [
        *rows,
        Row(
            part="b",
            what=f"added to the bare parts, {size}, {model}",
            value=added,
            unit="ms a frame",
            against=f"{bare:.1f} ms bare",
            goal=goal if size == "1080p" else "",
            kept=kept if size == "1080p" else None,
            note="processor time a frame, box less bare loop; the bare loop writes its file, too",
        ),
    ]
