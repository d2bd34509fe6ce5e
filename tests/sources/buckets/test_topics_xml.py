"""What is written can be read again, and what strangers write harms nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sources.buckets import topics_xml as xml
from edge.sources.buckets.topics_xml import Notification, Topic

READERS = (
    xml.read_notifications,
    xml.read_topics,
    xml.read_arn,
    xml.read_buckets,
    xml.read_keys,
)
FIT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1
)

REAL_TOPICS = b"""<ListTopicsResponse xmlns="https://sns.amazonaws.com/doc/2010-03-31/">
<ListTopicsResult><Topics><member><User></User><Name>t1</Name><EndPoint><EndpointAddress>\
http://127.0.0.1:9/hooks/s3?token=abc&amp;a=b</EndpointAddress><EndpointArgs>\
Attributes.entry.1.key=push-endpoint&amp;cloudevents=true&amp;persistent=true</EndpointArgs>\
<EndpointTopic>t1</EndpointTopic><HasStoredSecret>False</HasStoredSecret>\
<Persistent>True</Persistent></EndPoint><TopicArn>arn:aws:sns:dev::t1</TopicArn>\
<OpaqueData>{"x":"&amp;&lt;"}</OpaqueData></member></Topics></ListTopicsResult>\
<ResponseMetadata><RequestId>4ba3</RequestId></ResponseMetadata></ListTopicsResponse>"""


def test_a_topic_of_a_real_gateway_is_read_whole() -> None:
    topics, following = xml.read_topics(REAL_TOPICS)
    assert following == ""
    assert topics == [
        Topic(
            name="t1",
            arn="arn:aws:sns:dev::t1",
            endpoint="http://127.0.0.1:9/hooks/s3?token=abc&a=b",
            persistent=True,
            opaque='{"x":"&<"}',
            flags=(("cloudevents", "true"),),
        )
    ]
    assert topics[0].where == "http://127.0.0.1:9/hooks/s3?token=***&a=***"
    assert "abc" not in repr(topics)


@given(FIT, FIT, st.lists(FIT, max_size=3), st.dictionaries(FIT.map(str.lower), FIT, max_size=2))
def test_what_is_written_is_read_again(
    name: str, arn: str, events: list[str], rules: dict[str, str]
) -> None:
    rules = {key: value for key, value in rules.items() if key == key.lower()}
    one = Notification(id=name, arn=arn, events=tuple(events), rules=tuple(rules.items()))
    assert xml.read_notifications(xml.write(one)) == [one]


@pytest.mark.parametrize("prefix", ["\0", "a\x08", "\ud800", "\uffff"])
def test_what_no_xml_carries_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="characters"):
        xml.write(Notification(id="a", arn="b", rules=(("prefix", prefix),)))


def test_an_answer_of_minio_is_read_too() -> None:
    body = (
        b'<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<QueueConfiguration><Id>1</Id><Filter><S3Key><FilterRule><Name>Prefix</Name>"
        b"<Value>in/</Value></FilterRule></S3Key></Filter><Event>s3:ObjectCreated:*</Event>"
        b"<Queue>arn:minio:sqs::edge_yard:webhook</Queue></QueueConfiguration>"
        b"</NotificationConfiguration>"
    )
    (one,) = xml.read_notifications(body)
    assert (one.arn, one.prefix) == ("arn:minio:sqs::edge_yard:webhook", "in/")
    assert one.tells_creations
    assert not one.tells_removals


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a>",
        b"\xff\xfe<\0a\0/\0>\0",
        b'<?xml version="1.0" encoding="cp037"?><a/>',
        b'<!DOCTYPE a [<!ENTITY b "c">]><NotificationConfiguration>&b;</NotificationConfiguration>',
        b"<NotificationConfiguration>&b;</NotificationConfiguration>",
        b"<html><body>It works!</body></html>",
        b"<a>" * 200_000,
    ],
)
def test_what_is_no_such_answer_is_refused(reader: object, body: bytes) -> None:
    assert callable(reader)
    with pytest.raises(ValueError, match=r"XML|expected|entities"):
        reader(body)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    inside = b"<ListTopicsResponse>" + body + b"</ListTopicsResponse>"
    for reader in READERS:
        assert all(_is_list_or_refused(reader, whole) for whole in (body, inside))


def _is_list_or_refused(reader: object, body: bytes) -> bool:
    assert callable(reader)
    try:
        return isinstance(reader(body), list | tuple | str)
    except ValueError:
        return True


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://u:p@h:1/x?token=s&b", "http://h:1/x?token=***&b=***"),
        ("http://[::1]:8080/hooks/s3?t=\x1b[31m", "http://[::1]:8080/hooks/s3?t=***"),
        ("http://h:99999/", "***"),
        ("", ""),
        ("amqp://secret@broker", "amqp://broker"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(address: str, shown: str) -> None:
    assert xml.starred(address) == shown


@given(st.text())
def test_nothing_that_is_shown_moves_the_cursor(text: str) -> None:
    assert xml.plain(text).isprintable()
    assert xml.starred(f"http://{text}").isprintable()
