"""Measure, print a table, write ``build/bench.json``.

python -m tests.bench [LETTERS] [--rounds N]
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import string
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

from edge import __version__
from edge.ops.process import settle_process
from tests.bench.inputs import Inputs, prepare
from tests.bench.result import Missing, Row, table, write
from tests.places import ROOT

JSON = ROOT / "build" / "bench.json"


def parts(rounds: int) -> dict[str, Callable[[Inputs], list[Row]]]:
    """Return what is measured, by letter: a module each. (b) comes out of the runs of (a)."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]_*.py")):
        letter = path.name[0]
        measure = importlib.import_module(f"tests.bench.{path.stem}").measure
        found[letter] = partial(measure, rounds=rounds) if letter in "ajm" else measure
    return found


def machine() -> dict[str, object]:
    """Say where this was measured, and how busy it was."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpus = [line for line in lines if line.startswith("model name")]
    return {
        "cpu": cpus[0].partition(":")[2].strip() if cpus else platform.machine(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "edge": __version__,
        "onnxruntime": metadata.version("onnxruntime"),
        "opencv": metadata.version("opencv-python-headless"),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def main() -> int:
    """Measure what was asked for. A goal that is not kept is said in the table, not by the exit."""
    settle_process()
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("letters", nargs="?", default=string.ascii_lowercase, help="which ones")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of (a), (b), (j) and (m)")
    asked = parser.parse_args()
    here, inputs, rows = machine(), prepare(), []
    for line in inputs.missing:
        print(f"missing: {line}", file=sys.stderr)
    for letter, measure in parts(asked.rounds).items():
        if letter not in asked.letters and not (letter == "a" and "b" in asked.letters):
            continue
        started = time.monotonic()
        try:
            rows += measure(inputs)
        except Missing as error:
            rows.append(
                Row(part=letter, what="not measured", value=None, unit="", note=f"needs {error}")
            )
        print(f"{letter}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    rows.sort(key=lambda row: row.part)
    print(f"{here['cpu']}, {here['cores']} cores, load {here['load_before']:.1f} before")
    print(table(rows))
    write(rows, here, JSON)
    return 0


if __name__ == "__main__":
    sys.exit(main())
