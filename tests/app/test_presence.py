"""What a broker is told of a box's engines, in the words of the published schemas."""

from __future__ import annotations

from dataclasses import replace

import jsonschema
import pytest

from edge.app.presence import build_of, choice_of, news_of_build
from edge.engine_status import Build
from edge.messages.json_schema import schema_of
from edge.messages.presence import EngineBuild
from edge.web.engines import engines_json
from edge.web.view import BoxStatus
from tests.web.engine_parts import with_gpu
from tests.web.parts import well

RUNNING = Build(
    state="running", model="picodet_s_416", phase="Timing tactics", share=0.419, seconds=83.5
)


def building(build: Build) -> BoxStatus:
    status = well()
    status["engines"] = engines_json(with_gpu(build=build))
    return status


@pytest.mark.parametrize(
    "build",
    [
        RUNNING,
        replace(RUNNING, share=None, phase=""),
        replace(RUNNING, state="failed", reason="it needed 9 GiB", hint="build_memory"),
        Build(state="done"),
        Build(state="cancelled"),
    ],
)
def test_a_build_is_told_as_its_schema_says(build: Build) -> None:
    told = build_of(building(build))["build"]
    schema = schema_of(EngineBuild) | {"additionalProperties": False}
    jsonschema.validate(told, schema, jsonschema.Draft202012Validator)
    assert told["state"] == build.state
    assert ("share" in told) is (build.share is not None)


def test_a_box_that_builds_nothing_says_nothing_of_it() -> None:
    assert build_of(building(Build())) == build_of(well()) == {}
    assert choice_of(well()) == {}


def test_why_an_engine_looks_is_told() -> None:
    assert choice_of(building(RUNNING)) == {
        "wanted": "auto",
        "why": "4.1 ms a picture, 9 times as fast as ONNX Runtime",
    }


def test_a_build_is_news_at_its_begin_each_tenth_and_its_end() -> None:
    shares = [None, 0.0, 0.05, 0.1, 0.14, 0.19, 0.95]
    news = [news_of_build(building(replace(RUNNING, share=share))) for share in shares]
    assert [tenth for _, tenth in news] == [0, 0, 0, 1, 1, 1, 9]
    assert len({news_of_build(well()), news[0], news_of_build(building(Build(state="done")))}) == 3
