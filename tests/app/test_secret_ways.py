"""A configuration from afar tells nobody a secret that the file does not tell them."""

from __future__ import annotations

from typing import Any

import pytest

from edge.app.secret_ways import astray

FILE: dict[str, Any] = {
    "sources": {"gate": {"kind": "camera", "url": "rtsp://viewer:${secret:gate}@10.0.0.2/one"}},
    "store": {"kind": "s3", "endpoint": "https://s3.site", "secret_key": "${secret:store}"},
    "web": {"token": "${secret:web}"},
}


def camera(url: str) -> dict[str, Any]:
    return {"sources": {"gate": {"kind": "camera", "url": url}}}


def test_the_file_itself_is_as_it_should_be() -> None:
    assert astray(FILE, FILE) == []


@pytest.mark.parametrize(
    ("wanted", "where"),
    [
        (camera("rtsp://viewer:${secret:gate}@evil/one"), "sources.gate"),
        (camera("rtsp://viewer:${secret:gate}@10.0.0.2:8554/one"), "sources.gate"),
        (camera("rtsp://viewer:${secret:store}@10.0.0.2/one"), "sources.gate"),
        (camera("rtsp://${secret:web}.evil/one"), "sources.gate"),
        (camera("rtsp://[::1/${secret:gate}"), "sources.gate"),
        ({"store": FILE["store"] | {"endpoint": "https://evil"}}, "store"),
        (
            {"handlers": {"x": {"uri": "http://evil", "headers": {"a": "Bearer ${secret:web}"}}}},
            "handlers.x",
        ),
        ({"mqtt": {"url": "mqtt://evil", "password": "${secret:store}"}}, "mqtt"),
        ({"mqtt": {"url": "mqtt://s3.site", "proxy": "http://${secret:gate}@evil"}}, "mqtt"),
    ],
)
def test_a_secret_that_would_go_to_somebody_else_is_found(
    wanted: dict[str, Any], where: str
) -> None:
    assert astray(wanted, FILE) == [where]


@pytest.mark.parametrize(
    "wanted",
    [
        camera("rtsp://viewer:${secret:gate}@10.0.0.2/two"),
        camera("rtsp://viewer:${secret:new}@10.0.0.9/one"),  # the file says nothing of this one
        camera("rtsp://10.0.0.9/one"),
        {"sources": 3, "web": [{"a": None}]},
    ],
)
def test_what_goes_where_it_went_or_is_no_secret_of_the_file_may_change(
    wanted: dict[str, Any],
) -> None:
    assert astray(wanted, FILE) == []
