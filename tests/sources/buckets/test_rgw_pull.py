"""Pull mode, against a real Ceph RGW 16.2.15, its captured pages, and a gateway that misbehaves."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import PartFailed, TryLater
from edge.sources.buckets.link import BucketLink
from edge.sources.buckets.records import read
from edge.sources.buckets.rgw_pull import PAGE, Pulled, RgwPull, page_of
from edge.sources.buckets.sigv import Keys
from tests.places import shared
from tests.servers.minio_listen import minio, until
from tests.servers.rgw_pubsub import RgwPubsub, pubsub
from tests.sources.buckets.life import Journal, Open, Shelf, journal, opened

__all__ = ["journal", "minio", "opened", "pubsub"]

KEYS = Keys(access_key="a", secret_key="b")


class Puller:
    """Pulls in a task, and keeps what came."""

    def __init__(self, endpoint: str, subscription: str, keys: Keys = KEYS) -> None:
        self.link = BucketLink(endpoint, keys)
        self.pull = RgwPull(self.link, subscription)
        self.came: list[str] = []
        self.ids: list[str] = []
        self.pages: list[int] = []
        self.ups = 0
        #: raised in the place of taking
        self.fails: Exception | None = None
        self.task = asyncio.create_task(self.pull.run(self._take, self._up), name="puller")

    async def _take(self, pulled: Sequence[Pulled]) -> None:
        if self.fails:
            raise self.fails
        self.pages.append(len(pulled))
        self.ids += [one.id for one in pulled]
        for one in pulled:
            self.came += [event.subject for event in read(one.body)]

    def _up(self) -> None:
        self.ups += 1

    async def failure(self) -> PartFailed:
        done, _ = await asyncio.wait([self.task], timeout=10)
        assert done, "it goes on"
        error = self.task.exception()
        assert isinstance(error, PartFailed)
        return error

    async def stop(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await self.task
        await self.link.close()


def _put(pubsub: RgwPubsub, bucket: str, *keys: str) -> None:
    client = pubsub.client()
    for key in keys:
        client.put_object(bucket_name=bucket, object_name=key, data=io.BytesIO(b"x"), length=1)


# -- the real one

ZONE_SECONDS = 60.0
"""A zone may wait 20 s before it looks for changes by itself."""


@pytest.fixture
async def subscribed(pubsub: RgwPubsub) -> tuple[str, str]:
    """Return a bucket and a subscription to it."""
    bucket = f"edge-{secrets.token_hex(5)}"
    pubsub.client().make_bucket(bucket_name=bucket)
    return bucket, await pubsub.subscribe(bucket)


async def test_events_of_a_real_zone_come_once_and_are_acknowledged(
    pubsub: RgwPubsub, subscribed: tuple[str, str]
) -> None:
    bucket, subscription = subscribed
    keys = ["cam 1/hallé&lobby+%20.jpg", "b.jpg", "日本.png"]
    first = Puller(pubsub.pubsub, subscription, pubsub.keys)
    await asyncio.to_thread(_put, pubsub, bucket, *keys)
    await until(lambda: len(first.came) >= 3, ZONE_SECONDS)
    await asyncio.sleep(1)
    await first.stop()
    assert sorted(first.came) == sorted(keys)
    second = Puller(pubsub.pubsub, subscription, pubsub.keys)
    await until(lambda: second.ups > 1)
    await second.stop()
    assert second.came == []


async def test_what_was_not_taken_comes_again_from_a_real_zone(
    pubsub: RgwPubsub, subscribed: tuple[str, str]
) -> None:
    bucket, subscription = subscribed
    first = Puller(pubsub.pubsub, subscription, pubsub.keys)
    first.fails = PartFailed("the journal broke")
    await asyncio.to_thread(_put, pubsub, bucket, "a.jpg")
    assert str(await first.failure()) == "the journal broke"
    await first.stop()
    second = Puller(pubsub.pubsub, subscription, pubsub.keys)
    await until(lambda: second.came == ["a.jpg"], ZONE_SECONDS)
    await second.stop()


async def test_many_pages_of_a_real_zone_come_whole(
    pubsub: RgwPubsub, subscribed: tuple[str, str]
) -> None:
    bucket, subscription = subscribed
    keys = [f"{number:04}.jpg" for number in range(2 * PAGE + 30)]
    await asyncio.to_thread(_put, pubsub, bucket, *keys)
    puller = Puller(pubsub.pubsub, subscription, pubsub.keys)
    await until(lambda: set(puller.came) == set(keys), ZONE_SECONDS)
    await puller.stop()
    assert len(puller.came) == len(set(puller.ids)) == len(keys)


async def test_a_real_zone_refuses_in_ways_that_are_told_apart(
    pubsub: RgwPubsub, subscribed: tuple[str, str]
) -> None:
    _, subscription = subscribed
    missing = Puller(pubsub.pubsub, "nope & gone", pubsub.keys)
    assert (await missing.failure()).reason == "no_subscription"
    await missing.stop()
    wrong = Keys(access_key=pubsub.keys.access_key, secret_key="wr0ng")
    denied = Puller(pubsub.pubsub, subscription, wrong)
    error = await denied.failure()
    assert (error.reason, error.status) == ("denied", 403)
    assert "SignatureDoesNotMatch" in str(error)
    await denied.stop()


# -- captured pages


@pytest.mark.parametrize(
    ("name", "count", "more"),
    [
        ("pull-events-none-yet", 0, False),
        ("pull-events", 4, False),
        ("pull-events-page1", 2, True),
        ("pull-events-page2", 2, False),
        ("pull-events-s3format", 2, False),
    ],
)
def test_captured_pages_are_read(name: str, count: int, more: bool) -> None:
    pulled, marker = page_of(shared(f"samples/rgw/{name}.json").read_bytes())
    assert len(pulled) == count
    assert bool(marker) is more
    subjects = [event.subject for one in pulled for event in read(one.body)]
    assert len(subjects) == count
    if count:
        assert all(one.id for one in pulled)


def test_a_page_says_when_the_object_changed() -> None:
    pulled, _ = page_of(shared("samples/rgw/pull-events-page2.json").read_bytes())
    assert pulled[0].modified == "2026-11-20T10:51:44.736397Z"


@given(body=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_page_breaks_it(body: bytes) -> None:
    with suppress(ValueError):
        assert page_of(body) == ([], "")


@given(
    page=st.dictionaries(
        st.sampled_from(["events", "Records", "next_marker", "is_truncated"]),
        st.recursive(
            st.none() | st.text(max_size=4) | st.integers() | st.just("true"),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["id", "info", "attrs", "mtime", "eventId"]), inner, max_size=3
                )
            ),
            max_leaves=8,
        ),
    )
)
def test_no_page_of_odd_values_breaks_it(page: dict[str, object]) -> None:
    with suppress(ValueError):
        pulled, _ = page_of(json.dumps(page).encode())
        assert all(one.id for one in pulled)


def test_ids_that_cannot_be_sent_are_left_out() -> None:
    events = [{"id": wild} for wild in ("\ud800", "", 3, "x" * 300, "1.a")]
    pulled, marker = page_of(
        json.dumps({"events": events, "is_truncated": "true", "next_marker": "\udfff"}).encode()
    )
    assert [one.id for one in pulled] == ["1.a"]
    assert marker == ""


def test_a_page_nested_too_deep_is_refused() -> None:
    with pytest.raises(ValueError, match="deep"):
        page_of(b'{"events":' + b"[" * 200_000)


# -- a gateway that misbehaves


class Odd:
    """Plays pages, and notes what is acknowledged."""

    def __init__(self) -> None:
        self.pages: list[bytes] = []
        self.acks: list[str] = []
        self.ack_status = 200
        self.gets = 0
        self.endpoint = ""

    async def answer(self, request: web.Request) -> web.Response:
        if "ack" in request.query:
            self.acks.append(request.query["event-id"])
            return web.Response(status=self.ack_status)
        self.gets += 1
        body = self.pages.pop(0) if self.pages else b'{"events":[],"is_truncated":"false"}'
        return web.Response(body=body, content_type="application/json")


@pytest.fixture
async def odd() -> AsyncIterator[Odd]:
    server = Odd()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


def page(*ids: str, marker: str = "", more: str = "false") -> bytes:
    events = [
        {
            "id": one,
            "event": "OBJECT_CREATE",
            "timestamp": "2026-11-20T10:51:44.396153Z",
            "info": {
                "attrs": {"mtime": "2026-11-20T10:51:44.350665Z"},
                "bucket": {"bucket_id": "x", "name": "frames", "tenant": ""},
                "key": {"instance": "", "name": f"{one}.jpg"},
            },
        }
        for one in ids
    ]
    return json.dumps({"next_marker": marker, "is_truncated": more, "events": events}).encode()


async def test_ids_are_escaped(odd: Odd) -> None:
    wild = "1 &ack=2/+%41é"
    odd.pages = [page(wild)]
    puller = Puller(odd.endpoint, "s")
    await until(lambda: odd.acks == [wild])
    await puller.stop()


async def test_an_acknowledgement_that_failed_is_made_again(odd: Odd) -> None:
    odd.ack_status = 503
    odd.pages = [page("1"), page("1")]
    puller = Puller(odd.endpoint, "s")
    await until(lambda: len(odd.acks) == 2)
    assert puller.pull.unacknowledged >= 1
    assert puller.came == ["1.jpg", "1.jpg"]
    await puller.stop()


async def test_acknowledgements_that_never_succeed_make_no_storm(odd: Odd) -> None:
    odd.ack_status = 403
    odd.pages = [page("1") for _ in range(1000)]
    puller = Puller(odd.endpoint, "s")
    await asyncio.sleep(1.5)
    assert 2 <= odd.gets <= 6
    await puller.stop()


async def test_an_event_that_nobody_can_read_is_a_dead_letter_before_it_is_acknowledged(
    odd: Odd, opened: Open, journal: Journal
) -> None:
    whole = json.loads(page("1", "2"))
    del whole["events"][0]["info"]
    odd.pages = [json.dumps(whole).encode()]
    journal.refuses = TryLater("full", reason="journal_full", after=0.1)
    settings = {"endpoint": odd.endpoint, "via": "pull", "subscription": "s", "sweep_every": "0s"}
    life = opened(Shelf(), **settings)
    await until(lambda: life.source.status().state == "waiting")
    await asyncio.sleep(0.3)
    assert odd.acks == []
    journal.refuses = None
    await until(lambda: sorted(odd.acks) == ["1", "2"])
    assert journal.keys == ["2.jpg"]
    (aside,) = journal.unreadable
    assert b'"id": "1"' in (aside.data or b"")
    assert life.count("unreadable") == 1


async def test_a_marker_that_stays_ends_the_round(odd: Odd) -> None:
    odd.pages = [page("1", marker="m", more="true") for _ in range(500)]
    puller = Puller(odd.endpoint, "s")
    await asyncio.sleep(0.5)
    # with a pause after each second page
    assert 2 <= odd.gets <= 25
    await puller.stop()


async def test_idle_rounds_become_rare(odd: Odd) -> None:
    puller = Puller(odd.endpoint, "s")
    await asyncio.sleep(1.6)
    assert 3 <= odd.gets <= 7
    await puller.stop()


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"<html>", "malformed"), (b"[]", "malformed"), (b" " * (9 * 2**20), "too_large")],
    ids=["html", "list", "giant"],
)
async def test_what_is_no_page_is_said_so(odd: Odd, body: bytes, reason: str) -> None:
    odd.pages = [body]
    puller = Puller(odd.endpoint, "s")
    assert (await puller.failure()).reason == reason
    await puller.stop()
