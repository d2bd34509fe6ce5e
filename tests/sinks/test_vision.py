from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
import subprocess
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edge.config.handlers import AnnotateConfig
from edge.config.secret import Secret
from edge.contracts import Handler
from edge.errors import EdgeError, Fatal, PartFailed, Rejected, TryLater
from edge.event import PICTURE_ANNOTATED, PICTURE_ARRIVED, WireEvent
from edge.sinks.pictures import Pictures
from edge.sinks.vision import MOST_ANSWER_BYTES, Annotate
from tests.parts import MemoryStore, make_parcel
from tests.places import free_port, need
from tests.servers.vision_api import KEY, LABELS, VisionApi, error_body, vision_api
from tests.sinks.test_pictures import redacted

__all__ = ["vision_api"]

PARCEL = make_parcel()


async def nothing_waits(_key: str) -> None:
    return None


def annotate(uri: str, **options: Any) -> Annotate:
    """Return a handler whose pictures come from a store that has one."""
    store = MemoryStore()
    store.pictures[PARCEL.key] = PARCEL.body
    config = AnnotateConfig(kind="annotate", uri=uri, **{"api_key": Secret(KEY), **options})
    return Annotate(config, Pictures(nothing_waits, store))


@pytest.fixture
async def handler(vision_api: VisionApi) -> AsyncIterator[Annotate]:
    handler = annotate(vision_api.url)
    yield handler
    await handler.close()


async def refused(handler: Annotate, kind: type[EdgeError]) -> EdgeError:
    with pytest.raises(kind) as caught:
        await handler(redacted(PARCEL))
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + error.hint + repr(error.answer)
    for form in (KEY, KEY.replace("/", "%2F").replace("+", "%2B"), "AIza"):
        assert form not in shown
    return error


async def test_a_redacted_picture_is_annotated(handler: Annotate, vision_api: VisionApi) -> None:
    as_contracted: Handler = handler
    assert not as_contracted.sees_pictures
    event = redacted(PARCEL)
    reply = await handler(event)
    assert reply.type == PICTURE_ANNOTATED
    assert (reply.source, reply.subject, reply.time) == (event.source, event.subject, event.time)
    assert reply.datacontenttype == "application/json"
    data = json.loads(reply.data or b"")
    assert [entry["label"] for entry in data["labels"]] == ["Dög", "Cat", "Pet"]
    assert data["labels"][0]["score"] == 0.98
    assert data["answer"] == {"labelAnnotations": LABELS}
    assert data["picture"] == {"key": PARCEL.key}
    assert data["model"] == {"name": vision_api.url}
    query, headers, said = vision_api.asked[0]
    assert query == {"key": KEY}
    assert headers["Content-Type"] == "application/json"
    (asked,) = said["requests"]
    assert base64.b64decode(asked["image"]["content"], validate=True) == PARCEL.body
    assert asked["features"] == [{"type": "LABEL_DETECTION", "maxResults": 10}]
    assert (await handler(event)).id == reply.id != event.id


async def test_it_asks_for_the_features_that_are_configured(vision_api: VisionApi) -> None:
    features = ["LABEL_DETECTION", "SAFE_SEARCH_DETECTION"]
    handler = annotate(vision_api.url + "?alt=json", features=features, max_results=2)
    data = json.loads((await handler(redacted(PARCEL))).data or b"")
    assert [entry["label"] for entry in data["labels"]] == ["Dög", "Cat"]
    assert data["answer"]["safeSearchAnnotation"] == {"adult": "VERY_UNLIKELY"}
    assert vision_api.asked[0][0] == {"alt": "json", "key": KEY}
    assert handler.where == vision_api.url
    await handler.close()


@pytest.mark.parametrize("type_", [PICTURE_ARRIVED, PICTURE_ANNOTATED, "com.example.any"])
async def test_nothing_but_what_the_gate_let_through_leaves_the_box(
    handler: Annotate, vision_api: VisionApi, type_: str
) -> None:
    from dataclasses import replace

    event: WireEvent = replace(redacted(PARCEL), type=type_)
    with pytest.raises(Rejected) as caught:
        await handler(event)
    assert caught.value.reason == "not_redacted"
    with pytest.raises(Rejected) as caught:
        await handler(redacted(PARCEL, sha256="0" * 64))
    assert caught.value.reason == "other_content"
    assert vision_api.asked == []


async def test_a_picture_that_is_too_large_is_not_sent(vision_api: VisionApi) -> None:
    handler = annotate(vision_api.url, max_picture="100B")
    with pytest.raises(Rejected) as caught:
        await handler(redacted(PARCEL))
    assert caught.value.reason == "too_large"
    assert vision_api.asked == []


async def test_offline_it_waits_and_then_it_works(vision_api: VisionApi) -> None:
    await vision_api.stop()
    handler = annotate(vision_api.url)
    for _ in range(2):
        error = await refused(handler, TryLater)
        assert (error.reason, error.status) == ("unreachable", 0)
        assert "does not answer" in str(error)
    await vision_api.start()
    vision_api.cuts = True
    assert (await refused(handler, TryLater)).reason == "unreachable"
    vision_api.cuts = False
    assert (await handler(redacted(PARCEL))).type == PICTURE_ANNOTATED
    await handler.close()


async def test_a_name_that_nobody_knows_is_offline_too() -> None:
    handler = annotate("http://vision.invalid/v1/images:annotate")
    assert (await refused(handler, TryLater)).reason == "unreachable"
    await handler.close()


async def test_a_wrong_key_is_the_doors_fault_and_is_shown_nowhere(
    vision_api: VisionApi, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    handler = annotate(vision_api.url, api_key=Secret("AIza-wrong-key"))
    error = await refused(handler, PartFailed)
    assert (error.reason, error.status) == ("refused_key", 400)
    assert "api_key" in error.hint
    assert "API key not valid" in str(error)
    assert "AIza" not in caplog.text + handler.where
    await handler.close()


async def test_a_service_that_repeats_the_key_does_not_bring_it_into_a_dead_letter(
    handler: Annotate, vision_api: VisionApi
) -> None:
    words = f"Key {KEY} of ?key=AIza-stand%2Fin%2Bkey is not allowed"
    vision_api.answers(403, error_body(403, words, "PERMISSION_DENIED"))
    error = await refused(handler, PartFailed)
    assert "Key *** of ?key=*** is not allowed" in str(error)
    assert b"***" in error.answer


async def test_a_busy_service_says_when_to_come_back(
    handler: Annotate, vision_api: VisionApi
) -> None:
    busy = error_body(429, "Quota exceeded for quota metric", "RESOURCE_EXHAUSTED")
    vision_api.answers(429, busy, {"Retry-After": "12"})
    error = await refused(handler, TryLater)
    assert isinstance(error, TryLater)
    assert (error.status, error.after, error.reason) == (429, 12, "busy")
    assert json.loads(error.answer) == busy
    vision_api.answers(503, b"x" * 5000)
    error = await refused(handler, TryLater)
    assert (error.status, len(error.answer)) == (503, 1024)


async def test_a_picture_that_the_service_cannot_read_is_refused_in_its_words(
    handler: Annotate, vision_api: VisionApi
) -> None:
    vision_api.picture_error = {"code": 3, "message": "Bad image data."}
    error = await refused(handler, Rejected)
    assert "Bad image data." in str(error)
    assert (error.reason, error.status) == ("picture_refused", 400)
    vision_api.picture_error = {"code": 14, "message": "Try again."}
    assert (await refused(handler, TryLater)).status == 503


async def test_a_redirect_is_not_followed(handler: Annotate, vision_api: VisionApi) -> None:
    elsewhere = VisionApi(free_port())
    await elsewhere.start()
    for status in (301, 307, 308):
        vision_api.answers(status, b"", {"Location": elsewhere.url})
        error = await refused(handler, PartFailed)
        assert (error.reason, error.status) == ("not_the_service", status)
    assert elsewhere.asked == []
    await elsewhere.stop()


async def test_an_endless_answer_is_not_read_to_its_end(
    handler: Annotate, vision_api: VisionApi
) -> None:
    vision_api.answers(200, b" " * (MOST_ANSWER_BYTES + 1))
    error = await refused(handler, PartFailed)
    assert (error.reason, str(MOST_ANSWER_BYTES) in str(error)) == ("nonsense", True)
    vision_api.answers(200, b'{"responses": [{}]}' + b" " * (MOST_ANSWER_BYTES - 100))
    assert json.loads((await handler(redacted(PARCEL))).data or b"")["labels"] == []


async def test_an_answer_that_was_compressed_unasked_is_no_bomb(
    handler: Annotate, vision_api: VisionApi
) -> None:
    import gzip

    bomb = gzip.compress(bytes(50 * 2**20))
    vision_api.answers(200, bomb, {"Content-Encoding": "gzip"})
    assert (await refused(handler, PartFailed)).reason == "nonsense"


async def test_something_else_that_answers_200_is_a_failure(
    handler: Annotate, vision_api: VisionApi
) -> None:
    vision_api.answers(200, b"<html>Welcome to the portal</html>")
    error = await refused(handler, PartFailed)
    assert error.answer == b"<html>Welcome to the portal</html>"


async def test_many_at_once_share_connections_and_close_ends_them(vision_api: VisionApi) -> None:
    handler = annotate(vision_api.url)
    replies = await asyncio.gather(*(handler(redacted(PARCEL)) for _ in range(50)))
    assert len({reply.data for reply in replies}) == 1
    await handler.close()
    await handler.close()


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "vision.example/v1",
        "ftp://a/b",
        "http://",
        "http://a:b:c/",
        "http://a/ b",
        "http://[::1",
    ],
)
def test_an_address_that_is_none_is_refused_without_being_shown(uri: str) -> None:
    with pytest.raises(Fatal) as caught:
        annotate(uri)
    assert caught.value.reason == "bad_uri"
    assert caught.value.hint


def test_where_it_leads_is_shown_without_credentials(vision_api: VisionApi) -> None:
    uri = f"http://user:pa$$word@127.0.0.1:{vision_api.port}/v1/images:annotate?key=AIza123#x"
    assert annotate(uri).where == vision_api.url


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1, with its key in the same file."""
    place, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *(need("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=vision"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(place)),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    place.write_text(place.read_text() + key.read_text())
    return place


async def test_a_certificate_is_trusted_by_ca_file_only(certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    server = VisionApi(free_port())
    await server.start(tls)
    trusting, wary = annotate(server.url, ca_file=str(certificate)), annotate(server.url)
    assert (await trusting(redacted(PARCEL))).type == PICTURE_ANNOTATED
    error = await refused(wary, PartFailed)
    assert error.reason == "no_tls"
    assert "ca_file" in error.hint
    assert len(server.asked) == 1
    for handler in (trusting, wary):
        await handler.close()
    await server.stop()


def test_a_ca_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path / "absent.pem", tmp_path):
        with pytest.raises(Fatal, match="ca_file") as caught:
            annotate("https://127.0.0.1/v1/images:annotate", ca_file=str(place))
        assert caught.value.reason == "bad_ca_file"
