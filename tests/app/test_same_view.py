from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from edge.app.same_view import others
from edge.config.sources import SourceConfig

_SOURCE: TypeAdapter[SourceConfig] = TypeAdapter(SourceConfig)


def source(**given: Any) -> SourceConfig:
    return _SOURCE.validate_python(given)


def camera(url: str) -> SourceConfig:
    return source(kind="camera", url=url)


KNOWN = {
    "gate": camera("rtsp://a:b@cam:554/main"),
    "gate_small": camera("rtsp://cam/sub"),
    "door": camera("/dev/video0"),
    "drawn": source(kind="scene"),
}


@pytest.mark.parametrize(
    ("name", "url", "found"),
    [
        ("new", "rtsp://x:y@CAM:8554/other", ["gate", "gate_small"]),
        ("new", "/dev/../dev/video0", ["door"]),
        ("new", "rtsp://elsewhere/main", []),
        ("door", "rtsp://cam/main", ["gate", "gate_small"]),
        ("gate", "rtsp://cam/third", []),
    ],
)
def test_a_new_or_moved_source_shows_what_others_at_its_place_show(
    name: str, url: str, found: list[str]
) -> None:
    assert others(name, camera(url), KNOWN) == found


def test_what_is_drawn_shows_nobody_else() -> None:
    assert others("new", source(kind="scene"), KNOWN) == []
