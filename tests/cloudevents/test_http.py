from __future__ import annotations

import pytest
from multidict import CIMultiDict

from edge.cloudevents import header_value, http, json_format
from edge.cloudevents.faults import Malformed
from edge.cloudevents.http import Mode
from tests.cloudevents.events import an_event, document, headers

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
def test_binary_mode_is_headers_and_a_body(kind: str) -> None:
    body = b'{\n  "message": "Hello World!"\n}\n'
    found = headers(time="2018-04-05T03:56:24Z", ext="5", content_type=kind)
    mode, events = http.decode(found, body)
    assert mode is Mode.BINARY
    assert events == [
        an_event(body, time="2018-04-05T03:56:24Z", datacontenttype=kind, extensions={"ext": "5"})
    ]


@pytest.mark.parametrize(
    "kind",
    [STRUCTURED, f"{STRUCTURED}; charset=utf-8", "Application/CloudEvents+JSON;charset=UTF-8"],
)
def test_structured_mode_is_chosen_by_the_content_type(kind: str) -> None:
    # a sender may repeat attributes in headers; the body is what counts
    found = [("ce-id", "other"), ("ce-id", "twice"), ("CONTENT-type", kind)]
    assert http.decode(found[1:], document()) == (Mode.STRUCTURED, [an_event()])


@pytest.mark.parametrize("kind", [BATCH, "APPLICATION/CLOUDEVENTS-BATCH+JSON; charset=utf-8"])
def test_batch_mode_is_chosen_by_the_content_type(kind: str) -> None:
    body = b"[" + document() + b"]"
    assert http.decode({"content-type": kind}, body) == (Mode.BATCH, [an_event()])
    assert http.decode({"content-type": kind}, b"[]").events == []


@pytest.mark.parametrize(
    "kind",
    [
        "application/cloudevents+avro",
        "application/cloudevents+xml",
        "application/cloudevents-batch+avro",
        "application/cloudevents",
        "application/cloudeventsjson",
        "application/cloudevents+json; charset=utf-16",
    ],
)
def test_a_format_that_nobody_here_reads_is_refused_as_such(kind: str) -> None:
    with pytest.raises(Malformed, match="content-type") as caught:
        http.decode([*headers(), ("Content-Type", kind)], document())
    assert caught.value.reason == "unsupported_media_type"


def test_a_message_without_an_event_is_told_what_was_expected() -> None:
    for found in ([], [("Content-Type", "application/json"), ("X-Ce-Id", "1")]):
        with pytest.raises(Malformed, match=r"no event: .*ce-id.*cloudevents\+json") as caught:
            http.decode(found, document())
        assert "Content-Type: application/cloudevents+json" in caught.value.hint
        assert not http.carries_event(found)


def test_a_message_that_claims_to_carry_an_event_is_known_by_its_headers() -> None:
    assert http.carries_event([("CE-SpecVersion", "")])
    assert http.carries_event({"Content-Type": "application/CloudEvents+avro"})
    assert not http.carries_event({"Content-Type": "text/html", "ce-id": "1"})


def test_an_empty_body_is_no_data() -> None:
    assert http.decode(headers(), b"").events == [an_event()]


def test_a_body_without_a_type_is_kept() -> None:
    event = http.decode(headers(), b"\x00hello").events[0]
    assert (event.data, event.datacontenttype) == (b"\x00hello", "")
    assert http.encode_binary(event).headers.get("content-type") is None


def test_an_old_event_is_taken_and_stays_old() -> None:
    found = headers(specversion="0.3", schemaurl="s", datacontentencoding="base64")
    event = http.decode(found, b"QQ==").events[0]
    assert event.specversion == "0.3"
    assert event.data == b"QQ=="
    assert http.decode(*http.encode_binary(event)).events == [event]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("%61%7E", "a~"),
        ("hello world", "hello world"),
        ("100%25", "100%"),
        ("%2525", "%25"),
        ('"quoted"', "quoted"),
        ('""', ""),
        ('"a \\"b\\" \\\\ c"', 'a "b" \\ c'),
        ('"Euro %E2%82%AC"', "Euro €"),
        ('"\\%41"', "A"),
        ("%22", '"'),
        ("(a)", "(a)"),
        ("a\\b", "a\\b"),
        (" \ttrimmed ", "trimmed"),
    ],
)
def test_a_header_is_unquoted_and_then_decoded_once(value: str, text: str) -> None:
    assert http.decode(headers(ext=value), b"").events[0].extensions == {"ext": text}


@pytest.mark.parametrize(
    "value",
    [
        "%C0%A0",
        "%ED%A0%80",
        "%FF",
        "%E2%82",
        "%",
        "100%",
        "%4",
        "%zz",
        "%u20AC",
        "Euro €",
        "\udce9",
        "\xe9",
        '"open',
        'a"b',
        '"a"b',
        '"a""b"',
        '"a\\"',
        "%00",
        "%0D%0A",
        "%C2%85",
        "%EF%BF%BF",
    ],
)
def test_a_header_that_can_be_read_in_two_ways_is_refused(value: str) -> None:
    with pytest.raises(Malformed, match="ext"):
        http.decode(headers(ext=value), b"")


def test_what_has_to_be_encoded_is_and_nothing_else() -> None:
    visible = "".join(map(chr, range(0x21, 0x7F)))
    assert header_value.encode(visible) == visible.replace("%", "%25").replace('"', "%22")
    assert header_value.encode("Euro € 😀") == "Euro%20%E2%82%AC%20%F0%9F%98%80"
    assert header_value.encode("\r\n\x7f") == "%0D%0A%7F"
    with pytest.raises(Malformed):
        header_value.encode("\ud800")


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ([("CE-ID", "1")], "ce-id"),
        ([("ce-ext", "1"), ("Ce-Ext", "1")], "ce-ext"),
        ([("Content-Type", "a/b"), ("content-type", "a/b")], "content-type"),
        ([("ce-datacontenttype", "a/b")], "ce-datacontenttype"),
        ([("ce-data", "1")], "data"),
        ([("ce-", "1")], "name"),
        ([("ce-my_ext", "1")], "my_ext"),
        ([("ce-my-ext", "1")], "my-ext"),
        ([("Content-Type", "")], "datacontenttype"),
        ([("Content-Type", "xyz")], "datacontenttype"),
        ([("ce-time", "now")], "time"),
        ([("ce-subject", "")], "subject"),
    ],
)
def test_headers_that_are_wrong_are_named(more: list[tuple[str, str]], named: str) -> None:
    with pytest.raises(Malformed, match=named) as caught:
        http.decode([*headers(), *more], b"")
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_a_required_header_that_is_missing_is_named(name: str) -> None:
    found = [pair for pair in headers() if pair[0] != f"ce-{name}"]
    with pytest.raises(Malformed, match=f"^{name}: missing"):
        http.decode(found, b"")


def test_a_header_that_came_twice_is_seen_in_a_mapping_too() -> None:
    found = CIMultiDict(headers(ext="a"))
    assert http.decode(found, b"").events[0].extensions == {"ext": "a"}
    found.add("CE-Ext", "b")
    with pytest.raises(Malformed, match="ce-ext"):
        http.decode(found, b"")


def test_binary_mode_says_what_json_implies() -> None:
    assert http.encode_binary(an_event(b"1.00")).headers["content-type"] == "application/json"
    assert "content-type" not in http.encode_binary(an_event()).headers
    assert "content-type" not in http.encode_structured(an_event(b"1")).body.decode()


def test_an_event_within_an_event_is_not_taken_for_it() -> None:
    inner = json_format.encode(an_event())
    event = an_event(inner, id="outer", datacontenttype=STRUCTURED)
    assert http.decode(*http.encode_binary(event)) == (Mode.STRUCTURED, [event])


def test_a_batch_is_written_for_those_who_asked() -> None:
    events = [an_event(b"1"), an_event(id="2")]
    message = http.encode_batch(events)
    assert message.headers == {"content-type": BATCH}
    assert http.decode(*message) == (Mode.BATCH, events)
    with pytest.raises(Malformed, match="specversion"):
        http.encode_batch([*events, an_event(specversion="0.3")])


def test_a_reply_is_one_event() -> None:
    assert http.decode_one(headers(), b"") == an_event()
    with pytest.raises(Malformed, match="a batch of 0") as caught:
        http.decode_one({"content-type": BATCH}, b"[]")
    assert caught.value.reason == "unsupported_media_type"


@pytest.mark.parametrize(
    "bad",
    [
        an_event(datacontenttype="a/b\r\nX-Evil: 1"),
        an_event(extensions={"a: b\r\nx": "1"}),
        an_event(subject="a\r\nX-Evil: 1"),
    ],
)
def test_no_event_of_ours_can_smuggle_a_header(bad: object) -> None:
    with pytest.raises(Malformed):
        http.encode_binary(bad)  # type: ignore[arg-type]
