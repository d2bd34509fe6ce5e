from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from edge.config.sources import JobsConfig
from edge.contracts import JobStatus, Picture
from edge.errors import Rejected, TryLater
from edge.event import PICTURE_ARRIVED, Event, Outcome
from edge.frame import Encoded
from edge.ops.metrics import Metrics
from edge.parcel import Parcel
from edge.sources import upload
from edge.sources.upload import Uploads

NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def uploads(clock: Clock | None = None, max_bytes: int | None = None, **config: Any) -> Uploads:
    return Uploads(
        JobsConfig(**config),
        metrics=Metrics(),
        origin="/site/box",
        max_bytes=max_bytes,
        clock=clock or Clock(),
        now=lambda: NOW,
    )


async def take(source: Uploads) -> Event[Picture]:
    events: AsyncIterator[Event[Picture]] = source.events()
    async with asyncio.timeout(30):
        return await anext(events)


def parcel_of(job: JobStatus, body: bytes = b"redacted") -> Parcel:
    return Parcel(
        id=f"{job.id}.policy",
        event_id=job.id,
        source="upload",
        taken_at=NOW,
        key=f"upload/{job.id}.jpg",
        body=body,
        content_type="image/jpeg",
        message={},
    )


async def finish(source: Uploads, body: bytes, redacted: bytes = b"redacted") -> JobStatus:
    """Send a picture and walk it to its end."""
    job = await source.submit(body, "a.jpg")
    event = await take(source)
    source.finished(parcel_of(job, redacted))
    await source.settle(event, Outcome.DONE)
    done = await source.get(job.id)
    assert done is not None
    return done


async def test_an_upload_is_queued_then_running_then_done() -> None:
    source = uploads()
    job = await source.submit(b"picture", "gate.jpg")
    assert (job.state, job.accepted_at) == ("queued", NOW)
    event = await take(source)
    assert (await source.get(job.id)).state == "running"  # type: ignore[union-attr]
    assert (event.type, event.source, event.subject) == (
        PICTURE_ARRIVED,
        "/site/box/upload",
        "gate.jpg",
    )
    assert isinstance(event.data, Encoded)
    assert (event.data.body, event.data.source) == (b"picture", "upload")
    source.finished(parcel_of(job))
    await source.settle(event, Outcome.DONE)
    done = await source.get(job.id)
    assert done is not None
    assert (done.state, done.finished_at, done.key) == ("done", NOW, f"upload/{job.id}.jpg")
    assert await source.image(job.id) == parcel_of(job)


async def test_no_picture_is_shown_before_its_event_is_settled() -> None:
    source = uploads()
    job = await source.submit(b"picture", "a.jpg")
    await take(source)
    source.finished(parcel_of(job))
    assert await source.image(job.id) is None


async def test_the_id_is_a_function_of_content_and_key_and_survives_a_restart() -> None:
    first, second = uploads(), uploads()
    for key in ("", "order-7"):
        one = await first.submit(b"picture", "a.jpg", key)
        two = await second.submit(b"picture", "renamed.jpg", key)
        assert one.id == two.id
    assert one.id != (await first.submit(b"picture", "a.jpg")).id


async def test_a_large_picture_has_the_same_id_as_it_would_have_on_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = bytes(upload.HASHED_AT_ONCE + 1)
    in_a_thread = await uploads().submit(body, "a.jpg")
    monkeypatch.setattr(upload, "HASHED_AT_ONCE", len(body))
    assert (await uploads().submit(body, "a.jpg")).id == in_a_thread.id


async def test_the_same_picture_under_the_same_key_is_the_same_job_while_it_is_known() -> None:
    source = uploads()
    done = await finish(source, b"picture")
    assert await source.submit(b"picture", "a.jpg") == done
    assert source.status().counts["taken"] == 1


async def test_two_who_send_the_same_at_the_same_time_get_one_job() -> None:
    source = uploads()
    body = bytes(upload.HASHED_AT_ONCE + 1)
    jobs = await asyncio.gather(*(source.submit(body, "a.jpg") for _ in range(4)))
    assert len({job.id for job in jobs}) == 1
    assert source.status().counts["queued"] == 1


async def test_a_key_that_came_with_another_picture_is_refused() -> None:
    source = uploads()
    await source.submit(b"one", "a.jpg", "order-7")
    with pytest.raises(Rejected) as caught:
        await source.submit(b"two", "a.jpg", "order-7")
    assert caught.value.reason == "key_reused"


@pytest.mark.parametrize(("body", "reason"), [(b"", "empty"), (b"x" * 11, "too_large")])
async def test_what_cannot_be_a_job_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(Rejected) as caught:
        await uploads(max_bytes=10).submit(body, "a.jpg")
    assert caught.value.reason == reason


async def test_waiting_uploads_are_bounded_by_number_until_one_is_settled() -> None:
    source = uploads(max_waiting=2)
    await source.submit(b"one", "a.jpg")
    await source.submit(b"two", "a.jpg")
    event = await take(source)
    with pytest.raises(TryLater) as caught:
        await source.submit(b"three", "a.jpg")
    assert caught.value.after
    assert caught.value.reason == "full"
    await source.settle(event, Outcome.DONE)
    await source.submit(b"three", "a.jpg")


async def test_waiting_uploads_are_bounded_by_bytes() -> None:
    source = uploads(max_waiting_bytes=10)
    await source.submit(b"123456", "a.jpg")
    with pytest.raises(TryLater):
        source.room(5)
    source.room(4)
    await source.settle(await take(source), Outcome.REJECTED, "damaged")
    source.room(10)


async def test_an_original_is_forgotten_when_its_event_is_settled_even_if_no_other_comes() -> None:
    source = uploads()
    size = 8 * 2**20
    tracemalloc.start()
    try:
        await source.submit(bytes(size), "a.jpg")
        events = source.events()
        event = await anext(events)
        following = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        assert tracemalloc.get_traced_memory()[0] > size
        await source.settle(event, Outcome.DONE)
        del event
        async with asyncio.timeout(30):  # the thread that hashed it lets go a little later
            while tracemalloc.get_traced_memory()[0] > size / 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        tracemalloc.stop()
    await source.close()
    with pytest.raises(StopAsyncIteration):
        await following


@pytest.mark.parametrize(
    ("outcome", "reason", "code"),
    [
        (Outcome.REJECTED, "damaged: the PNG ends early", "damaged"),
        (Outcome.REJECTED, "", "rejected"),
        (Outcome.DROPPED, "stopping", "stopping"),
    ],
)
async def test_a_job_that_was_not_done_is_dead_and_says_why(
    outcome: Outcome, reason: str, code: str
) -> None:
    source = uploads()
    job = await source.submit(b"picture", "a.jpg")
    await source.settle(await take(source), outcome, reason)
    dead = await source.get(job.id)
    assert dead is not None
    assert (dead.state, dead.reason) == ("dead", code)
    assert await source.image(job.id) is None


async def test_the_words_behind_a_code_become_the_hint() -> None:
    source = uploads()
    job = await source.submit(b"picture", "a.jpg")
    await source.settle(await take(source), Outcome.REJECTED, "damaged: the PNG ends early")
    assert (await source.get(job.id)).hint == "the PNG ends early"  # type: ignore[union-attr]


async def test_a_dead_job_is_tried_anew_when_it_is_sent_again() -> None:
    source = uploads()
    job = await source.submit(b"picture", "a.jpg", "key")
    await source.settle(await take(source), Outcome.REJECTED, "engine_down")
    again = await source.submit(b"picture", "a.jpg", "key")
    assert (again.id, again.state) == (job.id, "queued")
    assert source.status().counts["dead"] == 0
    assert (await take(source)).id == job.id


async def test_a_duplicate_is_done_and_its_picture_is_in_the_store_only() -> None:
    source = uploads()
    job = await source.submit(b"picture", "a.jpg")
    await source.settle(await take(source), Outcome.DUPLICATE)
    assert (await source.get(job.id)).state == "done"  # type: ignore[union-attr]
    assert await source.image(job.id) is None


async def test_an_event_is_settled_once() -> None:
    source = uploads()
    job = await source.submit(b"picture", "a.jpg")
    event = await take(source)
    await source.settle(event, Outcome.DONE)
    await source.settle(event, Outcome.REJECTED, "late")
    assert (await source.get(job.id)).state == "done"  # type: ignore[union-attr]
    assert source.status().counts["done"] == 1


async def test_waiting_ends_with_the_job() -> None:
    source = uploads()
    job = await source.submit(b"picture", "a.jpg")
    waiting = asyncio.create_task(source.wait(job.id, 60))
    event = await take(source)
    assert not waiting.done()
    await source.settle(event, Outcome.DONE)
    async with asyncio.timeout(30):
        status = await waiting
    assert status is not None
    assert status.state == "done"


async def test_waiting_ends_with_the_time() -> None:
    source = uploads()
    job = await source.submit(b"picture", "a.jpg")
    status = await source.wait(job.id, 0.01)
    assert status is not None
    assert status.state == "queued"
    assert await source.wait("nobody", 60) is None


async def test_a_result_is_dropped_after_a_while_and_the_job_still_says_where_it_is() -> None:
    clock = Clock()
    source = uploads(clock, keep_for="10min")
    job = await finish(source, b"picture")
    clock.now += 599
    assert await source.image(job.id) is not None
    clock.now += 2
    assert await source.image(job.id) is None
    assert (await source.get(job.id)).key  # type: ignore[union-attr]


async def test_the_oldest_result_gives_way_when_there_are_too_many_bytes() -> None:
    source = uploads(keep_bytes=20)
    jobs = [await finish(source, b"picture %d" % n, b"8 bytes!") for n in range(3)]
    assert [await source.image(job.id) is not None for job in jobs] == [False, True, True]


async def test_a_result_that_is_larger_than_all_the_room_is_not_kept_and_drives_nobody_out() -> (
    None
):
    source = uploads(keep_bytes=20)
    small = await finish(source, b"small", b"8 bytes!")
    large = await finish(source, b"large", b"x" * 21)
    assert await source.image(large.id) is None
    assert large.key
    assert await source.image(small.id) is not None


async def test_the_number_of_finished_jobs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "REMEMBERED", 3)
    source = uploads()
    waiting = await source.submit(b"still waiting", "a.jpg", "key-0")
    first_event = await take(source)
    jobs = [await finish(source, b"picture %d" % n) for n in range(5)]
    assert [await source.get(job.id) is not None for job in jobs] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert await source.get(waiting.id) is not None
    assert source.status().counts["done"] == 3
    await source.settle(first_event, Outcome.DONE)


async def test_a_forgotten_job_frees_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "REMEMBERED", 1)
    source = uploads()
    await source.submit(b"one", "a.jpg", "key")
    await source.settle(await take(source), Outcome.DONE)
    await finish(source, b"two")
    anew = await source.submit(b"three", "a.jpg", "key")
    assert anew.state == "queued"


async def test_closing_ends_the_events_and_tells_those_who_wait() -> None:
    source = uploads()
    running = await source.submit(b"one", "a.jpg")
    events = source.events()
    event = await anext(events)
    queued = await source.submit(b"two", "a.jpg")
    await source.close()
    async with asyncio.timeout(30):
        with pytest.raises(StopAsyncIteration):
            await anext(events)
    dead = await source.get(queued.id)
    assert dead is not None
    assert (dead.state, dead.reason) == ("dead", "stopping")
    assert "send it again" in dead.hint
    with pytest.raises(TryLater):
        await source.submit(b"three", "a.jpg")
    await source.settle(event, Outcome.DONE)
    assert (await source.get(running.id)).state == "done"  # type: ignore[union-attr]


async def test_closing_wakes_a_path_that_waits_for_the_next_upload() -> None:
    source = uploads()
    waiting = asyncio.ensure_future(anext(source.events()))
    await asyncio.sleep(0)
    await source.close()
    async with asyncio.timeout(30):
        with pytest.raises(StopAsyncIteration):
            await waiting


async def test_the_jobs_are_counted_by_state() -> None:
    metrics = Metrics()
    source = Uploads(JobsConfig(), metrics=metrics, origin="/site/box")
    await source.submit(b"one", "a.jpg")
    await source.submit(b"two", "a.jpg")
    await take(source)

    def number(state: str) -> float | None:
        return metrics.registry.get_sample_value("edge_jobs", {"state": state})

    assert (number("queued"), number("running")) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "harmless"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\fakepath\\a.jpg", "a.jpg"),
        ("\x00<b>", "_b_"),
        ("", "upload"),
    ],
)
async def test_the_name_of_a_sender_is_harmless(name: str, harmless: str) -> None:
    source = uploads()
    await source.submit(b"picture", name)
    assert (await take(source)).subject == harmless


async def test_nothing_of_a_picture_shows_when_a_job_is_printed() -> None:
    source = uploads()
    job = await source.submit(b"secret pixels", "a.jpg")
    assert "secret" not in repr(source._jobs[job.id])
    assert "secret" not in repr(await take(source))
