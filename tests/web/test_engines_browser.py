"""The engines' buttons and bar in a real browser, on a phone as well."""

from __future__ import annotations

from dataclasses import replace

import pytest
from playwright.async_api import Browser, expect

from edge.engine_status import Build
from tests.web.conftest import Site
from tests.web.engine_parts import KEY, MadeUpEngines, with_gpu
from tests.web.test_browser import browser, open_page, until

__all__ = ["browser"]

PHONE = {"width": 390, "height": 800}


@pytest.mark.parametrize("javascript", [True, False])
async def test_a_person_builds_watches_and_stops(
    browser: Browser, site: Site, javascript: bool
) -> None:
    engines = site.box.engines = MadeUpEngines(with_gpu(serving="onnx", plans=()))
    watched = await open_page(browser, site, viewport=PHONE, java_script_enabled=javascript)
    page = watched.page
    await page.get_by_role("button", name="Build").click()
    await expect(page.get_by_text("Building an engine for picodet_s_416")).to_be_visible()
    build = Build(state="running", model="picodet_s_416", key=KEY, phase="Tactics", share=0.37)
    engines.now = replace(engines.now, build=build)
    bar = page.get_by_role("progressbar")
    await expect(bar).to_have_attribute("value", "37", timeout=60_000)
    await page.get_by_role("button", name="Stop").click()
    await expect(page.get_by_text("The build for picodet_s_416 was stopped")).to_be_visible()
    assert [what for what, *_ in engines.asked] == ["build", "cancel"]
    assert watched.errors == []


async def test_nothing_is_wider_than_a_phone(browser: Browser, site: Site) -> None:
    build = Build(state="failed", model="m" * 60, reason="w" * 200, hint="h" * 200)
    site.box.engines = MadeUpEngines(with_gpu(build=build, wanted="tensorrt", faults=3))
    watched = await open_page(browser, site, viewport=PHONE)
    await expect(watched.page.get_by_role("button", name="Build anew")).to_be_visible()
    assert await watched.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


async def test_a_press_that_is_refused_says_why_and_the_page_goes_on(
    browser: Browser, site: Site
) -> None:
    engines = site.box.engines = MadeUpEngines(with_gpu())
    watched = await open_page(browser, site)
    page = watched.page
    await expect(page.get_by_role("button", name="Use ONNX Runtime")).to_be_visible()
    engines.now = replace(engines.now, options=(), plans=())
    # the page still shows what is gone by now
    await page.evaluate("document.querySelector('form[data-key=use-onnx] button').click()")
    await expect(page.get_by_role("alert").first).to_contain_text("there is no engine 'onnx'")
    await until(page, "document.querySelector('[data-key=use-onnx]') === null")
    await page.get_by_role("link", name="Close").click()
    await expect(page.get_by_text("there is no engine")).to_have_count(0)
