"""What was made of which original: kept with the parcel, and erased with the original."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edge.app.spool import SCHEMA, spool_in
from edge.cloudevents.json_format import encode
from edge.config.store import OutboxConfig
from edge.errors import PartFailed, TryLater
from edge.event import PICTURE_ERASED, Event, WireEvent
from edge.frame import ObjectRef
from edge.messages.published import ERASED
from edge.ops.database import Database
from edge.ops.metrics import Metrics
from edge.parcel import Parcel
from edge.sinks.derived import Derived, Original, original_of
from edge.sinks.erase import Erase, Removal
from edge.sinks.outbox import Outbox
from tests.parts import MemoryStore, make_parcel

PLACE = "host:9000"


class RemovableStore(MemoryStore):
    """A store that lets things be removed."""

    async def remove(self, key: str) -> None:
        if self.shut:
            raise self.shut
        self.pictures.pop(key, None)
        self.messages.pop(key, None)


class Shelf:
    """The bucket as it is now, and what was erased of it."""

    def __init__(self) -> None:
        self.there: dict[str, ObjectRef] = {}
        self.erased: list[tuple[str, str]] = []
        self.lost: PartFailed | None = None

    def put(self, key: str, etag: str = "e1", version: str = "") -> None:
        self.there[key] = ObjectRef(bucket="in", key=key, etag=etag, version=version)

    async def find(self, key: str, version: str) -> ObjectRef | None:
        if self.lost:
            raise self.lost
        found = self.there.get(key)
        return found if found is None or version in ("", found.version) else None


class Life:
    """A spool with an outbox, and erasure on it."""

    def __init__(self, path: Path) -> None:
        self.metrics = Metrics()
        self.database = spool_in(path)
        self.outbox = Outbox(self.database, OutboxConfig(), self.metrics)
        self.derived = Derived(
            self.database, self.outbox, lambda parcel: original_of(parcel, PLACE), parallel=2
        )
        self.store, self.shelf = RemovableStore(), Shelf()
        self.erase = Erase(
            self.derived,
            self.store,
            self.metrics,
            removal_of=self._removal_of,
            erased=lambda name, ref: self.shelf.erased.append((name, ref.key)),
        )

    def _removal_of(self, event: WireEvent) -> Removal | None:
        key, version = event.subject, str(event.extensions.get("version", ""))
        return Removal(
            source="/site/box/gate",
            name="gate",
            original=Original(place=PLACE, bucket="in", key=key, version=version),
            find=lambda: self.shelf.find(key, version),
        )

    async def keep(self, number: int, key: str, etag: str = "e1", version: str = "") -> Parcel:
        """Put a parcel that was made of an object."""
        origin = {"bucket": "in", "key": key, "etag": etag, "version": version}
        parcel = make_parcel(number, message={"id": str(number), "data": {"origin": origin}})
        await self.derived.put(parcel)
        return parcel

    async def stored(self, number: int, key: str, etag: str = "e1", version: str = "") -> Parcel:
        """Put a parcel, and let the store have it."""
        parcel = await self.keep(number, key, etag, version)
        await self.store.put(parcel)
        (head,) = await self.outbox.heads(1)
        await self.outbox.passed(head.seq)
        return parcel

    async def rows(self, text: str) -> list[Any]:
        return await self.database.do(lambda connection: connection.execute(text).fetchall())


@pytest.fixture
async def life(tmp_path: Path) -> AsyncIterator[Life]:
    one = Life(tmp_path)
    await one.outbox.open()
    yield one
    await one.outbox.close()


def removal(key: str, event_id: str = "r1", **extensions: str) -> WireEvent:
    return Event(
        id=event_id,
        source="ceph:s3..in",
        type="com.amazonaws.s3.ObjectRemoved:Delete",
        subject=key,
        data=b"{}",
        extensions=extensions,
    )


async def test_what_was_made_of_a_removed_original_is_erased_and_nothing_else(life: Life) -> None:
    first = await life.stored(1, "a.jpg")
    second = await life.stored(2, "b.jpg")
    event = await life.erase(removal("a.jpg"))
    assert event is not None
    assert (event.type, event.id, event.source) == (PICTURE_ERASED, "r1.erased", "/site/box/gate")
    said = json.loads(event.data or b"")
    assert said["origin"] == {"bucket": "in", "key": "a.jpg"}
    check = jsonschema.Draft202012Validator(ERASED.schema())
    assert list(check.iter_errors(json.loads(encode(event)))) == []
    assert [one["key"] for one in said["pictures"]] == [first.key]
    assert set(life.store.pictures) == {second.key}
    assert life.shelf.erased == [("gate", "a.jpg")]
    assert await life.erase(removal("a.jpg", "r2")) is None, "nothing is left of it"
    assert await life.erase(removal("c.jpg")) is None


async def test_the_same_removal_after_a_crash_says_the_same_again(life: Life) -> None:
    await life.stored(1, "a.jpg")
    first = await life.erase(removal("a.jpg"))
    again = await life.erase(removal("a.jpg"))
    assert first is not None
    assert again is not None
    assert (first.id, first.data) == (again.id, again.data)


async def test_an_original_that_is_there_keeps_what_was_made_of_it(life: Life) -> None:
    old = await life.stored(1, "a.jpg", "e1")
    new = await life.stored(2, "a.jpg", "e2")
    life.shelf.put("a.jpg", "e2")
    before = await life.derived.between(PLACE, "in", "", None, 10)
    assert await life.erase(removal("a.jpg")) is not None
    assert set(life.store.pictures) == {new.key}
    assert old.key not in life.store.pictures
    # a removal of what is there now is another event than the one that was none
    assert await life.derived.between(PLACE, "in", "", None, 10) != before
    assert await life.erase(removal("a.jpg", "r2")) is None


async def test_a_removed_version_takes_along_what_was_made_of_that_version(life: Life) -> None:
    first = await life.stored(1, "a.jpg", "e1", "v1")
    second = await life.stored(2, "a.jpg", "e2", "v2")
    life.shelf.put("a.jpg", "e2", "v2")
    await life.erase(removal("a.jpg", version="v1"))
    assert set(life.store.pictures) == {second.key}
    assert first.key not in life.store.pictures


async def test_a_picture_that_two_versions_need_stays_until_both_are_gone(life: Life) -> None:
    parcel = await life.stored(1, "a.jpg", "e1", "v1")
    await life.keep(1, "a.jpg", "e1", "v2")  # the same content: nothing new is made
    life.shelf.put("a.jpg", "e1", "v2")
    assert await life.erase(removal("a.jpg", version="v1")) is not None
    assert set(life.store.pictures) == {parcel.key}
    life.shelf.there.clear()
    await life.erase(removal("a.jpg", "r2", version="v2"))
    assert life.store.pictures == {}


async def test_a_bucket_that_does_not_answer_erases_nothing(life: Life) -> None:
    await life.stored(1, "a.jpg")
    life.shelf.lost = PartFailed("no such bucket", reason="no_bucket")
    with pytest.raises(PartFailed):
        await life.erase(removal("a.jpg"))
    assert len(life.store.pictures) == 1


async def test_another_picture_under_the_same_name_is_left(life: Life) -> None:
    parcel = await life.stored(1, "a.jpg")
    life.store.pictures[parcel.key] = b"\xff\xd8 somebody else's"
    assert await life.erase(removal("a.jpg")) is not None
    assert parcel.key in life.store.pictures


async def test_what_waits_is_taken_out_unless_it_may_be_on_its_way(life: Life) -> None:
    parcels = [await life.keep(number, f"{number}.jpg") for number in range(4)]
    for number in (0, 1):
        with pytest.raises(TryLater) as caught:
            await life.erase(removal(f"{number}.jpg"))
        assert caught.value.reason == "under_way"
    for number in (2, 3):
        assert await life.erase(removal(f"{number}.jpg")) is not None
    stats = life.outbox.stats()
    assert stats.waiting == 2
    assert await life.rows("SELECT waiting, waiting_bytes FROM total") == [(2, stats.waiting_bytes)]
    for parcel in parcels[:2]:
        (head,) = await life.outbox.heads(1)
        await life.store.put(parcel)
        await life.outbox.passed(head.seq)
        await life.erase(removal(f"{parcels.index(parcel)}.jpg"))
    assert life.store.pictures == {}
    assert life.outbox.stats().waiting_bytes == 0


async def test_a_dead_parcel_is_erased_too(life: Life) -> None:
    await life.keep(1, "a.jpg")
    (head,) = await life.outbox.heads(1)
    await life.outbox.dead(head.seq, "key_taken: no")
    assert life.outbox.stats().dead == 1
    assert await life.erase(removal("a.jpg")) is not None
    stats = life.outbox.stats()
    assert (stats.dead, stats.dead_bytes) == (0, 0)


async def test_a_shut_store_leaves_all_rows_until_it_opens(life: Life) -> None:
    await life.stored(1, "a.jpg")
    life.store.shut = PartFailed("shut")
    with pytest.raises(PartFailed):
        await life.erase(removal("a.jpg"))
    life.store.shut = None
    assert await life.erase(removal("a.jpg")) is not None
    assert life.store.pictures == {}


async def test_the_same_picture_may_come_again_after_its_erasure(life: Life) -> None:
    await life.stored(1, "a.jpg")
    await life.erase(removal("a.jpg"))
    parcel = await life.stored(1, "a.jpg")
    assert set(life.store.pictures) == {parcel.key}
    assert await life.erase(removal("a.jpg", "r2")) is not None
    assert life.store.pictures == {}


async def test_a_removal_waits_for_a_picture_that_is_in_hand(life: Life) -> None:
    life.derived.take_in_hand("in", "a.jpg")
    task = asyncio.create_task(life.erase(removal("a.jpg")))
    await asyncio.sleep(0.05)
    assert not task.done()
    await life.keep(0, "other.jpg")
    await life.keep(9, "other2.jpg")
    await life.keep(1, "a.jpg")
    assert await asyncio.wait_for(task, 5) is not None
    assert life.outbox.stats().waiting == 2


async def test_a_picture_of_which_nothing_came_is_not_waited_for(life: Life) -> None:
    life.derived.take_in_hand("in", "a.jpg")
    life.derived.take_in_hand("in", "a.jpg")
    life.derived.let_go("in", "a.jpg")
    life.derived.let_go("in", "a.jpg")
    assert await asyncio.wait_for(life.erase(removal("a.jpg")), 1) is None


async def test_no_room_for_the_parcel_is_no_row(life: Life) -> None:
    small = Outbox(life.database, OutboxConfig(max_bytes=1), life.metrics)
    derived = Derived(life.database, small, lambda parcel: original_of(parcel, PLACE))
    origin = {"bucket": "in", "key": "a.jpg", "etag": "e", "version": ""}
    with pytest.raises(TryLater):
        await derived.put(make_parcel(1, message={"data": {"origin": origin}}))
    assert await life.rows("SELECT * FROM derived") == []


async def test_keys_are_found_between_two_in_the_order_of_their_bytes(life: Life) -> None:
    names = ["a.jpg", "b/1.jpg", "b/2.jpg", "häuser.jpg", "日本.jpg", "\U0001f6a7.jpg"]
    for number, name in enumerate(names):
        await life.keep(number, name)
    found = await life.derived.between(PLACE, "in", "", None, 100)
    assert [key for key, _ in found] == sorted(names, key=str.encode)
    found = await life.derived.between(PLACE, "in", "a.jpg", "b/2.jpg", 100)
    assert [key for key, _ in found] == ["b/1.jpg", "b/2.jpg"]
    assert await life.derived.between("other:9000", "in", "", None, 100) == []


async def test_a_spool_of_the_version_before_is_upgraded_with_all_that_waits(
    tmp_path: Path,
) -> None:
    old = Database(tmp_path / "spool.db", SCHEMA[:2], name="spool")
    before = Outbox(old, OutboxConfig(), Metrics())
    await before.open()
    await before.put(make_parcel(1))
    await before.close()
    life = Life(tmp_path)
    await life.outbox.open()
    assert life.outbox.stats().waiting == 1
    await life.keep(2, "a.jpg")
    assert await life.rows("SELECT key, etag FROM derived") == [("a.jpg", "e1")]
    await life.outbox.close()
    with sqlite3.connect(tmp_path / "spool.db") as file:
        assert file.execute("PRAGMA user_version").fetchone() == (len(SCHEMA),)


def test_a_message_without_an_origin_has_no_original() -> None:
    assert original_of(make_parcel(1), PLACE) is None
    assert original_of(make_parcel(1, message={"data": {"origin": "x"}}), PLACE) is None
