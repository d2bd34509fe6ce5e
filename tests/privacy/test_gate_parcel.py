from __future__ import annotations

import hashlib
import json
import string
from dataclasses import replace
from typing import Any

import pytest

from edge.config.privacy import Method, Policy
from edge.contracts import Picture
from edge.detections import Sighting
from edge.event import PICTURE_REDACTED, Event
from edge.frame import Encoded, ObjectRef
from edge.parcel import Parcel
from edge.privacy.gate import PrivacyGate
from edge.privacy.naming import Naming
from edge.stages.redact import redact
from tests.privacy.parts import OTHER, PERSON, gate, people, released, seen, uploaded
from tests.stages.parts import INFO, a_frame, an_event


def test_the_message_says_what_was_done() -> None:
    event, frame = uploaded()
    policy = Policy()
    sighting = seen(frame, people((-10, 30.2, 90.5, 150), OTHER, (-50, 0, -20, 40)))
    redaction = redact(sighting, policy)
    parcel = gate(policy).release(event, sighting, redaction)
    message = json.loads(json.dumps(parcel.message))
    data = message.pop("data")
    assert message == {
        "specversion": "1.0",
        "id": parcel.id,
        "source": "/site/node/upload",
        "type": PICTURE_REDACTED,
        "subject": "a b.png",
        "time": "2026-03-04T05:06:07.089Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:edge:schema:picture.redacted.v1#/properties/data",
    }
    assert data.pop("picture") == {
        "key": parcel.key,
        "content_type": "image/jpeg",
        "sha256": hashlib.sha256(parcel.body).hexdigest(),
        "bytes": len(parcel.body),
        "width": 320,
        "height": 240,
    }
    assert data.pop("people") == [
        {"box": [0, 30, 91, 120], "score": 0.9, "label": "person"},
        {"box": [150, 60, 50, 130], "score": 0.7, "label": "person"},
    ]
    corners = redaction.covered.tolist()
    assert data.pop("covered") == [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in corners]
    assert data == {
        "source": "upload",
        "taken_at": "2026-03-04T05:06:07.089Z",
        "method": "cells",
        "anonymisation": "anonymised",
        "engine": {"name": "fixed", "model": "fixed", "digest": "0" * 64, "safe_mode": False},
        "policy": policy.version,
    }


@pytest.mark.parametrize(
    ("method", "word"),
    [("cells", "anonymised"), ("fill", "anonymised"), ("blur", "pseudonymised")],
)
def test_only_a_blur_is_called_pseudonymised(method: Method, word: str) -> None:
    parcel = released(people(PERSON), Policy(method=method))
    assert parcel.message["data"]["anonymisation"] == word


def test_safe_mode_says_so() -> None:
    frame, policy = a_frame(), Policy()
    info = replace(INFO, safe_mode=True)
    sighting = Sighting(frame=frame, detections=people(PERSON), engine=info)
    parcel = gate(policy, info).release(an_event(frame), sighting, redact(sighting, policy))
    assert parcel.message["data"]["engine"]["safe_mode"] is True


def test_the_same_event_and_policy_give_the_same_parcel() -> None:
    event, frame = uploaded()

    def again(policy: Policy) -> Parcel:
        sighting = seen(frame, people(PERSON))
        return gate(policy).release(event, sighting, redact(sighting, policy))

    one, two, other = again(Policy()), again(Policy()), again(Policy(quality=50))
    assert (one.id, one.key, one.body) == (two.id, two.key, two.body)
    assert one.id != other.id
    assert one.key != other.key
    assert one.event_id == other.event_id == event.id


def test_names_are_safe_in_paths_and_keep_events_apart() -> None:
    event, frame = uploaded()
    sighting = seen(frame, people(PERSON))
    redaction = redact(sighting, Policy())
    ids: dict[str, str] = {}
    for name in ("a/b", "a_b", "a b", "../../etc", "ü" * 300, "x" * 300, "x" * 301, ".hidden"):
        parcel = gate(Policy()).release(replace(event, id=name), sighting, redaction)
        assert len(parcel.id) <= 80
        assert set(parcel.id) <= set(string.ascii_letters + string.digits + "._-")
        assert not parcel.id.startswith(".")
        ids[parcel.id] = parcel.key
    assert len(set(ids)) == len(set(ids.values())) == 8


def test_a_key_says_source_and_time() -> None:
    event, frame = uploaded()
    sighting = seen(frame, people(PERSON))
    policy = Policy(format="webp")
    parcel = gate(policy).release(event, sighting, redact(sighting, policy))
    short = hashlib.sha256(parcel.id.encode()).hexdigest()[:16]
    assert parcel.key == f"upload/2026/03/04/050607.089-{short}.webp"
    assert parcel.content_type == "image/webp"
    assert parcel.receipt is None


def test_a_picture_from_a_bucket_says_which_object_it_was() -> None:
    event, frame = uploaded()
    arrived = event.data
    assert isinstance(arrived, Encoded)
    ref = ObjectRef(bucket="frames", key="cam 1/ü+%.jpg", version="v1", etag='"0ab1"', size=5)

    def told(ref: ObjectRef | None, metadata: dict[str, str]) -> dict[str, Any]:
        sighting = seen(frame, people(PERSON))
        came: Event[Picture] = event.carrying(replace(arrived, origin=ref, metadata=metadata))
        message = gate(Policy()).release(came, sighting, redact(sighting, Policy())).message
        data: dict[str, Any] = message["data"]
        return {name: data[name] for name in ("origin", "metadata") if name in data}

    assert told(ref, {"site": "north\nyard"}) == {
        "origin": {"bucket": "frames", "key": "cam 1/ü+%.jpg", "version": "v1", "etag": "0ab1"},
        "metadata": {"site": "north\nyard"},
    }
    assert told(replace(ref, version="", etag=""), {}) == {
        "origin": {"bucket": "frames", "key": "cam 1/ü+%.jpg"}
    }
    assert told(None, {}) == {}


def test_the_gate_names_a_picture_as_it_is_told_to() -> None:
    event, frame = uploaded()
    sighting = seen(frame, people(PERSON))
    naming = Naming(lambda source: f"{source}-{{dir}}/{{stem}}.{{ext}}")
    gate = PrivacyGate(lambda _: Policy(), engine_ok=lambda _: True, key_for=naming)
    ref = ObjectRef(bucket="frames", key="in/cam 1/7.png")
    assert isinstance(event.data, Encoded)
    keys = []
    fetched: Event[Picture] = event.carrying(replace(event.data, origin=ref))
    for came in (event, fetched):
        parcel = gate.release(came, sighting, redact(sighting, Policy()))
        assert parcel.message["data"]["picture"]["key"] == parcel.key
        keys.append(parcel.key)
    assert keys == ["upload-/a b.jpg", "upload-in/cam 1/7.jpg"]


def test_a_frame_has_no_name_and_two_frames_never_share_one() -> None:
    naming = Naming(lambda _: "{dir}/{stem}.{ext}")
    policy, frame = Policy(), a_frame()
    gate = PrivacyGate(lambda _: policy, engine_ok=lambda _: True, key_for=naming)
    sighting = seen(frame, people(PERSON))
    redaction = redact(sighting, policy)
    events = [an_event(frame, number) for number in (1, 2)]
    keys = {gate.release(event, sighting, redaction).key for event in events}
    assert len(keys) == 2
