"""Who decodes a camera that asks for the GPU, and what the log says of it."""

from __future__ import annotations

import pytest

from edge.errors import PartFailed
from edge.sources.capture_gpu import GpuDecoding, GpuReader, Way
from edge.sources.capture_opencv import OpenCvReader
from tests.servers.rtsp import StartRtsp
from tests.sources.conftest import MakeVideo, Watch
from tests.sources.decoding_parts import by_processor, messages, pictures


def a_gpu() -> str:
    return ""


def test_a_camera_that_keeps_ending_is_the_processors_after_three_tries() -> None:
    decoding = GpuDecoding("gate")
    way = Way("a way", a_gpu, lambda: pytest.fail("nothing need be read"))
    assert [bool(decoding.begin([way])) for _ in range(5)] == [True, True, True, False, False]
    assert "4 times within an hour" in decoding.given_up


async def test_a_camera_asks_for_the_gpu_and_streams_without_one(
    start_rtsp: StartRtsp,
    make_video: MakeVideo,
    watch: Watch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    viewer = watch(start_rtsp(make_video("gop1.mp4")).url(), decode="gpu")
    await viewer.frames(10)
    assert viewer.camera.status().counts["reconnects"] == 0
    assert viewer.camera.decoder.startswith("decoded by the ")
    assert messages(caplog) == [f"camera gate is {viewer.camera.decoder}"]


async def test_a_camera_that_does_not_ask_hears_nothing_of_gpus(
    start_rtsp: StartRtsp,
    make_video: MakeVideo,
    watch: Watch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    viewer = watch(start_rtsp(make_video("gop1.mp4")).url())
    await viewer.frames(3)
    assert not [record for record in caplog.records if "GPU" in record.getMessage()]
    assert not viewer.camera.decoder


def test_the_first_way_that_can_decodes_and_the_log_says_why_not_the_ones_before(
    start_rtsp: StartRtsp, make_video: MakeVideo, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    url = start_rtsp(make_video("gop1.mp4")).url()
    unused: list[str] = []

    def other(name: str, why_not: str) -> Way:
        def make() -> OpenCvReader:
            unused.append(name)
            return by_processor(url)

        return Way(name, lambda: why_not, make)

    can = Way("a second", a_gpu, lambda: by_processor(url))
    ways = [other("first", "the first is not installed"), can, other("third", "")]
    reader = GpuReader(GpuDecoding("gate"), ways=ways, processor=by_processor(url))
    reader.open()
    assert pictures(reader, 3)
    reader.close()
    assert not unused
    assert messages(caplog) == [
        "camera gate is decoded by the GPU, by a second (the first is not installed)"
    ]


def test_where_no_way_can_the_log_has_every_reason_in_one_line(
    start_rtsp: StartRtsp, make_video: MakeVideo, caplog: pytest.LogCaptureFixture
) -> None:
    url = start_rtsp(make_video("gop1.mp4")).url()
    ways = [
        Way("this", lambda: "this is not here", lambda: pytest.fail("it cannot")),
        Way("that", lambda: "that is not here", lambda: pytest.fail("it cannot")),
    ]
    reader = GpuReader(GpuDecoding("gate"), ways=ways, processor=by_processor(url))
    reader.open()
    assert pictures(reader, 3)
    reader.close()
    assert messages(caplog) == [
        "camera gate is decoded by the processor: this is not here; that is not here"
    ]


class FailsAfter(OpenCvReader):
    """A GPU's reader whose decoder fails after some pictures."""

    left = 3

    def grab(self) -> bool:
        self.left -= 1
        if self.left < 0:
            raise PartFailed("it ran out of surfaces")
        return super().grab()


def test_a_decoder_that_fails_in_mid_stream_ends_it_and_the_processor_goes_on(
    start_rtsp: StartRtsp, make_video: MakeVideo, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    url = start_rtsp(make_video("gop1.mp4")).url()
    decoding = GpuDecoding("gate")
    way = Way("a way", a_gpu, lambda: FailsAfter(url, network=True, open_timeout=5, read_timeout=6))
    for count in (3, 10):
        reader = GpuReader(decoding, ways=[way], processor=by_processor(url))
        reader.open()
        assert len(pictures(reader, 10)) == count
        reader.close()
    assert messages(caplog) == [
        "camera gate is decoded by the GPU, by a way",
        "camera gate is decoded by the processor: the GPU's decoder failed: it ran out of surfaces",
    ]
