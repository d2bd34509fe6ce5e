"""The kernels and a stand-in for CUDA's driver, compiled by g++ for this processor."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent


def build(folder: Path, *flags: str) -> Path:
    """Compile ``emulated.cpp`` with ``kernels.cu`` in it; return the library."""
    library = folder / "libemulated.so"
    command = ["g++", "-O2", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
    command += [
        *flags,
        "-shared",
        "-fPIC",
        str(FOLDER / "emulated.cpp"),
        "-o",
        str(library),
        "-ldl",
    ]
    subprocess.run(command, check=True, timeout=60)
    return library


class StandIn:
    """What the stand-in counted, and how it is told to fail."""

    def __init__(self, library: Path, fatbin: Path) -> None:
        self.library = str(library)
        #: what stands for a fatbin: the stand-in knows it by its first bytes
        self.fatbin = fatbin
        #: what is lost is not given back
        self.lost = False
        self._calls = ctypes.CDLL(self.library)

    @property
    def held(self) -> int:
        """Contexts, streams, modules and pieces of memory that were not given back."""
        return int(self._calls.stand_in_held())

    @property
    def contexts(self) -> int:
        """Contexts that this thread has left current."""
        return int(self._calls.stand_in_contexts())

    def fail(self, at: int, result: int) -> None:
        """From the ``at``-th launch on everything gives ``result``; -1: nothing fails."""
        self.lost |= result >= 700
        self._calls.stand_in_fail(at, result)
