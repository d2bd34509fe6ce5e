from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.config.store import FolderStoreConfig
from edge.errors import PartFailed, Rejected
from edge.sinks.folder import FolderStore
from edge.sinks.keys import MOST_READ_BYTES
from tests.parts import make_parcel
from tests.sinks.conftest import fill


def folder(path: Path, **other: Any) -> FolderStore:
    return FolderStore(FolderStoreConfig(kind="folder", path=str(path), **other))


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def names(path: Path) -> list[str]:
    return sorted(name for _, _, found in os.walk(path) for name in found)


async def test_what_a_killed_run_left_is_swept_at_open(tmp_path: Path) -> None:
    old = tmp_path / "out" / "gate" / ".edge-tmp-1a2b3c4d-5e6f7a8b"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"half")
    await folder(tmp_path / "out").open()
    assert names(tmp_path / "out") == []


async def test_a_picture_without_its_message_gets_it_at_the_next_try(tmp_path: Path) -> None:
    store = folder(tmp_path)
    await store.open()
    await store.put(make_parcel())
    message = next(tmp_path.rglob("*.json"))  # noqa: ASYNC240
    message.unlink()
    await store.put(make_parcel())
    assert message.read_text().startswith("{")


async def test_another_message_of_the_same_name_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    store = folder(tmp_path)
    await store.open()
    await store.put(make_parcel(key="a/1.jpg"))
    with pytest.raises(Rejected):
        await store.put(make_parcel(2, key="a/1.png"))
    assert names(tmp_path) == ["1.jpg", "1.json"]


async def test_a_link_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    store = folder(tmp_path / "out")
    await store.open()
    (tmp_path / "out" / "gate").symlink_to(outside)
    with pytest.raises(Rejected, match="out of the folder"):
        await store.put(make_parcel())
    assert names(outside) == []


@pytest.mark.parametrize("key", ["x" * 300 + ".jpg", "taken/1.jpg", ".edge-tmp-x/1.jpg"])
async def test_a_key_that_no_file_can_have_is_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "taken").write_bytes(b"a file, not a directory")
    store = folder(tmp_path)
    await store.open()
    with pytest.raises(Rejected) as refused:
        await store.put(make_parcel(key=key))
    assert refused.value.reason == "bad_key"
    assert names(tmp_path) == ["taken"]


async def test_a_full_disk_shuts_the_door_and_leaves_no_half_file(
    small_disk: Callable[[int], Path],
) -> None:
    disk = small_disk(4)
    store = folder(disk / "out")
    await store.open()
    await store.put(make_parcel(1))
    ballast = fill(disk)
    with pytest.raises(PartFailed) as shut:
        await store.put(make_parcel(2, body=bytes(100_000)))
    assert "full" in shut.value.hint
    assert names(disk / "out") == ["000001.jpg", "000001.json"]
    ballast.unlink()
    await store.put(make_parcel(2, body=bytes(100_000)))
    assert len(names(disk / "out")) == 4


async def test_a_read_only_disk_shuts_the_door(small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(4)
    store = folder(disk)
    await store.open()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)  # noqa: ASYNC221
    for work in (store.put(make_parcel()), store.open()):
        with pytest.raises(PartFailed) as shut:
            await work
        assert "read-only" in shut.value.hint


async def test_a_folder_that_is_gone_shuts_the_door_and_is_not_made_by_a_put(
    tmp_path: Path,
) -> None:
    store = folder(tmp_path / "out")
    await store.open()
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(PartFailed) as shut:
        await store.put(make_parcel())
    assert "mounted" in shut.value.hint
    assert not (tmp_path / "out").exists()


async def test_a_folder_that_comes_and_goes_is_freed_of_what_was_half_written(
    tmp_path: Path,
) -> None:
    """Found on a slow disk: the folder went while a picture was written beside its name."""
    root, away = tmp_path / "out", tmp_path / "away"
    store = folder(root)
    await store.open()
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            root.rename(away)
            away.rename(root)

    thread = threading.Thread(target=come_and_go, name="come and go")
    thread.start()
    half_written = 0
    for number in range(300):
        with contextlib.suppress(PartFailed, Rejected):
            await store.put(make_parcel(number, body=bytes(200_000)))
        half_written += len(store._unfinished)
    over.set()
    thread.join()
    assert half_written, "it never went in the middle: this showed nothing"
    await store.open()
    assert not [name for name in names(root) if name.startswith(".edge-tmp-")]


async def test_a_file_where_the_folder_should_be_shuts_the_door(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(PartFailed) as shut:
        await folder(tmp_path / "out").open()
    assert shut.value.hint


async def test_what_others_put_in_the_place_of_a_picture_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"of somebody else")
    store = folder(tmp_path / "out")
    await store.open()
    (tmp_path / "out" / "link.jpg").symlink_to(secret)
    (tmp_path / "out" / "day.jpg").mkdir()
    os.mkfifo(tmp_path / "out" / "pipe.jpg")
    (tmp_path / "out" / "gate").symlink_to(tmp_path)
    before = open_files()
    for key in ("link.jpg", "day.jpg", "pipe.jpg"):
        with pytest.raises(Rejected) as refused:
            await store.get(key)
        assert refused.value.reason == "gone"
    with pytest.raises(Rejected, match="out of the folder"):
        await store.get("gate/secret")
    assert open_files() <= before


async def test_a_file_that_is_far_too_large_is_not_read_whole(tmp_path: Path) -> None:
    store = folder(tmp_path)
    await store.open()
    for size in (MOST_READ_BYTES, MOST_READ_BYTES + 1):
        (tmp_path / f"{size}.jpg").touch()
        os.truncate(tmp_path / f"{size}.jpg", size)
    assert len(await store.get(f"{MOST_READ_BYTES}.jpg")) == MOST_READ_BYTES
    with pytest.raises(Rejected) as refused:
        await store.get(f"{MOST_READ_BYTES + 1}.jpg")
    assert refused.value.reason == "too_large"


@pytest.mark.parametrize(
    "message", ["", "no JSON", "[1]", "{}", '{"time": 5}', '{"time": "yesterday"}']
)
async def test_a_picture_whose_message_cannot_be_read_gives_way(
    tmp_path: Path, message: str
) -> None:
    store = folder(tmp_path, overwrite=True)
    await store.open()
    await store.put(make_parcel(key="a/1.jpg", body=b"first"))
    (tmp_path / "a" / "1.json").write_text(message)
    await store.put(make_parcel(key="a/1.jpg", body=b"second"))
    assert await store.get("a/1.jpg") == b"second"


async def test_what_others_put_in_the_place_of_a_message_is_neither_read_nor_waited_for(
    tmp_path: Path,
) -> None:
    store = folder(tmp_path, overwrite=True)
    await store.open()
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "1.json")
    (tmp_path / "a" / "2.json").symlink_to("/dev/zero")
    for key in ("a/1.jpg", "a/2.jpg"):
        await store.put(make_parcel(key=key))
        assert (tmp_path / key).with_suffix(".json").read_text().startswith("{")
    assert names(tmp_path) == ["1.jpg", "1.json", "2.jpg", "2.json"]


async def test_a_name_as_long_as_a_disk_takes_is_written(tmp_path: Path) -> None:
    store = folder(tmp_path)
    await store.open()
    for key in ("a/" + "x" * 250 + ".jpg", "b/x." + "y" * 250):
        await store.put(make_parcel(key=key))
        assert await store.get(key) == make_parcel(key=key).body
        await store.remove(key)
    assert names(tmp_path) == []


async def test_a_link_among_the_results_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    store = folder(tmp_path / "out", results="results/")
    await store.open()
    (tmp_path / "out" / "results").symlink_to(outside)
    for work in (store.put(make_parcel()), store.remove(make_parcel().key)):
        with pytest.raises(Rejected, match="out of the folder"):
            await work
    assert names(outside) == []
