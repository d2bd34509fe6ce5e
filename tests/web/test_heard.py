"""Is it heard: what the page says of the broker."""

from __future__ import annotations

from typing import Any

import pytest

from edge.web.present import page_model
from edge.web.verdict import is_it_heard, judge
from edge.web.view import Upstream
from tests.web.parts import NOW, well


def facts(**more: Any) -> Upstream:
    usual: Upstream = {
        "broker": "mqtts://broker.example:8883",
        "client_id": "edge-harbour-box-7",
        "state": "up",
        "since": NOW.isoformat(),
        "code": "",
        "reason": "",
        "hint": "",
        "next_try": None,
        "protocol": "5",
        "session": 3_000_001,
        "waiting": 0,
        "bytes": 0,
        "oldest": None,
        "classes": [{"name": "result", "waiting": 0, "bytes": 0}],
        "max_bytes": 2**29,
        "last_delivered": NOW.isoformat(),
        "delivered": 12,
        "lost": 0,
        "estimate": 0,
        "plan": "",
        "refused": {},
    }
    return {**usual, **more}  # type: ignore[typeddict-item]


AWAY: dict[str, Any] = {"state": "waiting", "code": "dns", "reason": "its name is not known"}
SOME: dict[str, Any] = {"waiting": 1500, "bytes": 2**20, "oldest": 30.0}


@pytest.mark.parametrize(
    ("more", "state", "word", "text"),
    [
        ({}, "ok", "Yes, heard", "every message"),
        (SOME, "ok", "Yes, heard", "are on the way"),
        ({**SOME, "oldest": 4000.0, "estimate": 120}, "degraded", "Catching up", "about 2 min"),
        (
            {**SOME, "oldest": 4000.0, "plan": "today's bytes are spent"},
            "ok",
            "Yes, as planned",
            "today's bytes are spent",
        ),
        ({**AWAY, **SOME}, "degraded", "Offline", "its name is not known. 1"),
        (AWAY, "degraded", "Offline", "Nothing waits"),
        ({**AWAY, "code": "bad_login"}, "degraded", "Refused", "does not hear"),
        ({"state": "connecting"}, "degraded", "Connecting", "does not hear"),
        ({**AWAY, **SOME, "bytes": 2**29}, "failed", "Offline", "nearly used up"),
        ({"refused": {"a/b": "not authorised."}}, "degraded", "Partly", "a/b: not authorised."),
    ],
)
def test_the_answer_in_words(more: dict[str, Any], state: str, word: str, text: str) -> None:
    answer = is_it_heard(facts(**more))
    assert (answer["state"], answer["word"]) == (state, word)
    assert text in answer["text"]


def test_a_box_that_is_not_heard_is_not_well() -> None:
    status = well()
    assert "heard" not in judge(status)
    status["upstream"] = facts(**AWAY)
    said = judge(status)
    assert said["overall"]["state"] == "degraded"
    assert said["heard"]["text"] in [reason["text"] for reason in said["overall"]["reasons"]]


def test_the_page_shows_what_waits() -> None:
    status = well()
    assert [one["id"] for one in page_model(status)["answers"]] == ["safe", "seeing", "sending"]
    status["upstream"] = facts(
        **SOME,
        estimate=90,
        lost=7,
        classes=[
            {"name": "alarm", "waiting": 1, "bytes": 9},
            {"name": "result", "waiting": 1499, "bytes": 9},
            {"name": "loss", "waiting": 0, "bytes": 0},
        ],
    )
    answer = page_model(status)["answers"][-1]
    assert answer["question"] == "Is it heard?"
    shown = dict(answer["facts"])
    assert shown["Broker"] == "mqtts://broker.example:8883"
    assert shown["Protocol"] == "MQTT 5"
    assert shown["By class"].startswith("alarm 1, result 1")
    assert shown["Through in about"] == "90 s"
    assert shown["Gave way unsent"] == "7"
