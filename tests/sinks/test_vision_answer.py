from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import EdgeError, PartFailed, Rejected, TryLater
from edge.sinks.vision_answer import read_answer, refusal
from tests.servers.vision_api import LABELS, error_body


def answer(said: Any) -> bytes:
    return json.dumps({"responses": [said]}).encode()


def test_labels_come_likeliest_first_and_all_is_kept() -> None:
    read = read_answer(answer({"labelAnnotations": LABELS, "safeSearchAnnotation": {"adult": "X"}}))
    assert read.labels == [
        {"score": 0.98, "label": "Dög", "mid": "/m/0bt9lr"},
        {"score": 0.912346, "label": "Cat", "mid": "/m/01yrx"},
        {"score": 0.7, "label": "Pet", "mid": "/m/068hy"},
    ]
    assert read.features == {"labelAnnotations": LABELS, "safeSearchAnnotation": {"adult": "X"}}


def test_a_picture_in_which_nothing_was_recognised_has_no_labels() -> None:
    assert read_answer(b'{"responses": [{}]}').labels == []


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>a portal</html>", b"null", b"[]", b"{}", b'{"responses": {}}', b"\xff\xfe"),
        *(b'{"responses": []}', b'{"responses": [{}, {}]}', b'{"responses": [[]]}', b"[" * 100_000),
        *(b'{"responses": "x"}', b'{"responses": {"a": 1}}', b'{"responses": [{"error": "no"}]}'),
        answer({"labelAnnotations": [{"description": "Dog", "score": "0.9"}]}),
        answer({"labelAnnotations": [{"description": "Dog", "score": True}]}),
        answer({"labelAnnotations": [{"score": 0.9}]}),
        answer({"labelAnnotations": ["Dog"]}),
        answer({"labelAnnotations": None}),
        answer({"labelAnnotations": [{"description": "Dog", "score": float("nan")}]}),
        b'{"responses": [{"labelAnnotations": [{"description": "Dog", "score": 1e999}]}]}',
        b'{"responses": [{"x": -Infinity}]}',
        b'{"responses": [{"x": "\\ud800"}]}',
        answer({"error": {"code": [3]}}),
    ],
)
def test_what_is_no_answer_of_such_a_service_is_a_failure_and_never_no_labels(body: bytes) -> None:
    with pytest.raises(PartFailed) as failed:
        read_answer(body)
    assert failed.value.reason == "nonsense"
    assert "images:annotate" in failed.value.hint


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        *((3, Rejected, 400), (5, Rejected, 404), (77, Rejected, 400), (None, Rejected, 400)),
        *((14, TryLater, 503), (8, TryLater, 429), (13, TryLater, 500), (4, TryLater, 504)),
        *((7, PartFailed, 403), (16, PartFailed, 401)),
    ],
)
def test_an_error_in_the_place_of_annotations_says_what_comes_next(
    code: int | None, kind: type[EdgeError], status: int
) -> None:
    with pytest.raises(EdgeError, match="the service says of this picture: It is bad") as failed:
        read_answer(answer({"error": {"code": code, "message": "It is\n bad."}}))
    assert type(failed.value) is kind
    assert failed.value.status == status


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (429, error_body(429, "Quota exceeded", "RESOURCE_EXHAUSTED"), TryLater, "busy"),
        (503, error_body(503, "Down", "UNAVAILABLE"), TryLater, "service_failed"),
        (500, "<html>", TryLater, "service_failed"),
        (408, "", TryLater, "service_failed"),
        (
            400,
            error_body(400, "API key expired.", "INVALID_ARGUMENT", "API_KEY_INVALID"),
            PartFailed,
            "refused_key",
        ),
        (400, error_body(400, "API key not valid.", "X"), PartFailed, "refused_key"),
        (401, "", PartFailed, "refused_key"),
        (403, error_body(403, "Billing is off", "PERMISSION_DENIED"), PartFailed, "refused_key"),
        (407, "", PartFailed, "refused_key"),
        (
            400,
            error_body(400, "Invalid value at 'requests[0].features[0].type'", "INVALID_ARGUMENT"),
            PartFailed,
            "refused_features",
        ),
        (400, error_body(400, "Request payload size exceeds", "X"), Rejected, "service_refused"),
        (413, "", Rejected, "service_refused"),
        (404, "", PartFailed, "not_the_service"),
        (405, "", PartFailed, "not_the_service"),
        (501, "", PartFailed, "not_the_service"),
        (302, "", PartFailed, "not_the_service"),
        (204, "", PartFailed, "not_the_service"),
        (410, "", PartFailed, "gone"),
    ],
)
def test_a_refusal_says_whose_fault_it_is(
    status: int, body: Any, kind: type[EdgeError], reason: str
) -> None:
    raw = json.dumps(body).encode() if isinstance(body, dict) else body.encode()
    error = refusal(status, raw, 7.0)
    assert (type(error), error.reason) == (kind, reason)
    assert str(status) in str(error)
    assert error.hint
    if isinstance(body, dict):
        assert body["error"]["message"] in str(error)
    if isinstance(error, TryLater):
        assert error.after == 7


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("responses", "error", "code", "message", "details", "reason"),
                    *("labelAnnotations", "description", "score", "mid"),
                ]
            ),
            inner,
        )
    ),
    max_leaves=20,
)


@given(_json.map(answer) | _json.map(lambda said: json.dumps(said).encode()))
def test_any_json_is_an_answer_or_an_error_of_the_house(body: bytes) -> None:
    try:
        read = read_answer(body)
    except (PartFailed, Rejected, TryLater) as error:
        said = str(error)
        assert said.startswith("the service")
    else:
        assert json.loads(body)["responses"][0] == read.features
        assert len(read.labels) == len(read.features.get("labelAnnotations", []))
    assert isinstance(refusal(400, body, 0), PartFailed | Rejected)
