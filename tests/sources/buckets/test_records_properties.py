from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge.cloudevents import json_format
from edge.errors import Rejected
from edge.sources.buckets.records import object_of, read
from tests.sources.buckets.notifications import aws, event_bridge, listen, minio, sns, webhook
from tests.sources.buckets.notifications import records as body_of

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


@given(KEYS)
def test_whatever_the_key_every_server_means_the_same(name: str) -> None:
    rgw = minio(name) | {"eventSource": "ceph:s3"}
    for body in (listen(name), webhook(name), body_of(aws(name)), body_of(rgw)):
        (event,) = read(body)
        assert object_of(event).key == name
        again = json_format.decode(json_format.encode_line(event))
        assert (again.subject, object_of(again).key) == (event.subject, name)


@given(st.lists(st.tuples(KEYS, KEYS, KEYS), unique=True, min_size=2, max_size=6))
def test_different_happenings_have_different_ids(happenings: list[tuple[str, str, str]]) -> None:
    made = [
        minio(name, eTag=tag, versionId=version, sequencer=None)
        for name, tag, version in happenings
    ]
    for record in made:
        record["s3"]["object"]["eTag"] = record["s3"]["object"]["eTag"].replace('"', "'")
    unique = {json.dumps(record["s3"]["object"]) for record in made}
    assert len({event.id for event in read(body_of(*made))}) == len(unique)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
FULL = [
    json.loads(listen()),
    json.loads(webhook()),
    {"Records": [aws()]},
    event_bridge(),
    json.loads(sns(body_of(aws()))),
    {"events": [{"id": "1", "event": "OBJECT_CREATE", "info": {"bucket": {}, "key": {}}}]},
]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if not isinstance(value, dict | list):
        return [path]
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(found for name, one in inner for found in _paths(one, (*path, name)))]


@given(st.data())
def test_a_notification_with_anything_in_any_place_is_read_or_named(data: st.DataObject) -> None:
    whole = json.loads(json.dumps(data.draw(st.sampled_from(FULL))))
    path = data.draw(st.sampled_from([path for path in _paths(whole) if path]))
    within = whole
    for step in path[:-1]:
        within = within[step]
    within[path[-1]] = data.draw(ANY)
    _is_read_or_named(json.dumps(whole).encode())


@given(st.binary(max_size=200) | st.text(max_size=50).map(lambda text: text.encode()))
def test_anything_at_all_is_read_or_named(body: bytes) -> None:
    _is_read_or_named(body)


@given(st.integers(0, 900), st.binary(max_size=3))
def test_a_notification_cut_or_damaged_is_read_or_named(at: int, junk: bytes) -> None:
    body = webhook()
    _is_read_or_named(body[:at])
    _is_read_or_named(body[:at] + junk + body[at + len(junk) :])


def _is_read_or_named(body: bytes) -> None:
    try:
        events = read(body)
    except Rejected as error:
        assert error.reason == "malformed_notification"  # noqa: PT017
        return
    for event in events:
        assert object_of(event).key
        json_format.encode_line(event)
