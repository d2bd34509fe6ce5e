"""What the tests of the sinks share: outboxes, small disks, servers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from edge.config.store import OutboxConfig
from edge.ops.metrics import Metrics
from edge.sinks.outbox import Outbox
from tests.parts import outbox_at
from tests.servers.odd_s3 import odd_https, odd_s3
from tests.servers.rgw import bucket, rgw

__all__ = ["bucket", "odd_https", "odd_s3", "rgw"]

DAY = 86400.0


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def outbox(tmp_path: Path, metrics: Metrics, clock: Clock) -> AsyncIterator[Outbox]:
    """An open outbox in ``tmp_path / "box"``."""
    box = outbox_at(tmp_path / "box" / "outbox.db", OutboxConfig(), metrics, clock=clock)
    await box.open()
    yield box
    await box.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Return a function that mounts a disk of so many MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    mounted: list[Path] = []

    def mount(mebibytes: int) -> Path:
        place = tmp_path / f"disk-{len(mounted)}"
        place.mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", place], check=True
        )
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path) -> Path:
    """Use up the whole disk; return the file to delete."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return ballast
