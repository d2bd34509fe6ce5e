from __future__ import annotations

import pytest

from edge.cloudevents.attributes import event_of, is_time, is_uri, is_uri_reference, outgoing
from edge.cloudevents.faults import Malformed
from edge.cloudevents.media_type import charset, is_json, is_media_type, is_text
from edge.errors import Rejected
from tests.cloudevents.events import NONCHARACTERS, an_event

LEAST = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t"}


def test_the_least_event_has_four_attributes() -> None:
    assert event_of(LEAST, None) == an_event()


@pytest.mark.parametrize("name", LEAST)
def test_a_required_attribute_that_is_missing_is_named(name: str) -> None:
    left = {key: value for key, value in LEAST.items() if key != name}
    with pytest.raises(Malformed, match=f"^{name}: missing") as caught:
        event_of(left, None)
    assert caught.value.reason == "malformed"
    assert isinstance(caught.value, Rejected)


@pytest.mark.parametrize("name", [*LEAST, "subject", "time", "datacontenttype", "dataschema"])
def test_an_attribute_of_the_specification_is_never_empty(name: str) -> None:
    with pytest.raises(Malformed, match=f"^{name}: expected"):
        event_of(LEAST | {name: ""}, None)


@pytest.mark.parametrize("name", [*LEAST, "subject", "time"])
@pytest.mark.parametrize("value", [25, True])
def test_an_attribute_of_the_specification_is_text(name: str, value: int) -> None:
    with pytest.raises(Malformed, match=f"^{name}: expected .* got {value}"):
        event_of(LEAST | {name: value}, None)


@pytest.mark.parametrize("version", ["0.9", "1", "1.0.2", "1.1", "2.0", "1.0 "])
def test_a_version_that_nobody_here_knows_is_refused_as_such(version: str) -> None:
    with pytest.raises(Malformed, match=r"expected 1\.0 or 0\.3") as caught:
        event_of(LEAST | {"specversion": version}, None)
    assert caught.value.reason == "unsupported_version"


def test_an_old_event_stays_old_and_keeps_its_own_attributes() -> None:
    event = event_of(LEAST | {"specversion": "0.3", "schemaurl": "s.json"}, b"1")
    assert event.specversion == "0.3"
    assert event.extensions == {"schemaurl": "s.json"}


@pytest.mark.parametrize("name", ["", "MyExt", "my.ext", "my_ext", "é", "a b", "a\n", "data"])
def test_a_name_has_small_letters_and_digits_only(name: str) -> None:
    with pytest.raises(Malformed):
        event_of(LEAST | {name: "x"}, None)


@pytest.mark.parametrize("name", ["x", "7", "comexampleextension1", "a" * 40])
def test_a_name_may_be_any_length_and_begin_with_a_digit(name: str) -> None:
    assert event_of(LEAST | {name: ""}, None).extensions == {name: ""}


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_an_integer_has_32_bits(value: int) -> None:
    with pytest.raises(Malformed, match=r"^ext: expected an integer between"):
        event_of(LEAST | {"ext": value}, None)


@pytest.mark.parametrize("value", [2**31 - 1, -(2**31), True, False, "", "5"])
def test_an_extension_keeps_its_type(value: str | bool | int) -> None:
    kept = event_of(LEAST | {"ext": value}, None).extensions["ext"]
    assert (kept, type(kept)) == (value, type(value))


@pytest.mark.parametrize("code", [0, 10, 31, 0x7F, 0x9F, 0xD800, 0xDFFF, *NONCHARACTERS])
@pytest.mark.parametrize("name", ["id", "subject", "ext"])
def test_characters_that_no_text_may_hold_are_refused(name: str, code: int) -> None:
    with pytest.raises(Malformed, match=rf"^{name}: U\+{code:04X} at character 2 "):
        event_of(LEAST | {name: f"é{chr(code)}"}, None)


def test_every_other_character_is_kept() -> None:
    text = " ~\u00a0é€😀\ufeff\ufffd\U0010fffd"
    assert event_of(LEAST | {"subject": text, "ext": text}, None).subject == text


TIMES = [
    "2018-04-05T17:31:00Z",
    "2018-04-05T17:31:00.000000000Z",
    "2018-04-05t17:31:00.1234567890123z",
    "2018-04-05T18:31:00+01:00",
    "2018-04-05T18:31:00-23:59",
    "2016-12-31T23:59:60Z",
    "2024-02-29T00:00:00Z",
    "0000-02-29T00:00:00-00:00",
]
NO_TIMES = [
    "lunchtime",
    "2018-04-05",
    "2018-04-05T17:31Z",
    "2018-04-05T17:31:00",
    "2018-04-05 17:31:00Z",
    "2018-04-05T17:31:00X",
    "2018-04-05T17:31:00.Z",
    "2018-04-05T17:31:00+25:00",
    "2018-04-05T17:31:00+05",
    "2018-04-05T17:31:00+0500",
    "2018-04-05T17:31:00+xx:00",
    "2018-04-05T24:00:00Z",
    "2018-04-05T17:60:00Z",
    "2018-04-05T17:31:61Z",
    "2018-13-05T17:31:00Z",
    "2018-00-05T17:31:00Z",
    "2018-04-31T17:31:00Z",
    "2018-04-00T17:31:00Z",
    "2023-02-29T17:31:00Z",
    "2018-04-05T17:31:00Z ",
    "2018-04-05T17:31:00Z\n",
    "٢٠١٨-04-05T17:31:00Z",
    "18-04-05T17:31:00Z",
]


@pytest.mark.parametrize("text", TIMES)
def test_a_time_is_kept_as_it_came(text: str) -> None:
    assert is_time(text)
    assert event_of(LEAST | {"time": text}, None).time == text


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time_is_refused(text: str) -> None:
    assert not is_time(text)


REFERENCES = [
    "https://github.com/cloudevents",
    "mailto:cncf@lists.cncf.io",
    "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
    "/cloudevents/spec/pull/123",
    "1-555-123-4567",
    "#fragment",
    "//authority/path",
    "aws:s3.us-east-1.bucket",
    "minio:s3..bucket",
    "/apis/v1/namespaces/n/kafkasources/k#topic",
    "http://[::1]:8080/a%20b?x=1&y=/?#z",
    "a/b:c",
    "?",
]


@pytest.mark.parametrize("text", REFERENCES)
def test_a_source_is_a_uri_reference(text: str) -> None:
    assert is_uri_reference(text)


@pytest.mark.parametrize("text", ["", "a b", "/é", "/a%2", "/%zz", "a#b#c", "1a:b", "<x>", "a\\b"])
def test_what_is_no_uri_reference_is_refused(text: str) -> None:
    assert not is_uri_reference(text)


def test_a_schema_has_its_scheme() -> None:
    assert is_uri("https://example.com/s#d")
    assert is_uri("urn:x")
    assert not is_uri("/s")


@pytest.mark.parametrize(
    "text",
    [
        "application/json",
        "text/plain; charset=utf-8",
        'multipart/mixed; boundary="a \\" b;c"',
        "application/vnd.api+json;version=1 ; q=0.5",
        "text/plain;",
        "*/*",
    ],
)
def test_a_media_type_may_have_parameters(text: str) -> None:
    assert is_media_type(text)


@pytest.mark.parametrize(
    "text",
    ["", "xyz", "a/", "/b", "a/b/c", "a b/c", "a/b; c", "a/b; c=", 'a/b; c="', "a/b,c/d", "é/b"],
)
def test_what_is_no_media_type_is_refused(text: str) -> None:
    assert not is_media_type(text)


def test_a_media_type_says_what_the_data_is() -> None:
    kinds = ["", "application/json", "text/JSON ;charset=utf-8", "a/b+json"]
    assert all(is_json(kind) for kind in kinds)
    assert not any(is_json(kind) for kind in ["text/plain", "json", "application/jsonl"])
    assert all(is_text(kind) for kind in ["text/plain", "application/xml", "image/svg+xml"])
    assert not any(is_text(kind) for kind in ["image/png", "application/octet-stream"])


def test_the_charset_is_read_where_it_is_a_parameter() -> None:
    assert charset('text/plain; a="; charset=utf-16"; CHARSET="Latin-1"') == "latin-1"
    assert charset("text/plain; charset=US-ASCII") == "utf-8"
    assert charset("text/plain") == "utf-8"


@pytest.mark.parametrize(
    "hostile", ["a/b" + " " * 50_000, "a/b" + "; " * 50_000 + "=", "a" * 99_999]
)
def test_a_hostile_value_takes_no_time(hostile: str) -> None:
    assert is_media_type(hostile) is False or hostile.strip() == "a/b"
    assert not is_time(hostile)
    assert not is_uri(hostile + "%")
    assert charset(hostile) == "utf-8"


def test_a_message_repeats_only_the_beginning_of_what_came() -> None:
    with pytest.raises(Malformed) as caught:
        event_of(LEAST | {"time": "\u202e" + "x" * 10_000}, None)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isascii()


@pytest.mark.parametrize(
    "extensions", [{"a b": "x"}, {"x\r\ny": "x"}, {"x": "a\r\nb"}, {"x": 1.5}, {"x": 2**40}]
)
def test_what_would_break_a_message_does_not_leave(extensions: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        outgoing(an_event(extensions=extensions))


def test_a_message_names_only_the_beginning_of_a_long_name() -> None:
    with pytest.raises(Malformed) as caught:
        event_of(LEAST | {"x" * 10_000: "\x00"}, None)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("encoding", ["", "gzip", "quoted-printable", True])
def test_an_old_event_knows_one_encoding_of_its_data(encoding: str | bool) -> None:
    with pytest.raises(Malformed, match="datacontentencoding: expected base64"):
        event_of(LEAST | {"specversion": "0.3", "datacontentencoding": encoding}, None)
    event = event_of(LEAST | {"datacontentencoding": encoding}, None)
    assert event.extensions == {"datacontentencoding": encoding}
