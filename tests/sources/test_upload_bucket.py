from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config.sources import BucketConfig
from edge.contracts import JobStatus
from edge.errors import PartFailed, Rejected, TryLater, Withheld
from edge.event import Event
from edge.sources import upload_bucket
from edge.sources.buckets.records import read
from edge.sources.buckets.rule import BucketRule
from edge.sources.upload import job_id_of
from edge.sources.upload_keys import content_type, object_key
from edge.sources.upload_rows import DEAD
from edge.traffic import LetterQuery
from tests.bus.rig import raising
from tests.parts import until
from tests.sources.jobs_rig import BUCKET, Life, World, parcel_of

JPEG = b"\xff\xd8\xff\xe0 a picture"
GONE = PartFailed("the server is gone", reason="unreachable")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "spool.db")


async def ended(life: Life, job: JobStatus) -> JobStatus:
    status = await life.jobs.wait(job.id, 10)
    assert status is not None
    assert status.state in ("done", "dead"), status
    return status


async def test_an_upload_is_done_when_the_parcel_of_its_original_is_kept(world: World) -> None:
    async with world.box() as life:
        job = await life.jobs.submit(JPEG, "gate 1.jpg")
        assert world.bucket.objects == {f"in/uploads/{job.id}/gate 1.jpg": JPEG}
        done = await ended(life, job)
        assert (done.state, done.content_type) == ("done", "image/jpeg")
        picture = await life.jobs.image(job.id)
        assert picture is not None
        assert picture.body == f"redacted in/uploads/{job.id}/gate 1.jpg".encode()
        assert life.jobs.status().counts["done"] == 1


async def test_what_was_taken_is_done_in_the_next_life_and_still_known_in_the_third(
    world: World,
) -> None:
    async with world.box(deliver=False) as life:
        job = await life.jobs.submit(JPEG, "a.jpg", "key 1")
        assert job.state == "queued"
    async with world.box() as life:
        done = await ended(life, job)
        assert done.state == "done"
    async with world.box() as life:
        assert await life.jobs.get(job.id) == done
        assert await life.jobs.submit(JPEG, "b.jpg", "key 1") == done
        with pytest.raises(Rejected) as caught:
            await life.jobs.submit(JPEG + b"!", "b.jpg", "key 1")
        assert caught.value.reason == "key_reused"
        assert await life.jobs.image(job.id) is not None
    assert world.bucket.puts == 1
    assert len(world.sink.got) == 1


async def test_a_crash_between_row_and_journal_is_mended_at_the_next_start(world: World) -> None:
    async with world.box(deliver=False) as life:
        job = await life.jobs.submit(JPEG, "a.jpg")
        row = await life.rows.get(job.id)
        assert row is not None
    world.path.unlink()
    async with world.box(deliver=False) as life:
        # the row was written, and the event was not
        await life.rows.begin(row)
        assert (await life.rows.change(row)).state == "open"
        assert life.journal.stats().events == 0
    async with world.box() as life:
        assert (await ended(life, job)).state == "done"


async def test_nothing_is_half_done_while_the_bucket_cannot_be_reached(world: World) -> None:
    world.bucket.shut = GONE
    async with world.box() as life:
        with pytest.raises(PartFailed):
            await life.jobs.submit(JPEG, "a.jpg", "k")
        assert await life.rows.open_jobs() == []
        assert life.jobs.status().counts["queued"] == 0
        world.bucket.shut = None
        # what was never accepted holds no key
        other = await life.jobs.submit(JPEG + b"other", "a.jpg", "k")
        assert (await ended(life, other)).state == "done"


async def test_a_bus_without_room_takes_no_upload_and_one_later(world: World) -> None:
    async with world.box() as life:
        await life.broker.drain(0)
        with pytest.raises(TryLater) as caught:
            await life.jobs.submit(JPEG, "a.jpg")
        assert caught.value.reason == "stopping"
        assert await life.rows.open_jobs() == []
    async with world.box() as life:
        assert (await ended(life, await life.jobs.submit(JPEG, "a.jpg"))).state == "done"


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Rejected("the JPEG ends early", reason="damaged"), "damaged"), (Withheld("no"), "withheld")],
)
async def test_an_upload_that_died_says_why_after_a_restart_too_and_is_tried_anew_when_sent_again(
    world: World, error: Rejected, reason: str
) -> None:
    good, world.sink.answer = world.sink.answer, raising(error)
    async with world.box() as life:
        job = await life.jobs.submit(JPEG, "a.jpg")
        dead = await ended(life, job)
        assert (dead.state, dead.reason) == ("dead", reason)
        assert str(error) in dead.hint
        assert await life.jobs.image(job.id) is None
        assert list(world.bucket.objects) == [f"in/uploads/{job.id}/a.jpg"]
    async with world.box() as life:
        assert await life.jobs.get(job.id) == dead
        world.sink.answer = good
        again = await life.jobs.submit(JPEG, "a.jpg")
        assert again.id == job.id
        assert (await ended(life, again)).state == "done"


async def test_a_replayed_dead_letter_makes_its_dead_job_done(world: World) -> None:
    good, world.sink.answer = world.sink.answer, raising(Withheld("no engine"))
    async with world.box() as life:
        job = await life.jobs.submit(JPEG, "a.jpg")
        assert (await ended(life, job)).state == DEAD
        world.sink.answer = good
        assert await life.journal.replay(LetterQuery()) == 1
        await until(lambda: life.outbox.stats().waiting == 1)
        found = await life.jobs.get(job.id)
        assert found is not None
        assert (found.state, found.reason) == ("done", "")


async def test_the_buckets_own_notification_is_the_same_picture_and_may_be_faster(
    world: World,
) -> None:
    async with world.box() as life:
        world.bucket.open.clear()
        coming = asyncio.create_task(life.jobs.submit(JPEG, "a.jpg"), name="upload")
        await until(lambda: world.bucket.puts == 1)
        row_id = await job_id_of(JPEG, "")
        assert await life.jobs.get(row_id) is None, "nobody was told of it yet"
        # the object is there, and its notification is done before the PUT is answered
        told = parcel_of(_notification(f"in/uploads/{row_id}/a.jpg", JPEG))
        assert await life.kept.put(told)
        world.bucket.open.set()
        status = await coming
        assert (status.state, status.key) == ("done", told.key)
        assert world.sink.got == [], "it was redacted twice"


async def test_a_notification_of_a_jobs_original_is_left_to_the_job(world: World) -> None:
    async with world.box(deliver=False) as life:
        world.bucket.open.clear()
        coming = asyncio.create_task(life.jobs.submit(JPEG, "a.jpg"), name="upload")
        await until(lambda: world.bucket.puts == 1)
        told = _notification(f"in/uploads/{await job_id_of(JPEG, '')}/a.jpg", JPEG)
        covered = asyncio.create_task(life.jobs.covers(told), name="covers")
        await asyncio.sleep(0.05)
        assert not covered.done(), "whether the job will be accepted is not known yet"
        world.bucket.open.set()
        job = await coming
        assert await covered
        other = _notification(f"in/uploads/{job.id}/a.jpg", b"written over by hand")
        assert not await life.jobs.covers(other)
        assert not await life.jobs.covers(_notification("in/a.jpg", JPEG))
        assert not await life.jobs.covers(_notification(f"in/uploads/{'0' * 32}/a.jpg", JPEG))


async def test_a_notification_of_an_upload_that_was_refused_is_not_dropped(world: World) -> None:
    async with world.box(deliver=False) as life:
        world.bucket.open.clear()
        world.bucket.shut = GONE  # it was written all the same, and the answer got lost
        coming = asyncio.create_task(life.jobs.submit(JPEG, "a.jpg"), name="upload")
        await until(lambda: world.bucket.puts == 1)
        told = _notification(f"in/uploads/{await job_id_of(JPEG, '')}/a.jpg", JPEG)
        covered = asyncio.create_task(life.jobs.covers(told), name="covers")
        await asyncio.sleep(0.05)
        world.bucket.open.set()
        with pytest.raises(PartFailed):
            await coming
        assert not await covered


async def test_an_original_that_is_gone_before_its_turn_is_told(world: World) -> None:
    world.sink.answer = None  # the handler says: it is done, and nothing came of it
    async with world.box() as life:
        dead = await ended(life, await life.jobs.submit(JPEG, "a.jpg"))
        assert (dead.state, dead.reason) == ("dead", "gone")


async def test_a_job_waits_while_what_it_needs_is_out_of_order(world: World) -> None:
    world.sink.answer = raising(PartFailed("the engine broke"), None)
    async with world.box() as life:
        job = await life.jobs.submit(JPEG, "a.jpg")
        status = await life.jobs.wait(job.id, 0.05)
        assert status is not None
        assert status.state in ("queued", "running")


async def test_limits_hold_and_the_same_upload_twice_at_once_is_put_once(world: World) -> None:
    async with world.box(max_waiting=2, max_waiting_bytes=100, deliver=False) as life:
        world.bucket.open.clear()
        first = [
            asyncio.create_task(life.jobs.submit(JPEG, "a.jpg"), name=f"upload {number}")
            for number in range(3)
        ]
        await asyncio.sleep(0.05)
        assert world.bucket.puts == 1
        with pytest.raises(TryLater) as caught:
            life.jobs.room(100)
        assert caught.value.reason == "full"
        life.jobs.room(10)
        world.bucket.open.set()
        assert len({(await one).id for one in first}) == 1
        life.jobs.room(100)  # its body is no longer in memory
        await life.jobs.submit(JPEG + b"2", "a.jpg")
        with pytest.raises(TryLater):
            await life.jobs.submit(JPEG + b"3", "a.jpg")
        await life.jobs.close()
        assert world.bucket.closed
        with pytest.raises(TryLater) as caught:
            life.jobs.room(1)
        assert caught.value.reason == "stopping"


async def test_a_job_that_comes_while_all_are_looked_at_stays_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_bucket, "LOOK_EVERY", 0.0)
    async with world.box(deliver=False) as life:  # it fails if whoever looks at them has failed
        for number in range(60):
            await life.jobs.submit(JPEG + bytes([number]), "a.jpg")
        assert life.jobs.status().counts["queued"] == 60
        assert len(await life.rows.open_jobs()) == 60


async def test_what_is_no_upload_is_refused(world: World) -> None:
    async with world.box() as life:
        for body, reason in ((b"", "empty"), (bytes(1001), "too_large")):
            with pytest.raises(Rejected) as caught:
                await life.jobs.submit(body, "a.jpg")
            assert caught.value.reason == reason
        assert await life.jobs.get("nothing") is None
        assert await life.jobs.wait("nothing", 5) is None
        assert await life.jobs.image("nothing") is None


async def test_an_object_that_is_there_already_becomes_a_job_by_its_content(world: World) -> None:
    world.bucket.objects["in/a.jpg"] = JPEG
    async with world.box() as life:
        first = await life.jobs.refer("frames", "in/a.jpg")
        assert (await ended(life, first)).state == "done"
        assert (await life.jobs.refer("frames", "in/a.jpg")).id == first.id
        assert len(world.sink.got) == 1
        world.bucket.objects["in/a.jpg"] = JPEG + b"another"
        assert (await life.jobs.refer("frames", "in/a.jpg")).id != first.id
        with pytest.raises(Rejected) as caught:
            await life.jobs.refer("frames", "in/b.jpg")
        assert caught.value.reason == "gone"


async def test_a_result_that_the_store_no_longer_has_or_that_was_changed_there_is_not_shown(
    world: World,
) -> None:
    async with world.box() as life:
        job = await ended(life, await life.jobs.submit(JPEG, "a.jpg"))
        (head,) = await life.outbox.heads(1)
        await world.store.put(head.parcel)
        await life.outbox.passed(head.seq)
        picture = await life.jobs.image(job.id)
        assert picture is not None
        assert picture.body == head.parcel.body
        world.store.pictures[job.key] = b"\xff\xd8 somebody's"
        assert await life.jobs.image(job.id) is None
        del world.store.pictures[job.key]
        assert await life.jobs.image(job.id) is None
        world.store.shut = GONE
        with pytest.raises(PartFailed):
            await life.jobs.image(job.id)


def _notification(key: str, body: bytes) -> Event[bytes | None]:
    etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
    record = {
        "eventVersion": "2.2",
        "eventSource": "ceph:s3",
        "eventTime": "2026-05-04T09:30:00.000Z",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "frames"}, "object": {"key": key, "eTag": etag, "size": 1}},
    }
    (event,) = read(json.dumps({"Records": [record]}).encode(), keys="plain")
    return event


@given(
    name=st.text(max_size=200),
    body=st.sampled_from([JPEG, b"\x89PNG\r\n\x1a\n\0", b"text", b"RIFF\0\0\0\0WEBPVP8 "]),
    suffixes=st.lists(st.sampled_from([".jpg", ".PNG", ".webp", "_cam.jpeg"]), max_size=3),
    prefix=st.sampled_from(["", "in/", "a/b-"]),
)
def test_every_name_of_an_original_is_wanted_by_its_source(
    name: str, body: bytes, suffixes: list[str], prefix: str
) -> None:
    config = BUCKET.model_copy(update={"suffixes": tuple(suffixes), "prefix": prefix})
    key = object_key(config, "0" * 32, name, body)
    assert BucketRule(prefix=prefix, suffixes=tuple(suffixes)).holds(key)
    assert key.startswith(f"{prefix}uploads/{'0' * 32}/")
    last = key.removeprefix(f"{prefix}uploads/{'0' * 32}/")
    assert "/" not in last
    assert last not in ("", ".", "..")
    assert len(key.encode()) <= 1024


def test_the_type_of_an_original_is_that_of_its_content() -> None:
    assert isinstance(BUCKET, BucketConfig)
    assert content_type(JPEG) == "image/jpeg"
    assert content_type(b"\x89PNG\r\n\x1a\n\0") == "image/png"
    assert content_type(b"text") == "application/octet-stream"
    assert object_key(BUCKET, "1", "", b"\x89PNG\r\n\x1a\n\0") == "in/uploads/1/upload.png"
    assert object_key(BUCKET, "1", "../x.gif", b"GIF89a\0\0") == "in/uploads/1/x.gif.jpg"
