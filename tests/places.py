"""Where tests find what is not theirs: shared data beside the checkout, and free ports."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("EDGE_SHARED", ROOT.parent / "shared"))


def shared(name: str) -> Path:
    """Return a file or folder of the shared test data; skip, saying what is missing, without it."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs shared test data: {name} (set EDGE_SHARED to its folder)")
    return path


def need(program: str, install: str) -> str:
    """Return the path of a program; without it fail in CI, elsewhere skip with its install line."""
    import shutil

    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        text = f"{program} is missing; as root: apt-get install --no-install-recommends {install}"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return path


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
