"""How GStreamer dies in a Jetson's place, and what becomes of the camera."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge.errors import PartFailed
from edge.sources.camera_address import read_address
from edge.sources.capture_gpu import GpuDecoding, GpuReader, Way
from edge.sources.capture_gstreamer import GstReader, why_not
from tests.places import need
from tests.servers.rtsp import StartRtsp
from tests.sources.conftest import MakeVideo, Watch
from tests.sources.decoding_parts import (
    H264,
    LOGIN,
    READ_TIMEOUT,
    Open,
    by_processor,
    opened,
    pictures,
)

__all__ = ["opened"]


def test_a_camera_that_dies_ends_the_stream_and_is_not_the_decoders_fault(
    start_rtsp: StartRtsp, make_video: MakeVideo, opened: Open
) -> None:
    server = start_rtsp(make_video("gop1.mp4"))
    reader = opened.gst(server.url())
    reader.open()
    assert pictures(reader, 3)
    server.kill()
    began = time.monotonic()
    pictures(reader, 1000)
    assert time.monotonic() - began < READ_TIMEOUT - 1


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_decoder_that_dies_in_mid_stream_is_known_to_be_at_fault(
    start_rtsp: StartRtsp, make_video: MakeVideo, opened: Open, fault: signal.Signals
) -> None:
    reader = opened.gst(start_rtsp(make_video("gop1.mp4")).url())
    reader.open()
    assert pictures(reader, 3)
    assert reader.process
    reader.process.send_signal(fault)
    with pytest.raises(PartFailed, match="ended by itself"):
        pictures(reader, 1000)


def test_a_decoder_that_hangs_ends_a_read_and_can_be_closed(
    start_rtsp: StartRtsp, make_video: MakeVideo, opened: Open
) -> None:
    reader = opened.gst(start_rtsp(make_video("gop1.mp4")).url())
    reader.open()
    assert pictures(reader, 3)
    assert reader.process
    reader.process.send_signal(signal.SIGSTOP)
    threading.Timer(1, reader.interrupt).start()
    began = time.monotonic()
    pictures(reader, 1000)
    reader.close()
    assert time.monotonic() - began < READ_TIMEOUT - 1


def test_an_interrupt_ends_a_wait_for_a_silent_camera(
    start_rtsp: StartRtsp, make_video: MakeVideo, opened: Open
) -> None:
    server = start_rtsp(make_video("gop1.mp4"))
    reader = opened.gst(server.url())
    reader.open()
    assert pictures(reader, 3)
    server.do("stall", "cam0")
    threading.Timer(0.5, reader.interrupt).start()
    began = time.monotonic()
    pictures(reader, 1000)
    assert time.monotonic() - began < READ_TIMEOUT - 1


def test_one_that_was_interrupted_before_opens_nothing(
    start_rtsp: StartRtsp, make_video: MakeVideo, opened: Open
) -> None:
    reader = opened.gst(start_rtsp(make_video("gop1.mp4")).url())
    reader.interrupt()
    with pytest.raises(PartFailed):
        reader.open()


def test_an_address_that_nobody_answers_is_not_opened(opened: Open) -> None:
    with pytest.raises(PartFailed) as caught:
        opened.gst("rtsp://127.0.0.1:1/cam0").open()
    assert caught.value.reason == "not_opened"


def test_this_box_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    need("gst-inspect-1.0", "gstreamer1.0-tools")
    if Path("/etc/nv_tegra_release").exists():
        pytest.skip("this is a Jetson")
    assert why_not() == "GStreamer has no nvv4l2decoder"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert why_not() == "the program gst-launch-1.0 is not installed"


CANNOT = {
    "has no such element": ("no-such-element",),
    "fails at once": ("identity", "error-after=1", "!", *H264),
    "brings no picture": ("valve", "drop=true", "!", *H264),
}


@pytest.mark.parametrize("decoder", CANNOT.values(), ids=CANNOT)
def test_where_gstreamer_makes_no_picture_the_processor_does_at_once(
    start_rtsp: StartRtsp,
    make_video: MakeVideo,
    opened: Open,
    caplog: pytest.LogCaptureFixture,
    decoder: tuple[str, ...],
) -> None:
    url = start_rtsp(make_video("gop1.mp4")).url()
    gst = opened.gst(url, decoder, open_timeout=2)
    way = Way("GStreamer", lambda: "", lambda: gst)
    reader = GpuReader(GpuDecoding("gate"), ways=[way], processor=by_processor(url))
    reader.open()
    assert len(pictures(reader, 3)) == 3
    reader.close()
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith("camera gate is decoded by the processor: what the GPU decoded could ")


class AsOnAJetson(GpuDecoding):
    """What becomes of a camera where GStreamer decodes it, with the elements that are here."""

    def __init__(self, url: str) -> None:
        super().__init__("gate")
        self.readers: list[GstReader] = []
        self._url = url

    def begin(self, ways: Sequence[Way]) -> Way | None:
        del ways
        return super().begin([Way("GStreamer", lambda: "", self._make)])

    def _make(self) -> GstReader:
        reader = GstReader(
            read_address(self._url),
            verify=False,
            open_timeout=5,
            read_timeout=READ_TIMEOUT,
            decoder=H264,
        )
        self.readers.append(reader)
        return reader


async def test_a_camera_goes_on_with_the_processor_when_its_decoder_is_killed(
    start_rtsp: StartRtsp,
    make_video: MakeVideo,
    watch: Watch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    need("gst-launch-1.0", "gstreamer1.0-tools gstreamer1.0-plugins-bad")
    caplog.set_level("INFO", "edge")
    url = start_rtsp(make_video("gop1.mp4"), login=LOGIN).url(login=LOGIN)
    viewer = watch(url, decode="gpu")
    decoding = viewer.camera._decoding = AsOnAJetson(url)
    await viewer.frames(10)
    [reader] = decoding.readers
    assert reader.process
    reader.process.kill()
    await viewer.until(lambda: viewer.camera.status().counts["reconnects"] == 1)
    await viewer.frames(10)
    lines = [record.getMessage() for record in caplog.records]
    by_the_processor = "camera gate is decoded by the processor"
    assert lines[:2] == [
        "camera gate is decoded by the GPU, by GStreamer",
        f"{by_the_processor}: the GPU's decoder failed: GStreamer ended by itself",
    ]
    assert not [line for line in lines if "Gehe1m" in line]
    await viewer.end()
    assert len(decoding.readers) == 1
    assert reader.process.returncode is not None
