from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge.engine_status import Build, EngineOption, EngineStatus
from tests.web.conftest import Site
from tests.web.engine_parts import (
    KEY,
    NO_GPU,
    OLD,
    ONNX,
    MadeUpEngines,
    plan,
    status_of,
    with_gpu,
)


def given(site: Site, status: EngineStatus | None = None) -> MadeUpEngines:
    engines = site.box.engines = MadeUpEngines(status)
    return engines


async def ask(site: Site, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with site.client.request(method, site.at(path), json=body) as answer:
        return answer.status, await answer.json()


async def page(site: Site) -> str:
    async with site.client.get(site.at("/")) as answer:
        assert answer.status == 200
        return await answer.text()


async def press(site: Site, **form: str) -> tuple[int, str]:
    address = site.at("/engines")
    async with site.client.post(address, data=form, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", "") or await answer.text()


async def test_every_engine_is_told_of_with_its_numbers(site: Site) -> None:
    given(site, with_gpu())
    status, told = await ask(site, "GET", "/v1/engines")
    assert status == 200
    assert (told["wanted"], told["serving"]) == ("auto", "tensorrt")
    first = told["options"][0]
    assert (first["name"], first["milliseconds"], first["agreement"]["found"]) == (
        "tensorrt", 4.1, 212,
    )  # fmt: skip
    assert told["plans"][0]["built_at"] == "2026-05-04T08:12:00+00:00"
    assert told["gpu"]["capability"] == [8, 9]
    _, whole = await ask(site, "GET", "/v1/status")
    assert whole["engines"] == told


async def test_a_build_is_begun_followed_and_stopped(site: Site) -> None:
    engines = given(site, with_gpu(serving="onnx", plans=()))
    order = {"model": "yolox_nano_416", "force": True}
    status, told = await ask(site, "POST", "/v1/engines/build", order)
    assert (status, told["build"]["state"]) == (202, "running")
    _, told = await ask(site, "GET", "/v1/engines")
    assert (told["build"]["model"], told["build"]["phase"]) == ("yolox_nano_416", "parsing")
    status, told = await ask(site, "POST", "/v1/engines/build")
    assert (status, told["error"]["code"]) == (409, "busy")
    assert await ask(site, "POST", "/v1/engines/cancel") == (200, {"cancelled": True})
    assert await ask(site, "POST", "/v1/engines/cancel") == (200, {"cancelled": False})
    assert engines.asked[0] == ("build", "yolox_nano_416", True)


async def test_without_a_gpu_a_build_is_refused_and_no_library_is_named(site: Site) -> None:
    given(site)
    status, told = await ask(site, "POST", "/v1/engines/build", {})
    assert (status, told["error"]["code"]) == (409, "no_gpu")
    assert "tensorrt" not in str(told).lower()
    _, text = await press(site, do="build")
    assert "there is no GPU here" in text
    assert "tensorrt" not in text.lower()


async def test_another_engine_looks_when_asked_for(site: Site) -> None:
    engines = given(site, with_gpu())
    status, told = await ask(site, "POST", "/v1/engines/use", {"engine": "onnx"})
    assert (status, told["serving"]) == (200, "onnx")
    assert (await ask(site, "POST", "/v1/engines/use", {"engine": OLD}))[0] == 200
    status, told = await ask(site, "POST", "/v1/engines/use", {"engine": "abacus"})
    assert (status, told["error"]["code"]) == (404, "unknown")
    engines.now = status_of()
    status, told = await ask(site, "POST", "/v1/engines/use", {"engine": "openvino"})
    assert (status, told["error"]["code"]) == (409, "missing")


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("use", {}, "no engine is named"),
        ("use", {"engine": 7}, "engine is text"),
        ("use", {"what": "onnx"}, "there is no field 'what', but engine"),
        ("build", {"force": "yes"}, "force is true or false"),
        ("build", {"precision": "fp16"}, "there is no field 'precision', but model, force"),
    ],
)
async def test_an_order_that_makes_no_sense_changes_nothing(
    site: Site, path: str, body: Any, words: str
) -> None:
    engines = given(site, with_gpu())
    status, told = await ask(site, "POST", f"/v1/engines/{path}", body)
    assert (status, told["error"]["message"]) == (422, words)
    assert engines.asked == []


async def test_a_box_without_a_choice_says_so_and_shows_nothing(site: Site) -> None:
    for method, path in (("GET", ""), ("POST", "/build"), ("POST", "/cancel")):
        status, told = await ask(site, method, f"/v1/engines{path}")
        assert (status, told["error"]["code"]) == (404, "not_found")
    assert 'id="engines"' not in await page(site)


async def test_without_a_gpu_the_page_says_so_in_a_line_and_names_no_library(site: Site) -> None:
    given(site)
    text = await page(site)
    assert "ONNX Runtime looks with picodet_s_416" in text
    assert "There is no NVIDIA driver" in text
    assert NO_GPU.hint not in text
    assert "tensorrt" not in text.lower()
    assert ">Build<" not in text
    assert "All is well" in text


async def test_the_page_says_who_encodes_where_the_file_asks_for_a_gpu(site: Site) -> None:
    given(site, with_gpu(encoder="nvJPEG 13.3.2"))
    assert "<dt>JPEGs</dt><dd>nvJPEG 13.3.2</dd>" in await page(site)
    given(site, status_of(encoder="the processor: no NVIDIA driver"))
    assert "<dd>the processor: no NVIDIA driver</dd>" in await page(site)
    given(site)
    assert "JPEGs" not in await page(site)


async def test_whoever_wants_the_gpu_and_has_none_reads_what_to_do(site: Site) -> None:
    given(site, status_of(wanted="tensorrt"))
    text = await page(site)
    assert NO_GPU.hint in text
    assert "Not here" in text
    assert "Choose the fastest" in text


async def test_a_build_has_a_bar_its_words_and_a_way_to_stop_it(site: Site) -> None:
    build = Build(
        state="running", model="picodet_s_416", phase="Timing tactics", share=0.379, seconds=83
    )
    engines = given(site, with_gpu(serving="onnx", build=build))
    text = await page(site)
    assert '<progress max="100" value="37"' in text
    assert "37 %" in text
    assert "Timing tactics, for 83 s" in text
    assert ">Stop<" in text
    assert "Build anew" not in text
    engines.now = replace(engines.now, build=replace(build, share=None))
    assert "<progress" not in await page(site)


async def test_what_was_built_a_moment_ago_is_not_called_unbuilt(site: Site) -> None:
    waits = EngineOption(name="tensorrt", state="building", why="it is built")
    build = Build(state="done", model="picodet_s_416", seconds=143.0)
    engines = given(site, with_gpu(serving="onnx", options=(ONNX, waits), build=build, trying=True))
    text = await page(site)
    assert "The engine for picodet_s_416 was built in 2 min, and is tried now" in text
    assert "Built, and tried now" in text
    assert "Being built" not in text
    engines.now = replace(engines.now, trying=False)
    assert "tried now" not in await page(site)


async def test_a_build_that_failed_says_why_and_what_to_do(site: Site) -> None:
    build = Build(state="failed", model="m", reason="it needed <8 GiB>", hint="build_memory")
    given(site, with_gpu(serving="onnx", build=build, faults=1))
    text = await page(site)
    assert "The engine for m could not be built" in text
    assert "it needed &lt;8 GiB&gt;." in text
    assert "build_memory" in text
    assert "The GPU failed once within the last hour: look for Xid" in text
    assert "All is well" not in text


async def test_a_refused_engine_is_shown_with_its_reason_and_cannot_be_used(site: Site) -> None:
    options = (
        replace(ONNX, state="serving"),
        EngineOption(name="tensorrt", state="refused", why="it found 3 of 212 people"),
    )
    refused = plan(KEY, "refused", why="broken FP16")
    given(site, with_gpu(serving="onnx", options=options, plans=(refused,)))
    text = await page(site)
    assert "it found 3 of 212 people." in text
    assert "broken FP16." in text
    assert ">Use<" not in text


async def test_an_engine_of_another_model_has_no_button(site: Site) -> None:
    plans = (plan(KEY, "kept", model="another"), plan(OLD, "last_good"))
    given(site, with_gpu(serving="onnx", plans=plans))
    text = await page(site)
    assert "Built for another" in text
    assert f'value="{OLD}"' in text
    assert f'value="{KEY}"' not in text


async def test_buttons_do_what_they_say_and_lead_back_to_the_page(site: Site) -> None:
    engines = given(site, with_gpu())
    text = await page(site)
    assert f'name="engine" value="{OLD}"' in text
    for form in ({"do": "use", "engine": OLD}, {"do": "build", "force": "yes"}, {"do": "cancel"}):
        assert await press(site, **form) == (303, "/#engines")
    assert engines.asked == [("use", OLD), ("build", "", True), ("cancel",)]
    async with site.client.get(site.at("/engines"), allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/#engines")


async def test_a_button_that_was_of_no_use_says_why_above_the_page(site: Site) -> None:
    given(site, with_gpu())
    status, text = await press(site, do="use", engine="<b>")
    assert status == 404
    assert "there is no engine &#39;&lt;b&gt;&#39;" in text
    assert "Is it safe?" in text
    assert (await press(site, do="explode"))[0] == 400


async def test_nobody_gets_into_safe_mode_by_one_press(site: Site) -> None:
    given(site)
    assert 'value="builtin"' not in await page(site)


async def test_without_a_model_no_engine_is_called_ready(site: Site) -> None:
    given(site, with_gpu(serving="builtin", model="motion", plans=()))
    text = await page(site)
    assert "Safe mode looks with motion" in text
    assert "Waits for a model" in text
    assert 'value="onnx"' not in text
    given(site, with_gpu(serving="builtin", wanted="builtin", model="motion", plans=()))
    assert "Waits for a model" not in await page(site)


async def test_another_site_cannot_press_a_button(site: Site) -> None:
    engines = given(site, with_gpu())
    headers = {"Sec-Fetch-Site": "cross-site"}
    for path in ("/engines", "/v1/engines/cancel"):
        async with site.client.post(site.at(path), headers=headers) as answer:
            assert answer.status == 403
    assert engines.asked == []
