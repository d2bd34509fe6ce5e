"""Originals whose redacted picture is stored: deleted, tagged or left, as their source says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.errors import PartFailed, Rejected
from edge.event import PICTURE_STORED, Event, WireEvent
from edge.frame import ObjectRef
from edge.ops.metrics import Metrics, counts_by
from edge.stages.originals import AfterStored, stored_of

ORIGIN = {"bucket": "in", "key": "a.jpg", "etag": "e1", "version": "v1"}


def event(**changes: Any) -> WireEvent:
    data = {"source": "yard", "policy": "0123456789ab", "origin": ORIGIN, **changes}
    return Event(
        id="1.stored", source="/s/b/yard", type=PICTURE_STORED, data=json.dumps(data).encode()
    )


class Bucket:
    """A bucket that writes down what is done to it."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.answer = ""
        self.broken: PartFailed | None = None

    async def delete(self, ref: ObjectRef) -> str:
        if self.broken:
            raise self.broken
        self.done.append(("delete", ref))
        return self.answer or "deleted"

    async def tag(self, ref: ObjectRef, name: str, value: str) -> str:
        self.done.append(("tag", ref, name, value))
        return self.answer or "tagged"


def handler(what: str | None, bucket: Bucket, metrics: Metrics) -> AfterStored:
    return AfterStored(
        metrics, door_of=lambda _name, _ref: None if what is None else (what, bucket)
    )


async def test_an_original_is_deleted_or_tagged_as_its_source_says() -> None:
    bucket, metrics = Bucket(), Metrics()
    ref = ObjectRef(bucket="in", key="a.jpg", etag="e1", version="v1")
    await handler("delete_source", bucket, metrics)(event())
    await handler("tag", bucket, metrics)(event())
    assert bucket.done == [("delete", ref), ("tag", ref, "edge-redacted", "0123456789ab")]
    assert counts_by(metrics.originals, "outcome") == {"deleted": 1, "tagged": 1}


async def test_an_original_stays_where_its_source_keeps_it_by_now() -> None:
    bucket, metrics = Bucket(), Metrics()
    await handler(None, bucket, metrics)(event())
    assert bucket.done == []
    assert counts_by(metrics.originals, "outcome") == {}


@pytest.mark.parametrize("answer", ["gone", "replaced", "full"])
async def test_what_cannot_be_changed_any_more_is_done(answer: str) -> None:
    bucket, metrics = Bucket(), Metrics()
    bucket.answer = answer
    await handler("tag", bucket, metrics)(event())
    assert counts_by(metrics.originals, "outcome") == {answer: 1}


async def test_a_server_that_does_not_answer_is_asked_again() -> None:
    bucket = Bucket()
    bucket.broken = PartFailed("gone", reason="unreachable")
    with pytest.raises(PartFailed):
        await handler("delete_source", bucket, Metrics())(event())


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": None},
        {"origin": {}},
        {"origin": ORIGIN | {"etag": ""}},
        {"origin": ORIGIN | {"key": 7}},
        {"source": ""},
        {"policy": None},
    ],
)
async def test_an_event_that_names_no_original_is_refused(changes: dict[str, Any]) -> None:
    bucket = Bucket()
    with pytest.raises(Rejected) as caught:
        await handler("delete_source", bucket, Metrics())(event(**changes))
    assert caught.value.reason == "bad_data"
    assert bucket.done == []


@pytest.mark.parametrize("data", [None, b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_data_that_is_no_message_is_refused(data: bytes | None) -> None:
    with pytest.raises(Rejected):
        stored_of(Event(id="1", source="/s", type=PICTURE_STORED, data=data))
