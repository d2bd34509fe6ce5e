"""The JSON format. The first cases are those of the CloudEvents conformance suite, retold."""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import Any

import pytest

from edge.cloudevents import json_format
from edge.cloudevents.faults import Malformed
from tests.cloudevents.events import an_event, document

JSON = "application/json"


def test_an_event_with_every_attribute_of_the_specification() -> None:
    other: dict[str, Any] = {
        "datacontenttype": "text/plain",
        "dataschema": "https://cloudevents.io/dataschema",
        "subject": "tests",
        "time": "2018-04-05T17:31:00Z",
    }
    assert json_format.decode(document(**other)) == an_event(**other)


def test_null_is_an_attribute_that_is_not_there() -> None:
    nothing: dict[str, Any] = dict.fromkeys(
        ["datacontenttype", "dataschema", "subject", "time", "ext"]
    )
    assert json_format.decode(document(**nothing)) == an_event()


def test_every_type_of_extension() -> None:
    extensions: dict[str, Any] = {
        "extinteger": 10,
        "extboolean": True,
        "extstring": "text",
        "exturi": "https://cloudevents.io",
        "exttimestamp": "2023-03-31T15:12:00Z",
        "extbinary": "TWE=",
    }
    event = json_format.decode(document(**extensions))
    assert event == an_event(extensions=extensions)
    assert event.extensions["extboolean"] is True


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"specversion": ...}, "specversion"),
        ({"specversion": ""}, "specversion"),
        ({"specversion": 1.0}, "specversion"),
        ({"id": ...}, "id"),
        ({"id": None}, "id"),
        ({"id": 25}, "id"),
        ({"id": {"xyz": "abc"}}, "id"),
        ({"type": ""}, "type"),
        ({"source": ""}, "source"),
        ({"time": "lunchtime"}, "time"),
        ({"datacontenttype": "xyz"}, "datacontenttype"),
        ({"dataschema": ""}, "dataschema"),
        ({"subject": ""}, "subject"),
        ({"MyExtension": "bad"}, "MyExtension"),
        ({"MyExtension": None}, "MyExtension"),
        ({"my.extension": "bad"}, "my.extension"),
        ({"ext": 1.5}, "ext"),
        ({"ext": 1e3}, "ext"),
        ({"ext": 2**31}, "ext"),
        ({"ext": 10**5000}, "ext"),
        ({"ext": {"a": 1}}, "ext"),
        ({"ext": [1]}, "ext"),
        ({"e" * 9999: 1.5}, "eee"),
        ({"ext": "a\nb"}, "ext"),
        ({"ext": "\ud800"}, "ext"),
        ({"data_base64": 5}, "data_base64"),
        ({"data_base64": "QQ"}, "data_base64"),
        ({"data_base64": "Q Q="}, "data_base64"),
        ({"data_base64": "_-=="}, "data_base64"),
        ({"data_base64": "QQ==QQ=="}, "data_base64"),
    ],
)
def test_what_is_no_event_is_refused_by_name(other: dict[str, Any], named: str) -> None:
    with pytest.raises(Malformed, match=named) as caught:
        json_format.decode(_dump(other))
    assert caught.value.reason == "malformed"
    assert len(str(caught.value)) < 250


def _dump(other: dict[str, Any]) -> bytes:
    if other.get("ext") == 10**5000:  # longer than Python writes by itself
        return document(ext="@").replace(b'"@"', b"1" + b"0" * 5000)
    return document(**other)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"id"',
        b'{"id" "1"}',
        b'{"id":}',
        b'{"id":"1",}',
        b'{"id":"1" "type":"t"}',
        b"{1:2}",
        b"{'id':'1'}",
        b'{"id":"1\n"}',
        b'{"id":"\\x"}',
        b'{"id":"1"}{}',
        b'{"id":tru}',
        b'{"id":01}',
        b"\xff\xfe{\x00}\x00",
        b'{"id":"\xc0\xa0"}',
        b'{"id":"\xed\xa0\x80"}',
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        json_format.decode(body)


@pytest.mark.parametrize("wrong", ["NaN", "-Infinity", "[1,]", "{", "+1", "0x1", ".5", "undefined"])
def test_data_that_is_no_json_is_refused(wrong: str) -> None:
    with pytest.raises(Malformed, match="JSON"):
        json_format.decode(document(wrong))


def test_a_fault_says_where_it_is() -> None:
    with pytest.raises(Malformed, match=r"expected ',' or '}' at character 10, got '\"type\""):
        json_format.decode(b'{"id":"1""type":"t"}')


@pytest.mark.parametrize("name", ["id", "ext", "data", "data_base64"])
def test_a_member_that_comes_twice_is_refused(name: str) -> None:
    body = (
        document()[:-1] + f', "{name}": "QQ==", "\\u{ord(name[0]):04x}{name[1:]}": "x"}}'.encode()
    )
    with pytest.raises(Malformed, match=f"{name}: expected one"):
        json_format.decode(body)


@pytest.mark.parametrize(
    "text",
    [
        "1.00",
        "1e2",
        "-0",
        "123456789012345678901234567890.1234567890",
        "9" * 6000,
        '{"b":1,"a":2,"b":3}',
        '{ "a" :\n[ 1 , 2 ]\t}',
        '"\\u00e9\\/\\ud800"',
        '"é😀"',
        '"{\\"not\\": \\"parsed\\"}"',
        "null",
        "false",
        '""',
        "{}",
    ],
)
@pytest.mark.parametrize("kind", [..., JSON, "Text/JSON; charset=utf-8", "application/x+json"])
def test_json_data_is_kept_byte_by_byte(text: str, kind: object) -> None:
    event = json_format.decode(document(text, datacontenttype=kind))
    assert event.data == text.encode()
    assert json_format.decode(json_format.encode(event)) == event


def test_no_data_is_not_null() -> None:
    assert json_format.decode(document()).data is None
    assert json_format.decode(document("null")).data == b"null"
    assert b"data" not in json_format.encode(an_event())
    assert json_format.encode(an_event(b"null")).endswith(b',"data":null}')


def test_the_order_of_members_does_not_matter() -> None:
    body = b'{"data":"<a/>","datacontenttype":"text/xml",' + document()[1:]
    assert json_format.decode(body).data == b"<a/>"


@pytest.mark.parametrize(
    ("kind", "text", "data"),
    [
        ("text/plain", "Simple text", b"Simple text"),
        ("text/plain", "", b""),
        ("text/plain", "é\x00\n", "é\x00\n".encode()),
        ("application/octet-stream", "é", "é".encode()),
        ("text/plain; charset=ISO-8859-1", "é", b"\xe9"),
        ("text/plain; charset=utf-16le", "é", b"\xe9\x00"),
    ],
)
def test_a_string_of_another_type_is_its_bytes(kind: str, text: str, data: bytes) -> None:
    event = json_format.decode(document(json.dumps(text), datacontenttype=kind))
    assert event.data == data
    assert json_format.decode(json_format.encode(event)) == event


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("text/plain", "5"),
        ("text/plain", "null"),
        ("text/xml", '{"a":1}'),
        ("text/plain", '"\\ud800"'),
        ("text/plain; charset=iso-8859-1", '"€"'),
        ("text/plain; charset=ebcdic", '"a"'),
    ],
)
def test_data_that_its_type_cannot_have_is_refused(kind: str, text: str) -> None:
    with pytest.raises(Malformed, match=r"^data"):
        json_format.decode(document(text, datacontenttype=kind))


def test_base64_is_its_bytes_whatever_the_type() -> None:
    for kind in (..., JSON, "image/png"):
        assert (
            json_format.decode(document(datacontenttype=kind, data_base64="iQA=")).data == b"\x89\0"
        )
    assert json_format.decode(document(data_base64="")).data == b""
    assert json_format.decode(document(data_base64=None)).data is None


@pytest.mark.parametrize("text", ["1", "null"])
def test_both_kinds_of_data_are_refused(text: str) -> None:
    with pytest.raises(Malformed, match="got both"):
        json_format.decode(document(text, data_base64="QQ=="))


@pytest.mark.parametrize(
    ("kind", "data", "written"),
    [
        (JSON, b' {"a": 1}\r\n', b'"data":{"a": 1}'),
        ("", b"[1.0]", b'"data":[1.0]'),
        (JSON, b"{broken", b'"data_base64":"e2Jyb2tlbg=="'),
        (JSON, b"NaN", b'"data_base64":"TmFO"'),
        (JSON, b"", b'"data_base64":""'),
        (JSON, b"1 2", b'"data_base64":"MSAy"'),
        (JSON, b"\xff", b'"data_base64":"/w=="'),
        (JSON, b"\xef\xbb\xbf1", b'"data_base64":"77u/MQ=="'),
        ("application/json; charset=utf-16", b"1", b'"data_base64":"MQ=="'),
        ("text/plain", 'é"\n'.encode(), '"data":"é\\"\\n"'.encode()),
        ("text/plain", b"\xff", b'"data_base64":"/w=="'),
        ("text/plain; charset=latin-1", b"a", b'"data_base64":"YQ=="'),
        ("image/svg+xml", b"<svg/>", b'"data":"<svg/>"'),
        ("image/png", b"a", b'"data_base64":"YQ=="'),
    ],
)
def test_data_is_written_as_its_type_allows(kind: str, data: bytes, written: bytes) -> None:
    assert json_format.encode(an_event(data, datacontenttype=kind)).endswith(b"," + written + b"}")


def test_what_is_written_is_plain_json() -> None:
    event = an_event(b"1", subject='é"\\😀', extensions={"b": True, "i": -5, "s": ""})
    assert json.loads(json_format.encode(event)) == {
        "specversion": "1.0",
        "id": "1",
        "source": "/a",
        "type": "t",
        "subject": 'é"\\😀',
        "b": True,
        "i": -5,
        "s": "",
        "data": 1,
    }


def test_a_line_has_no_line_break() -> None:
    event = an_event(b'{\r\n "a": "\\n"\n}')
    line = json_format.encode_line(event)
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(line)["data"] == {"a": "\n"}


def test_a_byte_order_mark_is_no_part_of_the_event() -> None:
    assert json_format.decode(b"\xef\xbb\xbf" + document()) == an_event()


def test_deep_data_is_refused_and_not_a_crash() -> None:
    for deep in ("[" * 200_000, "[" * 502 + "]" * 502, '{"a":' * 100_000, '["]",' * 502):
        with pytest.raises(Malformed, match="nested more than 502 deep"):
            json_format.decode(document(deep))


@pytest.mark.parametrize(
    "wide", ["[" * 500 + "]" * 500, "[" + "[{}]," * 1000 + "0]", '"' + "[" * 1000 + '\\"["']
)
def test_data_that_is_wide_or_not_too_deep_is_taken(wide: str) -> None:
    assert json_format.decode(document(wide)).data == wide.encode()


@pytest.mark.parametrize("hostile", ['"' + '\\"' * 400_000, '"' * 400_001, '{"' * 300_000])
def test_a_hostile_text_is_refused_in_no_time(hostile: str) -> None:
    started = time.process_time()
    with pytest.raises(Malformed):
        json_format.decode(document("[[" + "[]," * 600 + hostile))
    assert time.process_time() - started < 2


def test_data_that_is_too_deep_to_be_looked_at_travels_all_the_same() -> None:
    for depth in (500, 501, 502, 503, 100_000):
        event = an_event(b"[" * depth + b"]" * depth, datacontenttype=JSON)
        assert json_format.decode(json_format.encode(event)) == event
        assert json_format.decode_batch(json_format.encode_batch([event])) == [event]
        assert (json_format.parsed_data(event) is None) == (depth > 500)


def test_an_event_with_far_too_many_members_is_refused() -> None:
    extensions: dict[str, Any] = {f"x{number}": number for number in range(100_000)}
    with pytest.raises(Malformed, match="more than 1000 members"):
        json_format.decode(document(**extensions))


def test_depth_is_bounded_in_a_thread_with_a_small_stack_too() -> None:
    refused: list[Malformed] = []

    def work() -> None:
        try:
            json_format.decode(document("[" * 100_000))
        except Malformed as error:
            refused.append(error)

    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=work, name="deep")
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert refused


def test_parsed_data_is_what_filters_look_into() -> None:
    assert json_format.parsed_data(an_event(b'{"a":[1]}')) == {"a": [1]}
    assert json_format.parsed_data(an_event(b"NaN")) is None
    assert json_format.parsed_data(an_event(b"9" * 5000)) is None
    assert json_format.parsed_data(an_event(b"1", datacontenttype="text/plain")) is None
    assert json_format.parsed_data(an_event()) is None


def test_an_old_event_writes_bytes_as_its_version_does() -> None:
    old = an_event(b"\x89\x00", specversion="0.3", datacontenttype="image/png")
    written = json.loads(json_format.encode(old))
    assert written["data"] == base64.b64encode(b"\x89\x00").decode()
    assert written["datacontentencoding"] == "base64"
    assert json_format.decode(json_format.encode(old)) == old
    with pytest.raises(Malformed, match="data_base64"):
        json_format.decode(document(specversion="0.3", data_base64="QQ=="))


def test_an_old_event_that_says_its_body_is_base64_keeps_saying_so() -> None:
    note = {"datacontentencoding": "base64"}
    for body, written in ((b"QUI=", "QUI="), (b"\xff", "/w==")):
        event = an_event(body, specversion="0.3", extensions=note)
        found = json.loads(json_format.encode(event))
        assert (found["data"], found["datacontentencoding"]) == (written, "base64")


def test_a_large_event_is_an_event() -> None:
    event = an_event(b'"' + b"x" * 3_000_000 + b'"', extensions={"long": "y" * 200_000})
    assert json_format.decode(json_format.encode(event)) == event
