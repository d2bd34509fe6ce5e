"""Where tests find what is not theirs: shared data beside the checkout, and free ports."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
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


_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = itertools.count(random.SystemRandom().randrange(2500))


def free_port() -> int:
    """Return a loopback port that nobody listens on now, and no other test gets soon.

    Below those that the system gives to connections, and each worker has its own.
    """
    while True:
        port = 20_000 + 2_500 * (_WORKER % 5) + next(_ports) % 2_500
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
