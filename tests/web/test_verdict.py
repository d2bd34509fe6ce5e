from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge.app.presence import troubles
from edge.web import verdict
from edge.web.engines import engines_json
from edge.web.verdict import Answer, is_it_safe, is_it_sending, judge
from edge.web.view import Seeing
from tests.web.engine_parts import status_of
from tests.web.parts import seeing, well


def safe(**facts: Any) -> Any:
    return is_it_safe({**well()["safe"], **facts})  # type: ignore[typeddict-item]


def is_it_seeing(sources: list[Seeing], **uploads: int) -> Answer:
    return verdict.is_it_seeing(sources, uploads)


def sending(**facts: Any) -> Any:
    return is_it_sending({**well()["sending"], **facts})  # type: ignore[typeddict-item]


def test_a_box_with_which_nothing_is_wrong_is_well() -> None:
    said = judge(well())
    assert said["overall"]["state"] == "ok"
    assert said["overall"]["reasons"] == []
    assert said["safe"]["word"] == "Yes, safe"
    assert said["seeing"]["word"] == "Yes, seeing"
    assert said["sending"]["word"] == "Yes, sending"


def test_without_an_engine_the_answer_is_shut_and_red_and_says_why() -> None:
    answer = safe(blurring=False, reason="the model file is damaged", hint="Pull it again.")
    assert (answer["state"], answer["word"]) == ("failed", "Shut")
    assert "the model file is damaged" in answer["text"]
    assert answer["hint"] == "Pull it again."


def test_safe_mode_is_never_called_well() -> None:
    assert safe(safe_mode=True, engine="builtin")["state"] == "degraded"


def test_a_shut_engine_in_safe_mode_is_shut() -> None:
    assert safe(safe_mode=True, blurring=False)["state"] == "failed"


def test_an_engine_that_is_not_as_configured_is_a_doubt() -> None:
    assert safe(reason="tensorrt is not there")["state"] == "degraded"


@pytest.mark.parametrize(("faults", "words"), [(1, "once"), (3, "3 times")])
def test_a_gpu_that_failed_is_a_doubt_for_an_hour(faults: int, words: str) -> None:
    status = well()
    status["engines"] = engines_json(replace(status_of(), faults=faults))
    said = judge(status)["overall"]
    assert said["state"] == "degraded"
    (reason,) = said["reasons"]
    assert reason["text"].startswith(f"The GPU failed {words} within an hour; ")
    assert "dmesg" in reason["hint"]
    (trouble,) = troubles(status, 2**40, 0)
    assert (trouble.alarm, trouble.text, trouble.hint) == ("gpu_fault", *reason.values())
    status["engines"] = engines_json(status_of())
    assert judge(status)["overall"]["state"] == "ok"


def test_one_stalled_camera_of_two_is_named() -> None:
    answer = is_it_seeing([seeing("gate"), seeing("crane", state="stalled", reason="no frame")])
    assert answer["state"] == "degraded"
    assert "crane: stalled: no frame" in answer["text"]


def test_when_no_camera_sees_the_answer_is_no() -> None:
    cameras = [seeing(name, state="waiting", reason="refused") for name in ("gate", "crane")]
    answer = is_it_seeing(cameras)
    assert answer["state"] == "failed"
    assert "2 of 2" in answer["text"]


def test_a_camera_that_was_switched_off_is_no_trouble() -> None:
    sources = [seeing("gate"), seeing("crane", state="disabled")]
    assert is_it_seeing(sources)["state"] == "ok"


def test_a_camera_whose_pictures_do_not_come_out_is_trouble_although_it_streams() -> None:
    answer = is_it_seeing([seeing("gate", shown="x", shown_age=60.0)])
    assert answer["state"] == "failed"
    assert "no picture came out for 60 s" in answer["text"]


def test_an_old_picture_of_a_folder_is_no_trouble() -> None:
    assert is_it_seeing([seeing("drop", kind="folder", shown_age=9999.0)])["state"] == "ok"


def test_no_source_at_all_is_said_with_a_hint_until_something_is_uploaded() -> None:
    answer = is_it_seeing([])
    assert answer["state"] == "degraded"
    assert "[sources.NAME]" in answer["hint"]
    assert is_it_seeing([], done=1)["state"] == "ok"


def test_sources_that_are_all_switched_off_are_not_called_missing() -> None:
    answer = is_it_seeing([seeing("gate", state="disabled")], done=1)
    assert answer["state"] == "degraded"
    assert answer["text"] == "Every source is switched off."
    assert "source.enable" in answer["hint"]


def test_cameras_that_are_all_switched_off_are_no_cameras() -> None:
    assert is_it_seeing([seeing("gate", state="disabled")])["state"] == "degraded"


def test_a_store_that_is_away_is_no_loss_while_there_is_room() -> None:
    answer = sending(up=False, waiting=12, bytes=3 * 2**20, reason="refused")
    assert answer["state"] == "degraded"
    assert "12 pictures (3.0 MiB) wait safely" in answer["text"]


def test_a_store_that_is_away_and_an_outbox_that_is_full_is_a_failure() -> None:
    assert sending(up=False, waiting=9, bytes=2 * 2**30)["state"] == "failed"


@pytest.mark.parametrize(("oldest", "state"), [(5.0, "ok"), (600.0, "degraded")])
def test_a_store_that_is_slow_is_said_so(oldest: float, state: str) -> None:
    assert sending(waiting=3, bytes=100, oldest=oldest)["state"] == state


def test_the_overall_state_is_the_worst_and_keeps_every_reason() -> None:
    facts = well()
    facts["overall"] = {"state": "degraded", "reasons": [{"text": "clock off", "hint": "NTP"}]}
    facts["safe"]["blurring"] = False
    overall = judge(facts)["overall"]
    assert overall["state"] == "failed"
    assert [reason["text"] for reason in overall["reasons"]][-1] == "clock off"
    assert len(overall["reasons"]) == 2
