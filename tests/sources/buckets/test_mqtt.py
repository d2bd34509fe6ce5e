"""What MinIO publishes to a broker is journalled once, and acknowledged no sooner."""

from __future__ import annotations

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator

import pytest

from edge.errors import TryLater
from edge.sources.buckets import sweep as bucket_sweep
from edge.sources.buckets.unreadable import MALFORMED
from tests.ops.mqtt_parts import Life as Link
from tests.ops.mqtt_parts import running, settings_for
from tests.servers.minio_listen import minio, until
from tests.servers.mosquitto import Mosquitto, mosquitto
from tests.sources.buckets.life import Journal, Life, Open, Shelf, journal, opened
from tests.sources.buckets.notifications import webhook

__all__ = ["journal", "minio", "mosquitto", "opened"]

TOPIC = "minio/frames"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_sweep, "GRACE_SECONDS", 0.3)


@pytest.fixture
async def store(mosquitto: Mosquitto) -> AsyncIterator[Link]:
    """The object store, as the broker sees it."""
    async with running(settings_for(mosquitto, client_id="minio", session_expiry=0)) as link:
        await link.up()
        yield link


def listening(opened: Open, broker: Mosquitto, shelf: Shelf, **more: object) -> Life:
    address = f"mqtt://{broker.host}:{broker.port}"
    return opened(shelf, via="mqtt", broker=address, topic=TOPIC, **more)


async def streaming(life: Life) -> None:
    await until(lambda: life.source.status().state == "streaming")


async def test_what_is_published_is_journalled_with_its_plain_key(
    mosquitto: Mosquitto, store: Link, opened: Open, journal: Journal
) -> None:
    life = listening(opened, mosquitto, Shelf())
    await streaming(life)
    keys = ["in/a.jpg", "cam 1/a+b/hallé%20&.jpg", "日本/x.png"]
    for key in keys:
        await store.link.deliver(TOPIC, webhook(key))
    await store.link.deliver(TOPIC, webhook("in/a.txt"))
    await store.link.deliver(TOPIC, webhook("in/a.jpg"))
    await until(lambda: life.count("duplicates") == 1)
    assert journal.keys == keys


async def test_a_message_that_nobody_can_read_is_set_aside_and_holds_up_nothing(
    mosquitto: Mosquitto, store: Link, opened: Open, journal: Journal
) -> None:
    life = listening(opened, mosquitto, Shelf())
    await streaming(life)
    for body in (b"\xff\x00", b"", b"{oh no", webhook("a.jpg")):
        await store.link.deliver(TOPIC, body)
    await until(lambda: any(one.subject == "a.jpg" for one in journal.events))
    assert [one.type for one in journal.events if one.type == MALFORMED] == [MALFORMED] * 3
    await life.end()
    # all of it is acknowledged: the next life finds nothing
    again = listening(opened, mosquitto, Shelf())
    await streaming(again)
    await store.link.deliver(TOPIC, webhook("b.jpg"))
    await until(lambda: journal.events[-1].subject == "b.jpg")
    assert (again.count("unreadable"), again.count("notified")) == (0, 1)


async def test_what_came_while_the_box_was_away_was_kept_for_it(
    mosquitto: Mosquitto, store: Link, opened: Open, journal: Journal
) -> None:
    life = listening(opened, mosquitto, Shelf())
    await streaming(life)
    await life.end()
    for number in range(100):
        await store.link.deliver(TOPIC, webhook(f"{number}.jpg"))
    life = listening(opened, mosquitto, Shelf())
    await until(lambda: len(journal.keys) == 100)
    assert journal.keys == [f"{number}.jpg" for number in range(100)]
    assert life.count("swept") == 0


async def test_a_full_journal_holds_the_broker_up_and_loses_nothing(
    mosquitto: Mosquitto, store: Link, opened: Open, journal: Journal
) -> None:
    life = listening(opened, mosquitto, Shelf())
    await streaming(life)
    journal.refuses = TryLater("the journal is full", hint="wait", reason="journal_full")
    await store.link.deliver(TOPIC, webhook("0.jpg"))
    await until(lambda: life.source.status().state == "waiting")
    assert "full" in life.source.status().reason
    for number in range(1, 90):
        await store.link.deliver(TOPIC, webhook(f"{number}.jpg"))
    # the box dies with all of it unacknowledged
    await life.end()
    journal.refuses = None
    listening(opened, mosquitto, Shelf())
    await until(lambda: len(journal.keys) == 90)


async def test_a_broker_that_was_away_leaves_a_gap_that_is_swept(
    mosquitto: Mosquitto, opened: Open, journal: Journal
) -> None:
    shelf = Shelf()
    life = listening(opened, mosquitto, shelf)
    await until(lambda: life.count("sweeps") == 1)
    mosquitto.stop(signal.SIGKILL)
    await until(lambda: life.source.status().state == "waiting")
    assert str(mosquitto.port) in life.source.status().reason
    assert life.source.status().hint
    # MinIO has nowhere to publish this to
    shelf.keys.add("lost.jpg")
    mosquitto.start()
    await until(lambda: journal.keys == ["lost.jpg"])
    assert life.source.status().state == "streaming"
    assert life.count("reconnects") >= 1


async def test_several_servers_may_publish_below_one_filter(
    mosquitto: Mosquitto, store: Link, opened: Open, journal: Journal
) -> None:
    address = f"mqtt://{mosquitto.host}:{mosquitto.port}"
    life = opened(Shelf(), via="mqtt", broker=address, topic="minio/+/frames")
    await streaming(life)
    await asyncio.gather(
        store.link.deliver("minio/a/frames", webhook("a.jpg")),
        store.link.deliver("minio/b/frames", webhook("b.jpg")),
        store.link.deliver("minio/frames", webhook("c.jpg")),
    )
    await until(lambda: sorted(journal.keys) == ["a.jpg", "b.jpg"])


async def test_a_message_after_its_sweep_is_the_same_object(
    mosquitto: Mosquitto, store: Link, opened: Open, journal: Journal
) -> None:
    life = listening(opened, mosquitto, Shelf("a.jpg"))
    await until(lambda: life.count("swept") == 1)
    etag = hashlib.md5(b"a.jpg").hexdigest()
    await store.link.deliver(TOPIC, webhook("a.jpg", eTag=etag))
    await until(lambda: life.count("duplicates") == 1)
    assert journal.keys == ["a.jpg"]
    await store.link.deliver(TOPIC, webhook("a.jpg", eTag="another"))
    await until(lambda: journal.keys == ["a.jpg", "a.jpg"])
