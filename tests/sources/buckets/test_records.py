from __future__ import annotations

import json
import time
from typing import Any

import pytest

from edge.cloudevents import json_format
from edge.errors import Rejected
from edge.event import Event, WireEvent
from edge.frame import ObjectRef
from edge.sources.buckets.records import object_of, read
from edge.sources.buckets.records_s3 import left_behind
from tests.places import shared
from tests.sources.buckets.notifications import (
    KEY,
    aws,
    event_bridge,
    listen,
    minio,
    sns,
    webhook,
)
from tests.sources.buckets.notifications import records as body_of

HALLE = "cam 1/2026-01-02T03:04:05+00:00/hallé&lobby.jpg"
RGW_TAG = "55a0b7e8fc5c45b81103e8e1af1d9845"


def sample(name: str) -> bytes:
    return (shared("samples/rgw") / name).read_bytes()


def one(body: bytes, **how: Any) -> WireEvent:
    (event,) = read(body, **how)
    return event


def key(event: WireEvent) -> str:
    return object_of(event).key


def refusal(body: bytes) -> str:
    with pytest.raises(Rejected) as caught:
        read(body)
    assert caught.value.reason == "malformed_notification"
    assert caught.value.hint
    return str(caught.value)


def test_a_push_of_rgw_becomes_the_event_of_the_s3_adapter() -> None:
    body = sample("push-created-put.json")
    event = one(body)
    assert event.type == "com.amazonaws.s3.ObjectCreated:Put"
    assert event.source == "ceph:s3..frames-6b002621"
    assert event.subject == HALLE
    assert event.time == "2026-11-20T10:51:14.402360Z"
    assert event.datacontenttype == "application/json"
    assert event.id.startswith(f"1795171874.410604.{RGW_TAG}.")
    assert event.data == body.split(b'"Records":[')[1].removesuffix(b"]}")
    assert object_of(event) == ObjectRef(
        bucket="frames-6b002621", key=HALLE, etag=RGW_TAG, size=160
    )


@pytest.mark.parametrize(
    ("name", "kind", "key_"),
    [
        ("push-created-copy", "ObjectCreated:Copy", "copy.jpg"),
        ("push-created-multipart", "ObjectCreated:CompleteMultipartUpload", None),
        ("push-created-post", "ObjectCreated:Post", "form.jpg"),
        ("push-created-put-versioned", "ObjectCreated:Put", "versioned.jpg"),
        ("push-removed-delete", "ObjectRemoved:Delete", "copy.jpg"),
        ("push-removed-delete-nonexistent", "ObjectRemoved:Delete", "never-existed.jpg"),
        ("push-removed-deletemarker", "ObjectRemoved:DeleteMarkerCreated", "versioned.jpg"),
        ("push-removed-delete-version", "ObjectRemoved:Delete", "versioned.jpg"),
        ("push-persistent", "ObjectCreated:Put", None),
        ("push-cloudevents-true", "ObjectCreated:Put", None),
        ("push-userinfo-in-url", "ObjectCreated:Put", None),
        ("push-from-pubsub-zone", "ObjectCreated:*", HALLE),
    ],
)
def test_every_push_of_rgw_is_understood(name: str, kind: str, key_: str | None) -> None:
    event = one(sample(f"{name}.json"))
    assert event.type == f"com.amazonaws.s3.{kind}"
    assert key(event) == event.subject
    assert key_ is None or event.subject == key_


def test_a_version_is_part_of_the_reference() -> None:
    found = object_of(one(sample("push-created-put-versioned.json")))
    assert found.version == "d-GKPeZczEgDGSFg4E-cmhNamCAKlaZ"


def test_a_page_of_the_pull_api_has_neither_sizes_nor_tags() -> None:
    events = read(sample("pull-events.json"))
    assert [(event.type.rpartition(".")[2], event.subject) for event in events] == [
        ("ObjectCreated:*", HALLE),
        ("ObjectCreated:*", "b.jpg"),
        ("ObjectCreated:*", "c.jpg"),
        ("ObjectRemoved:Delete", "c.jpg"),
    ]
    assert object_of(events[1]) == ObjectRef(bucket="pull-6b002621", key="b.jpg")
    assert events[0].time == "2026-11-20T10:51:44.396153Z"


def test_what_is_made_up_in_the_s3_form_of_the_pull_api_is_not_believed() -> None:
    created, removed = read(sample("pull-events-s3format.json"))
    assert object_of(created) == ObjectRef(bucket="pull-6b002621s3", key=HALLE)
    assert removed.type == "com.amazonaws.s3.ObjectRemoved:Delete"


def test_pages_and_a_push_say_the_same_of_the_same_event() -> None:
    pages = read(sample("pull-events-page1.json")) + read(sample("pull-events-page2.json"))
    whole = read(sample("pull-events.json"))
    assert [event.id for event in pages] == [event.id for event in whole]
    assert one(sample("push-from-pubsub-zone.json")).id == whole[0].id


def test_every_json_file_of_rgw_is_events_or_named_as_none() -> None:
    seen = set()
    for path in sorted(shared("samples/rgw").glob("*.json")):
        body = path.read_bytes()
        if path.name.startswith("push-") or body.startswith(b'{"next_marker"'):
            events = read(body)
            assert len(events) == body.count(b"eventName") + body.count(b'"event":')
            seen |= {(event.source, event.id) for event in events}
        else:
            refusal(body)
    assert len(seen) == 12 + 4 + 2  # pushes, pages of the pull API, its S3 form


def test_minio_encodes_keys_in_webhooks_and_not_in_listen() -> None:
    heard, sent = one(listen()), one(webhook())
    assert key(heard) == key(sent) == heard.subject == sent.subject == KEY
    assert heard.source == "minio:s3..frames"
    assert heard.type == "com.amazonaws.s3.ObjectCreated:Put"
    assert (heard.source, heard.id) == (sent.source, sent.id)
    assert heard.id.startswith("18A1B2C3.dd9025ba.18A1B2C3D4E5F607.")


def test_how_keys_are_written_can_be_said() -> None:
    body = body_of(minio("a%2Bb+c.jpg"))
    assert key(one(body, keys="plain")) == "a%2Bb+c.jpg"
    assert key(one(body, keys="encoded")) == "a+b c.jpg"


def test_a_plain_key_beside_its_own_path_stays_plain() -> None:
    body = {"Key": "frames/a%2Bb.jpg", "Records": [minio("a%2Bb.jpg")]}
    assert key(one(json.dumps(body).encode())) == "a%2Bb.jpg"


def test_keys_survive_the_journal() -> None:
    for body in (listen(), webhook(), body_of(aws()), sample("push-created-put.json")):
        event = one(body)
        again = json_format.decode(json_format.encode_line(event))
        assert object_of(again) == object_of(event)


def test_amazon_is_understood_with_and_without_envelopes() -> None:
    plain = one(body_of(aws()))
    assert plain.source == "aws:s3.us-west-2.frames"
    assert object_of(plain) == ObjectRef(
        bucket="frames", key=KEY, version="096fKKXT", etag="d41d8c", size=1024
    )
    wrapped = one(sns(body_of(aws())))
    assert (wrapped.id, key(wrapped)) == (plain.id, KEY)
    assert one(json.dumps(aws()).encode()).id == plain.id
    event: WireEvent = json_format.decode(json_format.encode(plain))
    assert read(json_format.encode(plain)) == [event]
    assert read(json_format.encode_batch([plain, wrapped])) == [plain, wrapped]


@pytest.mark.parametrize(
    ("kind", "reason", "more", "name"),
    [
        ("Object Created", "PutObject", {}, "ObjectCreated:Put"),
        ("Object Created", "CopyObject", {}, "ObjectCreated:Copy"),
        ("Object Created", "something new", {}, "ObjectCreated:*"),
        ("Object Deleted", "DeleteObject", {}, "ObjectRemoved:Delete"),
        (
            "Object Deleted",
            "DeleteObject",
            {"deletion-type": "Delete Marker Created"},
            "ObjectRemoved:DeleteMarkerCreated",
        ),
        ("Object Tags Added", "", {}, "ObjectTagging:Put"),
        ("Object Access Tier Changed", "", {}, "ObjectAccessTierChanged"),
    ],
)
def test_event_bridge_has_plain_keys_and_names_of_its_own(
    kind: str, reason: str, more: dict[str, str], name: str
) -> None:
    event = one(json.dumps(event_bridge(kind, reason, **more)).encode())
    assert event.type == f"com.amazonaws.s3.{name}"
    assert event.source == "aws:s3.ca-central-1.frames"
    assert event.id.startswith("17793124-05d4-b198-2fde-7ededc63b103.")
    assert object_of(event) == ObjectRef(
        bucket="frames", key=KEY, version="IYV3p45B", etag="b1946ac9", size=5
    )


def test_other_adapters_events_are_taken_as_they_are() -> None:
    event: WireEvent = Event(
        id="1.2",
        source="minio:s3..frames",
        type="com.amazonaws.s3.s3:ObjectCreated:Put",
        data=json.dumps(minio("a%2Fb+c.jpg")).encode(),
    )
    found = one(json_format.encode(event))
    assert (found.id, found.type) == ("1.2", "com.amazonaws.s3.ObjectCreated:Put")
    assert key(found) == "a/b c.jpg"


def test_events_of_adapters_with_names_of_their_own_are_read_for_their_data() -> None:
    event: WireEvent = Event(
        id="1",
        source="rgwpubsub",
        type="dev.knative.source.rgwpubsub",
        data=sample("pull-events.json"),
    )
    assert [found.subject for found in read(json_format.encode(event))][1:3] == ["b.jpg", "c.jpg"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"Records":null}\n',
        b'  {"Records": []}',
        b'{"events":[]}',
        b'{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"frames"}',
        b"[]",
        sns('{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"frames"}'),
        sns("bye", "UnsubscribeConfirmation"),
    ],
)
def test_tests_and_keep_alives_are_nothing(body: bytes) -> None:
    assert read(body) == []


def test_one_request_that_deletes_many_has_an_id_for_each() -> None:
    gone = [minio(f"{n}.jpg", "s3:ObjectRemoved:Delete", size=None) for n in range(50)]
    together = [event.id for event in read(body_of(*gone))]
    alone = [one(body_of(record)).id for record in gone]
    assert together == alone
    assert len(set(together)) == 50


def test_old_servers_without_ids_still_give_stable_ones() -> None:
    record = minio()
    del record["responseElements"]
    later = json.loads(json.dumps(record))
    later["eventTime"] = "2026-01-02T03:04:06Z"
    assert one(body_of(record)).id == one(body_of(record)).id != one(body_of(later)).id


def test_a_key_with_control_characters_can_be_fetched_and_is_escaped_for_filters() -> None:
    event = one(listen("a\n\x00b/c.jpg"))
    assert key(event) == "a\n\x00b/c.jpg"
    assert event.subject == "a%0A%00b/c.jpg"


def test_a_time_that_is_none_is_left_out() -> None:
    assert one(body_of(minio() | {"eventTime": "yesterday"})).time == ""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "JSON"),
        (b"\xff\xfe", "expected UTF-8"),
        (b"hello", "character 1"),
        (b'{"Records":[{}', "character"),
        (b"[1]", "list[0]: expected an object"),
        (b"{}", "expected Records, events, or an envelope of SNS, EventBridge or CloudEvents"),
        (b'{"a":1}', "got 'a'"),
        (b'{"Records":{}}', "Records: expected a list"),
        (b'{"Records":[7]}', "Records[0]: expected an object, got '7'"),
        (b'{"Records":[{"eventSource":"x:s3"}]}', "Records[0].eventName"),
        (body_of(minio(""), minio()), "Records[0].s3.object.key: expected text"),
        (body_of(minio(), minio(size=-1)), "Records[1].s3.object.size: expected a number of bytes"),
        (body_of(minio(size=True)), "size: expected text"),
        (body_of(minio("\ud800")), "key in UTF-8"),
        (body_of(aws() | {"s3": []}), "Records[0].s3: expected an object"),
        (body_of(aws(key="%") | {"eventName": "a\nb"}), "Records[0]: type: U+000A"),
        (body_of(aws(eTag=["x"])), "eTag: expected text"),
        (body_of(aws(versionId="x" * 5000)), "at most 4096 characters"),
        (b'{"Records":[' + b"{}," * 10_000 + b"{}]}", "at most 10000 records"),
        (b"[" * 100_000, "deep"),
        (b'{"Records":' * 70, "deep"),
        (b'{"events":[{"event":5}]}', "events[0].info"),
        (b'{"events":[{"event":null}]}', "events[0].event"),
        (b'{"detail-type":"Object Created"}', "EventBridge.detail"),
        (json.dumps(event_bridge("Scheduled Event")).encode(), "detail-type"),
        (sns("no"), "character 1"),
        (sns("?", "SubscriptionConfirmation"), "SNS asks"),
        (b'{"Message":true}', "Message: expected a notification as text"),
        (b'{"Message":"\\ud800"}', "Message: expected text in UTF-8"),
        (b'{"specversion":"1.0"}', "CloudEvent: "),
        (sns(sns(sns(sns(sns(b"{}"))))), "envelopes"),
        (b'{"Records":[{"eventSource":NaN}]}', "NaN"),
    ],
)
def test_what_cannot_be_read_is_named(body: bytes, said: str) -> None:
    assert said in refusal(body)


def test_an_encoded_key_that_is_not_utf8_is_named() -> None:
    assert "key in UTF-8" in refusal(
        body_of(aws() | {"s3": aws()["s3"] | {"object": {"key": "a%FF.jpg"}}})
    )


def test_only_records_are_objects() -> None:
    for data in (None, b"", b"[]", b"{}", b"\xff"):
        with pytest.raises(Rejected) as caught:
            object_of(Event(id="1", source="/a", type="t", data=data))
        assert caught.value.reason == "malformed_notification"


def test_a_large_page_is_read_in_a_moment() -> None:
    body = body_of(*(minio(f"{n}.jpg") for n in range(1000)))
    began = time.perf_counter()
    assert len({event.id for event in read(body)}) == 1000
    assert time.perf_counter() - began < 2.0


def test_what_users_wrote_about_an_object_stays_out_of_its_event() -> None:
    record = json.loads(sample("push-created-put.json"))["Records"][0]
    mine = {"key": "x-amz-meta-thumb", "val": "a small copy"}
    servers = {"key": "content-type", "val": "image/jpeg"}
    record["s3"]["object"]["metadata"] = [mine, servers]
    event = left_behind(one(json.dumps({"Records": [record]}).encode()))
    record["s3"]["object"]["metadata"] = [servers]
    assert json.loads(event.data or b"") == record
    assert key(event) == HALLE
    assert left_behind(event) is event
    about: dict[str, Any] = {
        "userMetadata": {"content-type": "image/jpeg", "X-Amz-Meta-Thumb": "a small copy"}
    }
    for body in (
        listen(**about),
        webhook(**about),
        body_of(aws(**about)),
        sns(body_of(aws(**about))),
    ):
        event = left_behind(one(body))
        assert b"small copy" not in (event.data or b"")
        assert b'"content-type"' in (event.data or b"")
        assert key(event) == key(one(body))
