"""A full disk: live frames are dropped by name, nothing leaks, and it heals by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.box import message, pictures, pixels, until
from tests.journeys.conftest import MakeBox


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.timeout(180)
def test_a_full_disk_drops_live_frames_by_name_and_the_box_recovers_when_there_is_room(
    make_box: MakeBox, small_disk: Path
) -> None:
    store = small_disk / "store"
    toml = (
        '[sources.site]\nkind = "scene"\nfps = 10\nwidth = 640\nheight = 360\n'
        f'[outbox]\nretry_max = "500ms"\n[store]\nkind = "folder"\npath = "{store}"\n'
    )
    box = make_box(toml)
    box.state = small_disk / "state"
    box.write(toml)
    box.start()
    until("pictures are stored", lambda: box.metric("edge_parcels_stored_total") > 3)
    ballast = small_disk / "ballast"
    fill(ballast)

    until("frames are dropped", lambda: box.metric("edge_pictures_dropped_total") > 5)
    assert box.get("/healthz")[0] == 200, "a full disk is no reason to restart the box"
    until("the box says that it may not publish", lambda: box.get("/readyz")[0] == 503)
    page = box.get("/")[1].decode()
    assert "disk" in page

    ballast.unlink()
    before = box.metric("edge_parcels_stored_total")
    until("it stores again", lambda: box.metric("edge_parcels_stored_total") > before + 5)
    until("it may publish again", lambda: box.get("/readyz")[0] == 200)
    box.post("/v1/commands/source.disable", b'{"name": "site"}')
    redacted = box.come_to_rest()
    assert box.stop() == 0
    assert len(pictures(store)) == redacted
    for picture in pictures(store):
        assert pixels(picture).shape == (360, 640, 3)
        assert message(picture)["data"]["source"] == "site"


def fill(ballast: Path) -> None:
    """Take all the room that there is."""
    with ballast.open("wb", buffering=0) as file:
        for size in (2**20, 2**16, 2**12):
            try:
                while True:
                    file.write(b"\1" * size)
            except OSError:
                continue
