from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.catalog.installed import Catalog
from tests.journeys.box import BoxProcess
from tests.places import shared
from tests.servers.rgw import bucket, rgw
from tests.servers.rtsp import start_rtsp

__all__ = ["bucket", "rgw", "start_rtsp"]

MakeBox = Callable[[str], BoxProcess]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the default detector, imported from the shared data."""
    file = shared("data/models/originals/picodet_s_416_coco.onnx")
    directory = tmp_path_factory.mktemp("models")
    Catalog(directory).import_file(file)
    return directory


@pytest.fixture
def make_box(tmp_path: Path, models: Path) -> Iterator[MakeBox]:
    """Makes boxes that are ended with the test."""
    made: list[BoxProcess] = []

    def make(toml: str) -> BoxProcess:
        made.append(BoxProcess(tmp_path, models, toml))
        return made[-1]

    yield make
    for box in made:
        box.close()
