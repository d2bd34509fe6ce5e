"""A driver library of our own, ``libnvidia-ml.so.1``, for the real pynvml; its limits: the C."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.places import need

_SOURCE = Path(__file__).with_name("fake_nvml.c")


def build(directory: Path) -> Path:
    """Build it, and return the directory to be put into ``LD_LIBRARY_PATH``."""
    pytest.importorskip("pynvml", reason="pip install nvidia-ml-py")
    name = "libnvidia-ml.so.1"
    compiler = need("cc", "gcc libc6-dev")
    command = [
        compiler,
        "-shared",
        "-fPIC",
        f"-Wl,-soname,{name}",
        "-o",
        str(directory / name),
        str(_SOURCE),
    ]
    subprocess.run(command, check=True)
    return directory
