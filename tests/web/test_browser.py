"""The page in a real browser: what a person sees, with JavaScript and without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.places import need
from tests.web.conftest import Open, Site
from tests.web.parts import drawing, parcel, seeing

ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    path = need("chromium", "chromium fonts-dejavu-core")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=ARGS)
        yield chromium
        await chromium.close()


class Watched:
    """A page of which everything that goes wrong is written down."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self.errors: list[str] = []
        self.foreign: list[str] = []
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "request",
            lambda r: None if r.url.startswith(site.url) else self.foreign.append(r.url),
        )


async def open_page(browser: Browser, site: Site, **context: Any) -> Watched:
    page = await (await browser.new_context(**context)).new_page()
    watched = Watched(page, site)
    await page.goto(site.url, wait_until="domcontentloaded")
    return watched


async def until(page: Page, question: str) -> None:
    """Wait for a JavaScript expression to be true; ``wait_for_function`` breaks on our CSP."""
    async with asyncio.timeout(20):
        while not await page.evaluate(question):  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.1)


@pytest.fixture
async def feed(site: Site) -> AsyncIterator[None]:
    """Show a new redacted picture of two sources a few times a second."""
    pictures = [drawing(n) for n in range(5)]

    async def show() -> None:
        number = 0
        while True:
            number += 1
            for name in ("gate", "crane"):
                await site.box.show(parcel(number, name, pictures[number % 5]))
            await asyncio.sleep(0.2)

    task = asyncio.create_task(show())
    await asyncio.sleep(0)
    yield
    task.cancel()


@pytest.mark.usefixtures("feed")
async def test_a_person_sees_three_answers_and_live_pictures_and_nothing_goes_wrong(
    browser: Browser, site: Site
) -> None:
    watched = await open_page(browser, site)
    page = watched.page
    for part, word in (
        ("safe", "Yes, safe"),
        ("seeing", "Yes, seeing"),
        ("sending", "Yes, sending"),
    ):
        await expect(page.locator(f"#{part} .word")).to_have_text(word)
    await until(page, "document.querySelector('img[src$=\".mjpg\"]')?.naturalWidth === 640")
    await expect(page.locator("figcaption").first).to_contain_text("ago")
    site.box.change("safe", safe_mode=True, reason="no model is installed")
    await expect(page.locator(".banner.failed h2")).to_contain_text("Safe mode")
    await expect(page.locator("#overall")).to_have_text("Needs attention")
    assert watched.errors == []
    assert watched.foreign == []


@pytest.mark.usefixtures("feed")
async def test_the_page_is_useful_without_javascript(browser: Browser, site: Site) -> None:
    watched = await open_page(browser, site, java_script_enabled=False)
    await expect(watched.page.locator("#safe .word")).to_have_text("Yes, safe")
    image = watched.page.locator("figure img").first
    await expect(image).to_be_visible()
    assert (await image.get_attribute("src") or "").startswith("/live/gate/latest")
    assert watched.errors == []


async def test_a_lost_connection_is_said_and_what_is_old_is_shown_as_old(
    browser: Browser, open_site: Open
) -> None:
    site = await open_site()
    await site.box.show(parcel(1))
    watched = await open_page(browser, site)
    await expect(watched.page.locator("#lost")).to_be_hidden()
    await until(watched.page, "document.querySelector('figure img').naturalWidth === 640")
    await site.server.stop()
    await expect(watched.page.locator("#lost")).to_contain_text("No connection", timeout=15_000)
    look = "getComputedStyle(document.querySelector('figure img')).filter"
    assert "grayscale" in str(await watched.page.evaluate(look))


async def test_a_box_with_more_cameras_than_connections_shows_them_all(
    browser: Browser, open_site: Open
) -> None:
    site = await open_site()
    names = [f"cam{n}" for n in range(9)]
    site.box.facts["seeing"] = [seeing(name) for name in names]
    for name in names:
        await site.box.show(parcel(1, name))
    watched = await open_page(browser, site, viewport={"width": 1280, "height": 3000})
    await until(
        watched.page,
        "[...document.querySelectorAll('figure img')].filter(i => i.naturalWidth === 640)"
        ".length === 9",
    )
    live = "document.querySelectorAll('img[src$=\".mjpg\"]').length"
    assert await watched.page.evaluate(live) == 3


async def test_pictures_are_shown_although_all_live_places_are_taken(
    browser: Browser, open_site: Open
) -> None:
    site = await open_site(max_viewers=0)
    await site.box.show(parcel(1))
    watched = await open_page(browser, site)
    await until(
        watched.page,
        "(i => i.naturalWidth === 640 && i.getAttribute('src').includes('/latest'))"
        "(document.querySelector('figure img'))",
    )
    assert watched.foreign == []


async def test_a_person_signs_in_looks_and_signs_out(browser: Browser, open_site: Open) -> None:
    site = await open_site(token="open sesame")
    watched = await open_page(browser, site)
    page = watched.page
    await page.get_by_label("Token").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_have_text("the token is wrong")
    watched.errors.clear()
    await page.get_by_label("Token").fill("open sesame")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#overall")).to_have_text("All is well")
    assert await page.evaluate("document.cookie") == ""
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Token")).to_be_visible()
    await page.goto(site.url)
    await expect(page.get_by_label("Token")).to_be_visible()
    assert watched.foreign == []
