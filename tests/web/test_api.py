from __future__ import annotations

import json

import pytest

from tests.web.conftest import Site
from tests.web.parts import seeing


async def test_it_is_alive_while_every_part_moves(site: Site) -> None:
    async with site.client.get(site.at("/healthz")) as answer:
        assert (answer.status, await answer.json()) == (200, {"alive": True, "reasons": []})
    site.box.liveness = (False, ["the path has not moved for 31 s"])
    async with site.client.get(site.at("/healthz")) as answer:
        assert answer.status == 503
        assert (await answer.json())["reasons"] == ["the path has not moved for 31 s"]


async def test_it_is_ready_only_while_it_may_publish(site: Site) -> None:
    async with site.client.get(site.at("/readyz")) as answer:
        assert answer.status == 200
    site.box.readiness = (False, ["the outbox is full"])
    async with site.client.get(site.at("/readyz")) as answer:
        assert answer.status == 503
        assert await answer.json() == {"ready": False, "reasons": ["the outbox is full"]}


async def test_the_metrics_are_in_the_text_format_of_prometheus(site: Site) -> None:
    site.box.metrics.pictures_redacted.labels("gate").inc(3)
    async with site.client.get(site.at("/metrics")) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert 'edge_pictures_redacted_total{source="gate"} 3.0' in await answer.text()


async def test_the_status_says_what_the_page_says(site: Site) -> None:
    site.box.facts["seeing"] = [seeing("gate", state="failed", reason="refused")]
    async with site.client.get(site.at("/v1/status")) as answer:
        status = await answer.json()
    assert status["overall"]["state"] == "failed"
    assert status["answers"]["seeing"]["word"] == "No"
    assert status["answers"]["safe"]["state"] == "ok"
    assert status["sending"]["stored"] == 24690
    assert set(status) == {
        "overall",
        "answers",
        "safe",
        "seeing",
        "sending",
        "uploads",
        "box",
        "notices",
        "commands",
    }


async def test_the_sources_are_listed(site: Site) -> None:
    async with site.client.get(site.at("/v1/sources")) as answer:
        assert [source["name"] for source in (await answer.json())["sources"]] == ["gate", "crane"]


async def test_a_command_reaches_the_box_as_it_was_sent(site: Site) -> None:
    args = {"name": "yard", "config": {"kind": "scene"}}
    async with site.client.post(site.at("/v1/commands/source.add"), json=args) as answer:
        assert answer.status == 200
        assert (await answer.json())["status"] == "ok"
    assert site.box.commands == [("source.add", args)]


async def test_a_command_that_goes_on_is_202(site: Site) -> None:
    site.box.reply["status"] = "accepted"
    async with site.client.post(site.at("/v1/commands/source.enable"), json={}) as answer:
        assert answer.status == 202


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("bad_request", 400),
        ("not_found", 404),
        ("conflict", 409),
        ("busy", 429),
        ("unsupported", 501),
        ("forbidden_remote", 403),
        ("precondition_failed", 412),
        ("dependency_down", 503),
        ("timeout", 504),
        ("internal", 500),
    ],
)
async def test_a_command_that_failed_says_so_by_status_and_code(
    site: Site, code: str, status: int
) -> None:
    site.box.reply = {"status": "error", "code": code, "message": "no", "hint": "do", "data": {}}
    async with site.client.post(site.at("/v1/commands/source.add"), json={}) as answer:
        assert answer.status == status
        assert (await answer.json())["error"] == {"code": code, "message": "no", "hint": "do"}


@pytest.mark.parametrize("body", [b"{", b"[]", b"1", b"\xff\xfe", b'"text"'])
async def test_a_command_that_is_not_a_json_object_never_reaches_the_box(
    site: Site, body: bytes
) -> None:
    async with site.client.post(site.at("/v1/commands/source.add"), data=body) as answer:
        assert answer.status == 400
    assert site.box.commands == []


async def test_a_command_that_is_too_large_is_refused(site: Site) -> None:
    body = json.dumps({"x": "y" * 100_000})
    async with site.client.post(site.at("/v1/commands/source.add"), data=body) as answer:
        assert answer.status == 413
    assert site.box.commands == []
