from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import pytest

from edge.config.sources import FolderConfig
from edge.contracts import Picture, Source
from edge.errors import PartFailed
from edge.event import FRAME_TAKEN, PICTURE_ARRIVED, Event, Outcome
from edge.frame import Encoded
from edge.ops.metrics import Metrics
from edge.sources.folder import Folder

SETTLE = 0.06
QUIET = 0.5
"""Seconds after which a folder with nothing to bring would have brought it."""


class Desk:
    """Takes events off a folder, settles them, and remembers what was made safe."""

    def __init__(self, path: Path, *, known: set[str] | None = None, **config: object) -> None:
        self.done = known if known is not None else set()
        section = FolderConfig.model_validate(
            {"kind": "folder", "path": str(path), "settle": "60ms", **config}
        )
        self.folder = Folder(
            "drop", section, metrics=Metrics(), origin="/site/node", known=self.knows
        )
        self.stream: AsyncIterator[Event[Picture]] = self.folder.events()
        self._next: asyncio.Task[Event[Picture]] | None = None

    async def knows(self, event_id: str) -> bool:
        return event_id in self.done

    async def take(self, within: float = 10.0) -> Event[Picture]:
        self._next = self._next or asyncio.ensure_future(anext(self.stream))
        event = await asyncio.wait_for(asyncio.shield(self._next), within)
        self._next = None
        return event

    async def silent(self, seconds: float = QUIET) -> bool:
        """Tell whether nothing comes for a while."""
        try:
            await self.take(seconds)
        except TimeoutError:
            return True
        return False

    async def settle(self, event: Event[Picture], outcome: Outcome = Outcome.DONE) -> None:
        if outcome is Outcome.DONE:
            self.done.add(event.id)
        await self.folder.settle(event, outcome, "" if outcome is Outcome.DONE else "damaged")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.folder.close()
        if self._next:
            with contextlib.suppress(StopAsyncIteration, PartFailed):
                await self._next
        with contextlib.suppress(StopAsyncIteration, PartFailed):
            await anext(self.stream)


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.iterdir()]


def body(event: Event[Picture]) -> bytes:
    assert isinstance(event.data, Encoded)
    return event.data.body


async def test_a_dropped_file_becomes_one_event_with_its_own_time(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"picture")
    os.utime(tmp_path / "a.jpg", (1_700_000_000, 1_700_000_000))
    async with Desk(tmp_path) as desk:
        event = await desk.take()
        assert body(event) == b"picture"
        assert event.type == PICTURE_ARRIVED
        assert event.source == "/site/node/drop"
        assert event.subject == "a.jpg"
        assert event.data.taken_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
        await desk.settle(event)
        assert await desk.silent()
        assert (tmp_path / "a.jpg").exists()
        assert desk.folder.status().counts["offered"] == 1


async def test_a_folder_keeps_the_contract_of_a_source(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        source: Source = desk.folder
        assert not source.live
        assert source.status().kind == "folder"
        assert source.status().where == str(tmp_path)


async def test_files_of_subfolders_come_and_unfinished_or_hidden_ones_do_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "cam" / "day").mkdir(parents=True)
    (tmp_path / "cam" / "day" / "x.png").write_bytes(b"yes")
    (tmp_path / ".cache").mkdir()
    for name in (".hidden.jpg", "a.tmp", "b.PART", "c.jpg.crdownload", ".cache/d.jpg"):
        (tmp_path / name).write_bytes(b"no")
    async with Desk(tmp_path) as desk:
        event = await desk.take()
        assert (event.subject, body(event)) == ("cam/day/x.png", b"yes")
        await desk.settle(event)
        assert await desk.silent()


async def test_nothing_is_read_through_a_symlink_that_leaves_the_folder(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "secret.jpg").write_bytes(b"secret")
    (inside / "link.jpg").symlink_to(outside / "secret.jpg")
    (inside / "linked").symlink_to(outside)
    async with Desk(inside) as desk:
        assert await desk.silent()


async def test_special_files_are_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    async with Desk(tmp_path) as desk:
        assert await desk.silent()


async def test_a_file_that_is_still_being_written_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "slow.jpg"
    async with Desk(tmp_path, settle="400ms") as desk:
        waiting = asyncio.ensure_future(desk.take(20))
        with path.open("ab") as file:
            for _ in range(8):
                file.write(b"part")
                file.flush()
                await asyncio.sleep(0.1)
                assert not waiting.done()
        event = await waiting
        assert body(event) == b"part" * 8
        await desk.settle(event)
        assert await desk.silent(0.8)


async def test_a_file_that_vanishes_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").write_bytes(b"x")
    async with Desk(tmp_path, settle="300ms") as desk:
        waiting = asyncio.ensure_future(desk.silent())
        await asyncio.sleep(0.1)
        (tmp_path / "gone.jpg").unlink()
        assert await waiting
        (tmp_path / "next.jpg").write_bytes(b"y")
        assert (await desk.take()).subject == "next.jpg"


async def test_a_changed_file_is_another_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"one")
    async with Desk(tmp_path) as desk:
        first = await desk.take()
        await desk.settle(first)
        (tmp_path / "a.jpg").write_bytes(b"two")
        second = await desk.take()
        assert body(second) == b"two"
        assert second.id != first.id


async def test_other_content_of_the_same_size_and_time_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    facts = path.stat()
    async with Desk(tmp_path) as desk:
        await desk.settle(await desk.take())
        path.write_bytes(b"two")
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        assert body(await desk.take()) == b"two"


async def test_a_file_over_the_limit_is_named_and_never_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(2**40)
    async with Desk(tmp_path, max_bytes="1KiB") as desk:
        assert await desk.silent()
        status = desk.folder.status()
        assert status.counts["refused"] == 1
        assert "huge.jpg (too_large)" in status.reason
        assert status.hint
        (tmp_path / "huge.jpg").write_bytes(b"now it fits")
        await desk.settle(await desk.take())
        assert await desk.silent()
        assert desk.folder.status().reason == ""


async def test_a_refused_file_stays_and_comes_again_only_when_it_changes(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"bad")
    async with Desk(tmp_path, after="delete") as desk:
        await desk.settle(await desk.take(), Outcome.REJECTED)
        assert await desk.silent()
        assert (tmp_path / "bad.jpg").read_bytes() == b"bad"
        assert "bad.jpg (damaged)" in desk.folder.status().reason
        (tmp_path / "bad.jpg").write_bytes(b"good")
        await desk.settle(await desk.take())
        assert await desk.silent()
        assert not (tmp_path / "bad.jpg").exists()
        assert desk.folder.status().reason == ""


async def test_delete_waits_for_the_outcome_and_spares_a_file_that_changed(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    async with Desk(tmp_path, after="delete") as desk:
        first, second = await desk.take(), await desk.take()
        assert sorted(contents(tmp_path)) == [b"a.jpg", b"b.jpg"]
        (tmp_path / second.subject).write_bytes(b"changed meanwhile")
        await desk.settle(first)
        await desk.settle(second)
        assert contents(tmp_path) == [b"changed meanwhile"]
        assert body(await desk.take()) == b"changed meanwhile"


async def test_a_picture_for_which_there_was_no_room_comes_again(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    async with Desk(tmp_path) as desk:
        first = await desk.take()
        await desk.settle(first, Outcome.DROPPED)
        assert (await desk.take()).id == first.id


@pytest.mark.parametrize("after", ["keep", "delete"])
async def test_after_a_restart_nothing_is_done_twice_and_nothing_is_forgotten(
    tmp_path: Path, after: str
) -> None:
    for i in range(6):
        (tmp_path / f"{i}.jpg").write_bytes(f"picture {i}".encode())
    safe: set[str] = set()
    async with Desk(tmp_path, known=safe) as desk:
        taken = [await desk.take() for _ in range(4)]
    # Killed here: the outbox had three of them, and the folder was told of none.
    safe.update(event.id for event in taken[:3])
    left = {f"picture {i}".encode() for i in range(6)} - {body(event) for event in taken[:3]}
    async with Desk(tmp_path, known=safe, after=after) as desk:
        again = [await desk.take() for _ in range(3)]
        assert {body(event) for event in again} == left
        for event in again:
            await desk.settle(event)
        assert await desk.silent()
        assert desk.folder.status().counts["known"] == 3
    assert len(contents(tmp_path)) == (6 if after == "keep" else 0)


async def test_only_so_many_pictures_are_on_their_way_at_once(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i:02}.jpg").write_bytes(b"x%d" % i)
    async with Desk(tmp_path) as desk:
        taken = [await desk.take() for _ in range(16)]
        assert await desk.silent()
        await desk.settle(taken.pop())
        taken.append(await desk.take())
        assert await desk.silent()
        assert desk.folder.status().counts["unsettled"] == 16


async def test_a_missing_folder_is_a_failed_part_with_a_hint(tmp_path: Path) -> None:
    async with Desk(tmp_path / "nowhere") as desk:
        with pytest.raises(PartFailed, match="nowhere") as caught:
            await desk.take()
        assert caught.value.reason == "folder_missing"
        assert caught.value.hint
        assert desk.folder.status().state == "failed"


async def test_a_folder_that_disappears_is_a_failed_part(tmp_path: Path) -> None:
    path = tmp_path / "usb"
    path.mkdir()
    async with Desk(path) as desk:
        assert await desk.silent(0.2)
        path.rmdir()
        with pytest.raises(PartFailed):
            await desk.take()


async def test_close_ends_the_events_while_pictures_are_on_their_way(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i}.jpg").write_bytes(b"x%d" % i)
    async with Desk(tmp_path, after="delete") as desk:
        events = [await desk.take() for _ in range(16)]
        waiting = asyncio.ensure_future(desk.take())
        await asyncio.sleep(0.05)
        await desk.folder.close()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(waiting, 1)
        desk._next = None
        for event in events:
            await desk.settle(event)
    assert len(contents(tmp_path)) == 4


async def test_names_that_are_no_text_are_shown_as_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff\n.jpg")).write_bytes(b"odd")
    async with Desk(tmp_path) as desk:
        event = await desk.take()
        assert event.subject == "\ufffd\ufffd.jpg"
        assert body(event) == b"odd"


async def test_replay_plays_files_in_the_order_of_their_names_as_a_live_stream(
    tmp_path: Path,
) -> None:
    for name in ("b.jpg", "a.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    async with Desk(tmp_path, mode="replay", fps=20) as desk:
        assert desk.folder.live
        events = [event async for event in desk.stream]
        assert [event.subject for event in events] == ["a.jpg", "b.jpg", "c.jpg"]
        assert {event.type for event in events} == {FRAME_TAKEN}
        assert len({event.id for event in events}) == 3
        assert events[0].data.taken_at < events[1].data.taken_at < events[2].data.taken_at
        assert desk.folder.status().state == "finished"


async def test_replay_begins_again_where_it_is_told_to(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
    async with Desk(tmp_path, mode="replay", fps=100, loop=True) as desk:
        ids = {(await desk.take()).id for _ in range(7)}
        assert len(ids) == 7


async def test_replay_of_an_empty_folder_is_a_failed_part(tmp_path: Path) -> None:
    async with Desk(tmp_path, mode="replay") as desk:
        with pytest.raises(PartFailed, match="nothing to replay"):
            await desk.take()
