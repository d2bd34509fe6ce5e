from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config.sources import JobsConfig
from edge.errors import TryLater
from edge.event import Outcome
from edge.web.bodies import Intake, safe_name
from tests.web.conftest import Open, Site
from tests.web.parts import FakeBox, drawing

JPEG = {"Content-Type": "image/jpeg"}
PICTURE = drawing(1)


async def post(site: Site, body: Any = PICTURE, **headers: str) -> tuple[int, Any, Any]:
    async with site.client.post(
        site.at("/v1/images"), data=body, headers={**JPEG, **headers}
    ) as answer:
        return answer.status, answer.headers, await answer.json()


async def test_a_picture_becomes_a_job_and_the_job_becomes_a_redacted_picture(
    working: Site,
) -> None:
    status, headers, job = await post(working)
    assert status == 202
    assert headers["Location"] == f"/v1/jobs/{job['id']}"
    async with working.client.get(working.at(headers["Location"] + "?wait=10")) as answer:
        done = await answer.json()
    assert done["state"] == "done"
    assert done["key"] == f"upload/{job['id']}.jpg"
    async with working.client.get(working.at(done["links"]["image"])) as answer:
        assert answer.status == 200
        assert answer.content_type == "image/jpeg"
        body = await answer.read()
    assert body == drawing(7)
    assert body != PICTURE


async def test_a_form_is_read_like_a_picture(working: Site) -> None:
    form = aiohttp.FormData()
    form.add_field("note", "from the gate")
    form.add_field("image", PICTURE, filename="../../etc/gate 1.jpg", content_type="image/jpeg")
    async with working.client.post(working.at("/v1/images"), data=form) as answer:
        assert answer.status == 202
        as_form = await answer.json()
    _, _, as_body = await post(working)
    assert as_form["id"] == as_body["id"]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ([], 422, "not_one_picture"),
        (["a"], 422, "empty"),
        (["a.jpg", "b.jpg"], 422, "not_one_picture"),
    ],
)
async def test_a_form_has_exactly_one_picture(
    site: Site, fields: list[str], status: int, code: str
) -> None:
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("note", "x")
    for name in fields:
        form.add_field("image", b"" if name == "a" else PICTURE, filename=name)
    async with site.client.post(site.at("/v1/images"), data=form) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    "kind",
    ["multipart/form-data", "multipart/form-data; boundary=x", "multipart/form-data; boundary="],
)
async def test_a_broken_form_is_refused_and_does_not_hang(site: Site, kind: str) -> None:
    status, _, body = await post(site, b"no boundary here", **{"Content-Type": kind})
    assert status in (400, 422)
    assert body["error"]["code"]


async def test_a_reference_to_a_bucket_needs_uploads_that_rest_on_one(site: Site) -> None:
    async with site.client.post(
        site.at("/v1/images"), json={"bucket": "in", "key": "a.jpg"}
    ) as answer:
        assert answer.status == 501
        assert "[jobs] bucket" in (await answer.json())["error"]["hint"]
    async with site.client.post(site.at("/v1/images"), json={"bucket": 1}) as answer:
        assert answer.status == 422


async def test_a_picture_as_curl_sends_it_without_further_words_is_taken(site: Site) -> None:
    kind = "application/x-www-form-urlencoded"
    status, headers, _ = await post(site, b"\xff\xd8 a picture", **{"Content-Type": kind})
    assert status == 202
    assert headers["Location"].startswith("/v1/jobs/")


async def test_what_is_not_a_picture_is_415_and_says_what_is_taken(site: Site) -> None:
    status, headers, _ = await post(site, b"hello", **{"Content-Type": "text/plain"})
    assert status == 415
    assert "image/*" in headers["Accept-Post"]


async def test_an_empty_body_is_422(site: Site) -> None:
    status, _, body = await post(site, b"")
    assert (status, body["error"]["code"]) == (422, "empty")


async def test_a_body_that_says_that_it_is_too_large_is_refused_before_it_is_read(
    open_site: Open,
) -> None:
    site = await open_site(max_upload=100_000)
    port = int(site.url.rstrip("/").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
        b"Content-Length: 100001\r\nExpect: 100-continue\r\n\r\n"
    )
    first = await reader.readline()
    assert b" 413 " in first
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_waits_is_told_to_go_on(working: Site) -> None:
    port = int(working.url.rstrip("/").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
        b"Content-Length: %d\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n" % len(PICTURE)
    )
    assert b" 100 " in await reader.readline()
    assert await reader.readline() == b"\r\n"
    writer.write(PICTURE)
    assert b" 202 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_a_body_that_grows_too_large_while_it_comes_is_413(open_site: Open) -> None:
    site = await open_site(max_upload=100_000)

    async def chunks() -> Any:
        for _ in range(11):
            yield b"x" * 10_000

    status, _, body = await post(site, chunks())
    assert (status, body["error"]["code"]) == (413, "too_large")
    assert "max_upload" in body["error"]["hint"]


async def test_the_largest_allowed_picture_is_taken(open_site: Open) -> None:
    site = await open_site(max_upload=len(PICTURE))
    assert (await post(site))[0] == 202
    form = aiohttp.FormData()
    form.add_field("image", PICTURE, filename="a.jpg")
    async with site.client.post(site.at("/v1/images"), data=form) as answer:
        assert answer.status == 202


async def test_a_sender_that_stops_in_the_middle_leaves_no_job_and_frees_its_room(
    site: Site,
) -> None:
    port = int(site.url.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(
            b"POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
            b"Content-Length: 1000\r\n\r\nhalf"
        )
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.1)
    assert site.box.jobs.status().counts["taken"] == 0
    assert (await post(site))[0] == 202


async def test_the_same_picture_twice_is_one_job(site: Site) -> None:
    first, second = await post(site), await post(site)
    assert first[2]["id"] == second[2]["id"]
    assert site.box.jobs.status().counts["taken"] == 1


async def test_another_idempotency_key_is_another_job(site: Site) -> None:
    ids = {(await post(site, **{"Idempotency-Key": key}))[2]["id"] for key in ("a", "b", "a")}
    assert len(ids) == 2


async def test_a_key_that_came_with_another_picture_is_a_conflict(site: Site) -> None:
    await post(site, **{"Idempotency-Key": "a"})
    status, _, body = await post(site, drawing(2), **{"Idempotency-Key": "a"})
    assert (status, body["error"]["code"]) == (409, "key_reused")


@pytest.mark.parametrize("key", ["x" * 256, "two words", "ä"])
async def test_a_key_that_cannot_be_one_is_refused(site: Site, key: str) -> None:
    status, _, _ = await post(site, **{"Idempotency-Key": key})
    assert status == 400


async def test_when_too_many_wait_the_next_is_503_and_told_when_to_come_back(
    open_site: Open,
) -> None:
    site = await open_site(FakeBox(JobsConfig(max_waiting=2)))
    for number in range(2):
        assert (await post(site, drawing(number)))[0] == 202
    status, headers, body = await post(site, drawing(9))
    assert (status, body["error"]["code"]) == (503, "full")
    assert int(headers["Retry-After"]) >= 1


async def test_when_there_is_no_room_the_body_is_not_even_asked_for(open_site: Open) -> None:
    site = await open_site(FakeBox(JobsConfig(max_waiting=1)))
    await post(site)
    port = int(site.url.rstrip("/").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
        b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
    )
    assert b" 503 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_a_job_that_is_not_done_yet_has_no_picture_yet(site: Site) -> None:
    _, _, job = await post(site)
    async with site.client.get(site.at(job["links"]["image"])) as answer:
        assert answer.status == 202
        assert answer.headers["Retry-After"] == "1"
        assert (await answer.json())["state"] == "queued"


async def test_a_wait_ends_with_the_job_or_with_the_time(site: Site) -> None:
    _, headers, _ = await post(site)
    async with site.client.get(site.at(headers["Location"] + "?wait=0.05")) as answer:
        assert (await answer.json())["state"] == "queued"


@pytest.mark.parametrize("wait", ["-1", "soon", "nan", "inf"])
async def test_a_wait_that_is_no_time_is_refused(site: Site, wait: str) -> None:
    async with site.client.get(site.at(f"/v1/jobs/x?wait={wait}")) as answer:
        assert answer.status == 400


async def test_a_job_that_died_says_why_and_has_no_picture_ever(site: Site) -> None:
    worker = asyncio.create_task(
        site.box.work(Outcome.REJECTED, "damaged: the JPEG ends in the middle")
    )
    _, headers, _ = await post(site)
    async with site.client.get(site.at(headers["Location"] + "?wait=10")) as answer:
        job = await answer.json()
    assert (job["state"], job["reason"]) == ("dead", "damaged")
    assert "ends in the middle" in job["hint"]
    async with site.client.get(site.at(job["links"]["image"])) as answer:
        assert answer.status == 409
        assert (await answer.json())["error"]["code"] == "damaged"
    worker.cancel()


async def test_a_result_that_is_no_longer_kept_is_410_and_says_where_it_is(open_site: Open) -> None:
    site = await open_site(FakeBox(JobsConfig(keep_bytes=1)))
    worker = asyncio.create_task(site.box.work())
    _, headers, job = await post(site)
    async with site.client.get(site.at(headers["Location"] + "?wait=10")):
        pass
    async with site.client.get(site.at(job["links"]["image"])) as answer:
        assert answer.status == 410
        assert f"upload/{job['id']}.jpg" in (await answer.json())["error"]["hint"]
    worker.cancel()


@pytest.mark.parametrize(
    "path", ["/v1/jobs/nothing", "/v1/jobs/nothing/image", "/v1/jobs/x?wait=1"]
)
async def test_a_job_that_nobody_knows_is_404(site: Site, path: str) -> None:
    async with site.client.get(site.at(path)) as answer:
        assert answer.status == 404


async def test_a_result_can_be_asked_for_again_and_in_parts(working: Site) -> None:
    _, headers, job = await post(working)
    async with working.client.get(working.at(headers["Location"] + "?wait=10")):
        pass
    address, whole = working.at(job["links"]["image"]), drawing(7)
    async with working.client.get(address) as answer:
        tag = answer.headers["ETag"]
        assert answer.headers["Accept-Ranges"] == "bytes"
    async with working.client.get(address, headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
    async with working.client.get(address, headers={"Range": "bytes=2-5"}) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes 2-5/{len(whole)}"
        assert await answer.read() == whole[2:6]
    async with working.client.get(address, headers={"Range": "bytes=-4"}) as answer:
        assert await answer.read() == whole[-4:]
    beyond = {"Range": f"bytes={len(whole)}-"}
    async with working.client.get(address, headers=beyond) as answer:
        assert answer.status == 416
        assert answer.headers["Content-Range"] == f"bytes */{len(whole)}"
    stale = {"Range": "bytes=2-5", "If-Range": '"other"'}
    async with working.client.get(address, headers=stale) as answer:
        assert answer.status == 200
    for odd in ("bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=0-1,4-5"):
        async with working.client.get(address, headers={"Range": odd}) as answer:
            assert answer.status == 200
            assert len(await answer.read()) == len(whole)


async def test_a_box_that_stops_takes_no_more_uploads(site: Site) -> None:
    await site.box.jobs.close()
    status, headers, body = await post(site)
    assert (status, body["error"]["code"]) == (503, "stopping")
    assert "Retry-After" in headers


def test_bodies_under_way_are_bounded_together_and_one_always_fits() -> None:
    intake = Intake(100)
    with intake.hold(1000), pytest.raises(TryLater), intake.hold(1):
        pass
    with intake.hold(60), intake.hold(40), pytest.raises(TryLater), intake.hold(1):
        pass
    with intake.hold(100):
        pass


@given(st.text(max_size=300))
def test_any_file_name_becomes_harmless(name: str) -> None:
    safe = safe_name(name)
    assert len(safe) <= 100
    assert not set(safe) & set('/\\<>"&\x00\n\r')
    assert not safe.startswith(".")
