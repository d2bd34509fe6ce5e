from __future__ import annotations

import re

from tests.web.conftest import Site
from tests.web.parts import parcel, seeing


async def page(site: Site) -> str:
    async with site.client.get(site.at("/")) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        return await answer.text()


async def test_the_page_answers_the_three_questions_in_words_and_shapes(site: Site) -> None:
    text = await page(site)
    for words in ("Is it safe?", "Is it seeing?", "Is it sending?", "Yes, safe", "All is well"):
        assert words in text
    assert text.count('class="shape ok"') >= 4


async def test_safe_mode_is_a_banner_that_nobody_can_overlook(site: Site) -> None:
    site.box.change(
        "safe", safe_mode=True, engine="builtin", model="motion", reason="no model is installed"
    )
    text = await page(site)
    assert re.search(r'class="banner failed" role="alert"', text)
    assert "Safe mode: no trained model looks at the pictures" in text
    assert "Why: no model is installed." in text
    assert "motion (wanted: picodet_s_416)" in text
    assert "All is well" not in text


async def test_an_engine_that_is_down_is_shown_as_nothing_leaves(site: Site) -> None:
    site.box.change("safe", blurring=False, reason="it hangs", hint="See the log.")
    text = await page(site)
    assert "Nothing leaves this box" in text
    assert "Not working" in text


async def test_a_source_without_a_picture_has_words_and_no_image(site: Site) -> None:
    text = await page(site)
    assert "No picture has come out yet" in text
    assert "<img" not in text


async def test_a_picture_is_never_shown_without_its_age(site: Site) -> None:
    await site.box.show(parcel(1))
    text = await page(site)
    assert text.count("<img") == text.count("<figcaption>") == 1
    assert re.search(r"\d\.\d s ago", text)


async def test_an_old_picture_is_called_old(site: Site) -> None:
    site.box.facts["seeing"] = [
        seeing("gate", state="stalled", shown="x", shown_at="2026-05-04T09:27:00+00:00",
               shown_age=181.0, reason="no frame for 181 s")
    ]  # fmt: skip
    text = await page(site)
    assert "Old picture: 3 min" in text
    assert "Stalled" in text
    assert 'class="old"' in text


async def test_what_comes_from_outside_is_written_as_text(site: Site) -> None:
    nasty = "<script>alert(1)</script>"
    site.box.facts["seeing"] = [seeing(nasty, reason=nasty, hint=nasty, state="failed")]
    site.box.change("sending", up=False, reason=nasty)
    site.box.facts["notices"] = [
        {"at": "2026-05-04T09:29:11+00:00", "level": "error", "text": nasty, "hint": nasty}
    ]
    text = await page(site)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


async def test_the_page_has_nothing_inline_and_nothing_from_elsewhere(site: Site) -> None:
    await site.box.show(parcel(1))
    text = await page(site)
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert "<style" not in text
    assert not re.search(r"\s(style|on\w+)=", text)
    for address in re.findall(r'(?:src|href|action)="([^"]*)"', text):
        assert address.startswith("/")


async def test_static_files_may_be_kept_for_ever_under_an_address_that_changes(site: Site) -> None:
    text = await page(site)
    addresses = re.findall(r'"(/static/[^"]+)"', text)
    assert len(addresses) == 3
    for address in addresses:
        async with site.client.get(site.at(address)) as answer:
            assert answer.status == 200
            assert "immutable" in answer.headers["Cache-Control"]
    async with site.client.get(site.at("/static/old/edge.css")) as answer:
        assert answer.headers["Cache-Control"] == "no-cache"


async def test_static_files_are_those_that_belong_to_the_page(site: Site) -> None:
    for name in ("nothing.css", "..%2fpage.py", "%2e%2e%2fpage.py"):
        async with site.client.get(site.at(f"/static/x/{name}")) as answer:
            assert answer.status == 404


async def test_who_commanded_what_is_on_the_page(site: Site) -> None:
    assert "Who commanded what" not in await page(site)
    site.box.facts["commands"] = [
        {
            "at": "2026-11-20T08:09:10.000+00:00",
            "verb": "privacy.raise",
            "channel": "mqtt",
            "who": "<b>fleet</b>",
            "outcome": "refused",
            "code": "forbidden_remote",
        }
    ]
    text = await page(site)
    assert "privacy.raise, mqtt &lt;b&gt;fleet&lt;/b&gt;: refused: forbidden remote" in text


async def test_notices_and_other_reasons_are_on_the_page(site: Site) -> None:
    site.box.facts["overall"] = {
        "state": "degraded",
        "reasons": [{"text": "The clock is 14 s off.", "hint": "Check NTP."}],
    }
    site.box.facts["notices"] = [
        {"at": "2026-05-04T09:29:11+00:00", "level": "warning", "text": "store shut", "hint": ""}
    ]
    text = await page(site)
    assert "The clock is 14 s off." in text
    assert "store shut" in text
    assert "09:29:11" in text


async def test_without_a_token_nobody_is_asked_to_sign_in(site: Site) -> None:
    async with site.client.get(site.at("/sign-in"), allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["Location"] == "/"
    assert "Sign out" not in await page(site)


async def test_the_last_picture_of_a_camera_that_is_off_is_old_at_once(site: Site) -> None:
    await site.box.show(parcel(1))
    site.box.facts["seeing"] = [seeing("gate", state="disabled")]
    assert "Old picture" in await page(site)


async def test_the_last_upload_is_not_called_old(site: Site) -> None:
    site.box.facts["seeing"] = [seeing("drop", kind="folder", shown="x", shown_age=500.0)]
    text = await page(site)
    assert "Old picture" not in text
    assert "8 min ago" in text
