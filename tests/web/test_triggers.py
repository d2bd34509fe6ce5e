from __future__ import annotations

from typing import Any

import pytest

from tests.web.conftest import Open, Site

SPEC = {
    "filters": [{"prefix": {"type": "io.edge."}}],
    "subscriber": {"uri": "https://sink.example/in"},
    "delivery": {"retry": 3, "backoffDelay": "PT1S"},
}


async def ask(site: Site, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with site.client.request(method, site.at(path), json=body) as answer:
        return answer.status, await answer.json() if answer.content_type.endswith("json") else None


async def test_a_trigger_is_set_shown_changed_and_removed(site: Site) -> None:
    async with site.client.put(site.at("/v1/triggers/cloud"), json=SPEC) as answer:
        assert answer.status == 201
        assert answer.headers["Location"] == "/v1/triggers/cloud"
    status, shown = await ask(site, "GET", "/v1/triggers/cloud")
    assert status == 200
    assert shown["spec"] == SPEC
    assert shown["origin"] == "api"
    assert shown["status"]["conditions"] == [
        {"type": "Ready", "status": "True", "reason": "", "message": ""}
    ]
    shown["spec"]["order"] = "ordered"
    status, changed = await ask(site, "PUT", "/v1/triggers/cloud", shown)
    assert (status, changed["spec"]) == (200, SPEC | {"order": "ordered"})
    _, listed = await ask(site, "GET", "/v1/triggers")
    assert [one["name"] for one in listed["triggers"]] == ["redact", "cloud"]
    assert await ask(site, "DELETE", "/v1/triggers/cloud") == (204, None)
    assert (await ask(site, "DELETE", "/v1/triggers/cloud"))[0] == 404
    assert (await ask(site, "GET", "/v1/triggers/cloud"))[0] == 404


async def test_a_trigger_that_is_not_ready_says_why(site: Site) -> None:
    status, shown = await ask(site, "PUT", "/v1/triggers/cloud", {"filters": []})
    assert status == 201
    assert shown["status"]["conditions"][0] == {
        "type": "Ready",
        "status": "False",
        "reason": "no_subscriber",
        "message": "nobody to hand events to",
    }


async def test_a_knative_manifest_is_understood(site: Site) -> None:
    manifest = {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {"name": "cloud", "namespace": "default"},
        "spec": SPEC,
    }
    status, shown = await ask(site, "PUT", "/v1/triggers/cloud", manifest)
    assert (status, shown["spec"]) == (201, SPEC)


@pytest.mark.parametrize(
    "body",
    [
        {"spec": SPEC, "metadata": {"name": "other"}},
        {"spec": SPEC, "name": "other"},
        {"spec": SPEC, "filters": []},
        {"spec": []},
        {"spec": None},
    ],
)
async def test_a_trigger_that_contradicts_itself_is_refused(site: Site, body: Any) -> None:
    status, told = await ask(site, "PUT", "/v1/triggers/cloud", body)
    assert (status, told["error"]["code"]) == (422, "bad_trigger")
    assert list(site.box.traffic.table) == ["redact"]


async def test_every_fault_of_a_bad_trigger_is_told(site: Site) -> None:
    bad = {"filtres": [], "filters": [{"exact": {"type": ""}}, {"cesql": "("}]}
    status, told = await ask(site, "PUT", "/v1/triggers/cloud", bad)
    assert (status, told["error"]["code"]) == (422, "bad_trigger")
    faults = told["error"]["faults"]
    assert [fault["path"] for fault in faults] == [
        "filtres",
        "filters[0].exact.type",
        "filters[1].cesql",
    ]
    assert all(fault["message"] for fault in faults)


@pytest.mark.parametrize(("method", "body"), [("PUT", SPEC), ("DELETE", None)])
async def test_what_stands_in_the_file_is_changed_there(site: Site, method: str, body: Any) -> None:
    status, told = await ask(site, method, "/v1/triggers/redact", body)
    assert (status, told["error"]["code"]) == (409, "in_config")
    assert told["error"]["hint"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"filters: []\n", b"\xff", b"[" * 50_000])
async def test_what_is_no_json_object_is_refused(site: Site, body: bytes) -> None:
    async with site.client.put(site.at("/v1/triggers/cloud"), data=body) as answer:
        assert answer.status == 400
    assert list(site.box.traffic.table) == ["redact"]


async def test_a_trigger_that_is_too_large_is_refused(site: Site) -> None:
    large = {"filters": [{"exact": {"type": "x" * 100_000}}]}
    assert (await ask(site, "PUT", "/v1/triggers/cloud", large))[0] == 413


async def test_the_name_may_need_encoding(site: Site) -> None:
    async with site.client.put(site.at("/v1/triggers/a%20%C3%BC"), json=SPEC) as answer:
        assert answer.headers["Location"] == "/v1/triggers/a%20%C3%BC"
    assert (await ask(site, "GET", "/v1/triggers/a%20%C3%BC"))[1]["name"] == "a ü"


async def test_other_methods_are_not_allowed(site: Site) -> None:
    assert (await ask(site, "POST", "/v1/triggers", SPEC))[0] == 405
    assert (await ask(site, "PATCH", "/v1/triggers/cloud", SPEC))[0] == 405


async def test_with_a_token_or_from_another_site_nothing_is_changed(open_site: Open) -> None:
    site = await open_site(token="t0ken")
    assert (await ask(site, "PUT", "/v1/triggers/cloud", SPEC))[0] == 401
    site = await open_site()
    async with site.client.delete(
        site.at("/v1/triggers/redact"), headers={"Origin": "https://evil.example"}
    ) as answer:
        assert answer.status == 403
