"""Who reads a camera under test: the processor, or a GStreamer that has it decode in its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.frame import Pixels
from edge.sources.camera_address import read_address
from edge.sources.capture_gstreamer import GstReader
from edge.sources.capture_opencv import OpenCvReader, Reader
from tests.places import need

H264 = ("openh264dec", "!", "videoconvert")
H265 = ("libde265dec", "!", "videoconvert")
LOGIN = "me:Gehe1m"
READ_TIMEOUT = 6.0
PATIENCE = 30.0


class Open:
    """Readers that are closed at the test's end, and of which no child may be left."""

    def __init__(self) -> None:
        self._readers: list[GstReader] = []

    def gst(
        self, url: str, decoder: tuple[str, ...] = H264, open_timeout: float = PATIENCE
    ) -> GstReader:
        reader = GstReader(
            read_address(url),
            verify=False,
            open_timeout=open_timeout,
            read_timeout=READ_TIMEOUT,
            decoder=decoder,
        )
        self._readers.append(reader)
        return reader

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
            for child in (reader.process, reader.pipe.process):
                assert not (child and Path(f"/proc/{child.pid}").exists()), "a child is left"


@pytest.fixture
def opened() -> Iterator[Open]:
    need("gst-launch-1.0", "gstreamer1.0-tools gstreamer1.0-plugins-bad")
    readers = Open()
    yield readers
    readers.close()


def by_processor(url: str) -> OpenCvReader:
    return OpenCvReader(url, network=True, open_timeout=5, read_timeout=READ_TIMEOUT)


def pictures(reader: Reader, count: int) -> list[Pixels]:
    found: list[Pixels] = []
    while len(found) < count and reader.grab():
        pixels = reader.retrieve()
        assert pixels is not None
        found.append(pixels)
    return found


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the log says of who decodes."""
    return [record.getMessage() for record in caplog.records if "decoded by" in record.getMessage()]
