"""Addresses: their kind, and that nothing secret of them can be shown."""

from __future__ import annotations

import pytest

from edge.errors import PartFailed
from edge.sources.camera_address import read_address


@pytest.mark.parametrize(
    ("text", "kind", "tls", "host", "port"),
    [
        ("rtsp://10.0.0.9/a", "rtsp", False, "10.0.0.9", 554),
        ("RTSP://10.0.0.9:8554/a", "rtsp", False, "10.0.0.9", 8554),
        ("rtsps://gate.example/a", "rtsp", True, "gate.example", 322),
        ("http://[fe80::1]:81/v", "http", False, "fe80::1", 81),
        ("https://gate.example/v", "http", True, "gate.example", 443),
        ("/dev/video2", "v4l2", False, "", 0),
        ("v4l2:///dev/video2", "v4l2", False, "", 0),
        ("v4l2://video2", "v4l2", False, "", 0),
        ("/srv/clip.mp4", "file", False, "", 0),
        ("clip: a, b.mp4", "file", False, "", 0),
        ("file:///srv/a%20b.mp4", "file", False, "", 0),
    ],
)
def test_the_kind_and_the_peer_are_read_from_the_address(
    text: str, kind: str, tls: bool, host: str, port: int
) -> None:
    address = read_address(text)
    assert (address.kind, address.tls, address.host, address.port) == (kind, tls, host, port)


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://admin:S3cret@10.0.0.9/a",
        "rtsp://admin:S3cr%40S3cret@10.0.0.9:554/a?channel=1",
        "http://10.0.0.9/cgi?user=admin&password=S3cret&channel=1",
        "rtsp://10.0.0.9:554/user=admin_password=S3cret_channel=1_stream=0.sdp",
        "https://admin:S3cret@10.0.0.9/v?token=S3cret",
    ],
)
def test_what_may_be_shown_holds_no_credential(text: str) -> None:
    address = read_address(text)
    for shown in (address.where, repr(address), str(address)):
        assert "S3cr" not in shown
        assert "admin" not in shown
    assert "10.0.0.9" in address.where
    assert address.url.reveal() == text


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://admin:S3cr/S3cret@10.0.0.9/a",
        "rtsp://admin:S3cret?@10.0.0.9/a",
        "rtsp://admin:S3cret@/a",
        "rtsp://10.0.0.9:port/S3cret",
        "gopher://admin:S3cret@10.0.0.9/a",
        "rtsp://10.0.0.9/a\noption S3cret",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(PartFailed) as caught:
        read_address(text)
    assert caught.value.reason == "bad_address"
    assert caught.value.hint
    assert "S3cr" not in f"{caught.value} {caught.value.hint}"


def test_user_and_password_are_decoded() -> None:
    address = read_address("rtsp://me%40home:a%2Fb@10.0.0.9/a")
    assert address.user
    assert address.password
    assert (address.user.reveal(), address.password.reveal()) == ("me@home", "a/b")
