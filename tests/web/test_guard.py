from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.web.guard import host_name, is_loopback
from edge.web.sessions import FREE_TRIES
from tests.web.conftest import Open, Site

TOKEN = "correct horse battery staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
GUARDED = (
    "/metrics",
    "/v1/status",
    "/v1/sources",
    "/v1/stream",
    "/live/gate.mjpg",
    "/live/gate/latest",
    "/v1/jobs/x",
    "/v1/jobs/x/image",
    "/nothing/here",
)


@pytest.fixture
async def locked(open_site: Open) -> Site:
    return await open_site(token=TOKEN)


def raw(site: Site, request: bytes) -> bytes:
    """Send bytes as they are and return the answer's."""
    port = int(site.url.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
        peer.sendall(request)
        answer = b""
        while chunk := peer.recv(65536):
            answer += chunk
        return answer


@pytest.mark.parametrize("path", GUARDED)
async def test_nothing_is_told_without_the_token(locked: Site, path: str) -> None:
    async with locked.client.get(locked.at(path)) as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert (await answer.json())["error"]["code"] == "unauthorised"


async def test_nothing_is_taken_without_the_token(locked: Site) -> None:
    async with locked.client.post(locked.at("/v1/images"), data=b"\xff\xd8") as answer:
        assert answer.status == 401
    async with locked.client.post(locked.at("/v1/commands/source.remove"), json={}) as answer:
        assert answer.status == 401
    assert locked.box.commands == []


@pytest.mark.parametrize("path", ["/v1/status", "/v1/sources", "/metrics", "/"])
async def test_the_token_opens_everything(locked: Site, path: str) -> None:
    async with locked.client.get(locked.at(path), headers=BEARER) as answer:
        assert answer.status == 200


async def test_whether_it_lives_is_told_to_everybody_and_why_not_to_those_with_the_token(
    locked: Site,
) -> None:
    locked.box.readiness = (False, ["the engine is down"])
    async with locked.client.get(locked.at("/readyz")) as answer:
        assert answer.status == 503
        assert await answer.json() == {"ready": False}
    async with locked.client.get(locked.at("/readyz"), headers=BEARER) as answer:
        assert (await answer.json())["reasons"] == ["the engine is down"]


async def test_a_browser_is_asked_to_sign_in_and_the_form_tells_no_version(locked: Site) -> None:
    async with locked.client.get(locked.at("/")) as answer:
        text = await answer.text()
    assert str(answer.url).endswith("/sign-in")
    assert locked.box.facts["box"]["version"] not in text
    assert locked.box.facts["box"]["node"] not in text


async def test_signing_in_gives_a_cookie_that_scripts_and_other_sites_cannot_use(
    locked: Site,
) -> None:
    form = {"token": TOKEN}
    async with locked.client.post(
        locked.at("/sign-in"), data=form, allow_redirects=False
    ) as answer:
        assert answer.status == 303
        cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    async with locked.client.get(locked.at("/v1/status")) as answer:
        assert answer.status == 200


async def test_signing_out_ends_the_session_for_good(locked: Site) -> None:
    await locked.client.post(locked.at("/sign-in"), data={"token": TOKEN})
    stolen = {cookie.key: cookie.value for cookie in locked.client.cookie_jar}
    assert stolen
    await locked.client.post(locked.at("/sign-out"))
    async with locked.client.get(locked.at("/v1/status"), cookies=stolen) as answer:
        assert answer.status == 401


async def test_signing_out_ends_the_streams_of_the_session(locked: Site) -> None:
    await locked.client.post(locked.at("/sign-in"), data={"token": TOKEN})
    async with locked.client.get(locked.at("/v1/stream")) as stream:
        assert stream.status == 200
        await locked.client.post(locked.at("/sign-out"))
        async with asyncio.timeout(30):
            while await stream.content.readany():
                pass


@pytest.mark.parametrize("way", ["header", "form"])
async def test_guessing_is_slowed_down_and_then_even_the_right_token_has_to_wait(
    locked: Site, way: str
) -> None:
    async def attempt(token: str) -> int:
        if way == "header":
            headers = {"Authorization": f"Bearer {token}"}
            async with locked.client.get(locked.at("/v1/status"), headers=headers) as answer:
                return answer.status
        async with locked.client.post(
            locked.at("/sign-in"), data={"token": token}, allow_redirects=False
        ) as answer:
            if answer.status == 429:
                assert int(answer.headers["Retry-After"]) >= 1
            return answer.status

    assert [await attempt(f"guess {n}") for n in range(FREE_TRIES)] == [401] * FREE_TRIES
    assert await attempt(TOKEN) == 429


async def test_a_session_is_not_slowed_down_by_somebody_who_guesses(locked: Site) -> None:
    await locked.client.post(locked.at("/sign-in"), data={"token": TOKEN})
    wrong = {"Authorization": "Bearer wrong"}
    for _ in range(FREE_TRIES + 2):
        async with locked.client.get(locked.at("/readyz"), headers=wrong, cookies={}):
            pass
    async with locked.client.get(locked.at("/v1/status")) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil", "[::1", "a b", "10.0.0.1"],
)
async def test_a_name_that_is_not_ours_is_refused(site: Site, host: str) -> None:
    async with site.client.get(site.at("/healthz"), headers={"Host": host}) as answer:
        assert answer.status == 421
        assert "allowed_hosts" in (await answer.json())["error"]["hint"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:80", "Box.Local."]
)
async def test_our_names_are_taken_with_any_port_and_case(open_site: Open, host: str) -> None:
    site = await open_site(allowed_hosts=("box.local",))
    async with site.client.get(site.at("/healthz"), headers={"Host": host}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[", "Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_a_post_that_another_site_made_the_browser_send_is_refused(
    site: Site, headers: dict[str, str]
) -> None:
    for path in ("/v1/images", "/v1/commands/source.remove", "/sign-in"):
        async with site.client.post(site.at(path), data=b"x", headers=headers) as answer:
            assert answer.status == 403
            assert (await answer.json())["error"]["code"] == "cross_site"
    assert site.box.commands == []


async def test_a_picture_cannot_be_embedded_by_another_site_but_the_page_can_be_linked(
    site: Site,
) -> None:
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    async with site.client.get(site.at("/live/gate.mjpg"), headers=image) as answer:
        assert answer.status == 403
    link = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }
    async with site.client.get(site.at("/"), headers=link) as answer:
        assert answer.status == 200


async def test_our_own_page_may_post(site: Site) -> None:
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": site.url.rstrip("/")}):
        async with site.client.post(
            site.at("/v1/commands/source.enable"), json={"name": "gate"}, headers=headers
        ) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/status", "/nothing", "/v1/stream"])
async def test_every_answer_carries_the_security_headers_and_names_no_library(
    site: Site, path: str
) -> None:
    async with site.client.get(site.at(path)) as answer:
        headers = answer.headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "Server" not in headers


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"rubbish\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        (
            b"POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
    ],
)
async def test_a_request_that_is_not_http_is_refused_and_learns_nothing(
    site: Site, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await asyncio.to_thread(raw, site, request_bytes)
    assert b" 200 " not in answer.partition(b"\r\n")[0]
    assert b"aiohttp" not in answer.lower()
    assert b"python" not in answer.lower()
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


async def test_http_1_0_without_a_host_is_refused(site: Site) -> None:
    answer = await asyncio.to_thread(raw, site, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert b" 421 " in answer.partition(b"\r\n")[0]


async def test_a_method_that_does_not_fit_is_405_and_says_which_do(site: Site) -> None:
    for method, path, allowed in (
        ("DELETE", "/v1/images", {"POST"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
        ("DELETE", "/v1/commands/source.add", {"GET", "HEAD", "POST"}),
        ("HEAD", "/v1/stream", {"GET"}),
    ):
        async with site.client.request(method, site.at(path)) as answer:
            assert answer.status == 405
            assert set(answer.headers["Allow"].split(",")) == allowed


async def test_an_address_that_is_not_there_is_404_in_json(site: Site) -> None:
    async with site.client.get(site.at("/v2/nothing")) as answer:
        assert answer.status == 404
        assert (await answer.json())["error"]["code"] == "not_found"


@given(st.text(max_size=60))
def test_any_host_header_is_read_without_a_crash_and_only_loopback_counts(header: str) -> None:
    name = host_name(header)
    assert name == name.lower()
    if is_loopback(name):
        assert name == "localhost" or name.startswith("127.") or ":" in name
