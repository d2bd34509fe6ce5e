"""Sweeps find what was removed, and believe neither listings nor coincidences."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from edge.config.sources import BucketConfig
from edge.errors import PartFailed
from edge.event import WireEvent
from edge.frame import ObjectRef
from edge.sources.buckets import removals as module
from edge.sources.buckets.records import object_of
from edge.sources.buckets.removals import HOLD_SECONDS, Removals
from edge.sources.buckets.rule import BucketRule
from edge.sources.buckets.seen import Seen
from edge.sources.buckets.sweep import Sweep
from tests.sources.buckets.life import Journal, Shelf

CONFIG = BucketConfig.model_validate(
    {
        "kind": "bucket",
        "endpoint": "http://host:1",
        "bucket": "frames",
        "access_key": "a",
        "secret_key": "b",
        "when_removed": "erase",
    }
)


class Past:
    """What was made of which keys, and what is in the bucket now."""

    def __init__(self, *keys: str) -> None:
        self.made = dict.fromkeys(keys, "1.0")
        self.there: set[str] = set()
        self.looked: list[str] = []
        self.lost: PartFailed | None = None
        self.now = 0.0

    async def between(self, after: str, until: str | None, limit: int) -> list[tuple[str, str]]:
        found = sorted(key for key in self.made if after < key and (until is None or key <= until))
        return [(key, self.made[key]) for key in found[:limit]]

    async def find(self, ref: ObjectRef) -> ObjectRef | None:
        self.looked.append(ref.key)
        if self.lost:
            raise self.lost
        return ref if ref.key in self.there else None


def sweeping(shelf: Shelf, past: Past, journal: Journal, rule: BucketRule | None = None) -> Sweep:
    async def take(events: Sequence[WireEvent]) -> None:
        await journal.accept(events)

    journal.done |= {(key, _etag(key)) for key in shelf.keys}
    sweep = Sweep(CONFIG, "/s/b/yard", shelf, known=journal.known, seen=Seen(), take=take)
    sweep.removals = Removals(
        CONFIG,
        "/s/b/yard",
        rule or BucketRule(removals=True),
        made=past.between,
        find=past.find,
        take=take,
        clock=lambda: past.now,
    )
    return sweep


def _etag(key: str) -> str:
    return hashlib.md5(key.encode()).hexdigest()


def trouble(sweep: Sweep) -> str:
    return sweep.trouble.reason if sweep.trouble and sweep.trouble.hint else ""


def names(count: int) -> list[str]:
    return [f"{number:04}.jpg" for number in range(count)]


async def test_what_is_missing_in_a_listing_and_in_fact_is_told_once() -> None:
    keys, journal = names(35), Journal()
    past, shelf = Past(*keys), Shelf(*keys)
    for gone in ("0000.jpg", "0009.jpg", "0010.jpg", "0034.jpg"):
        shelf.keys.discard(gone)
    past.there = {"0010.jpg"}  # it came back after the listing
    sweep = sweeping(shelf, past, journal)
    await sweep.once()
    assert journal.keys == ["0000.jpg", "0009.jpg", "0034.jpg"]
    assert {one.type for one in journal.events} == {"com.amazonaws.s3.ObjectRemoved:Delete"}
    assert {one.source for one in journal.events} == {"/s/b/yard"}
    assert {object_of(one).bucket for one in journal.events} == {"frames"}
    await sweep.once()
    assert len(journal.events) == 3, "found again it is the same event"
    past.made["0009.jpg"] = "1.1"  # it was there when it was asked for, and is gone now
    await sweep.once()
    assert len(journal.events) == 4


async def test_a_bucket_that_is_gone_or_does_not_answer_erases_nothing() -> None:
    keys, journal = names(3), Journal()
    past, shelf = Past(*keys), Shelf()
    past.lost = PartFailed("no such bucket", reason="no_bucket")
    sweep = sweeping(shelf, past, journal)
    with pytest.raises(PartFailed):
        await sweep.once()
    assert journal.events == []
    past.lost = None
    await sweep.once()
    assert len(journal.events) == 3


async def test_a_listing_that_broke_goes_on_and_compares_every_key_once() -> None:
    keys, journal = names(35), Journal()
    past, shelf = Past(*keys), Shelf(*keys)
    shelf.keys -= {"0003.jpg", "0033.jpg"}
    shelf.breaks_after = 2
    sweep = sweeping(shelf, past, journal)
    with pytest.raises(PartFailed):
        await sweep.once()
    assert journal.events == []
    await sweep.once()
    assert journal.keys == ["0003.jpg", "0033.jpg"]
    assert past.looked == ["0003.jpg", "0033.jpg"]


async def test_a_key_that_the_source_does_not_read_never_counts_as_removed() -> None:
    journal, past = Journal(), Past("out/a.jpg", "in/a.txt", "in/a.jpg")
    rule = BucketRule(prefix="in/", removals=True)
    await sweeping(Shelf(), past, journal, rule).once()
    assert journal.keys == ["in/a.jpg"]


async def test_where_most_are_gone_at_once_nothing_is_told_for_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 7)
    keys, journal = names(120), Journal()
    past, shelf = Past(*keys), Shelf(*keys[:40])
    sweep = sweeping(shelf, past, journal)
    await sweep.once()
    assert journal.events == []
    assert past.looked == []
    assert trouble(sweep) == "many_removed"
    assert "80 of 120" in str(sweep.trouble)
    past.now = HOLD_SECONDS - 1
    await sweep.once()
    assert journal.events == []
    shelf.keys |= set(keys[:100])  # most of them were brought back
    journal.done |= {(key, _etag(key)) for key in keys}
    await sweep.once()
    assert len(journal.events) == 20
    assert trouble(sweep) == ""
    shelf.keys -= set(keys)
    past.now += 10
    await sweep.once()
    assert trouble(sweep) == "many_removed", "the day begins anew"
    past.now += HOLD_SECONDS
    await sweep.once()
    assert len(journal.events) == 120
    assert trouble(sweep) == ""


async def test_one_pass_tells_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 15)
    keys, journal = names(40), Journal()
    past = Past(*keys)
    sweep = sweeping(Shelf(), past, journal)
    await sweep.once()
    assert len(journal.events) == 15
    for key in journal.keys:
        past.made.pop(key, None)
    await sweep.once()
    assert len(journal.events) == 30


async def test_an_object_that_is_forgotten_is_brought_again() -> None:
    journal, shelf = Journal(), Shelf("a.jpg")
    sweep = sweeping(shelf, Past(), journal)
    await sweep.once()
    journal.done.clear()
    await sweep.once()
    assert journal.events == []
    sweep.forget(ObjectRef(bucket="frames", key="a.jpg", etag=_etag("a.jpg")))
    await sweep.once()
    assert journal.keys == ["a.jpg"]
