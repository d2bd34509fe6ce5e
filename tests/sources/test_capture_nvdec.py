"""What ffmpeg would have a GPU decode. There is none here: the processor decodes in its place.

So these show the pipe, the filters behind the GPU, the fallback and the log, but not NVDEC.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import PartFailed
from edge.frame import Pixels
from edge.sources.camera_address import Address, read_address
from edge.sources.capture_ffmpeg import FfmpegReader
from edge.sources.capture_gpu import GpuDecoding, GpuReader, Way
from edge.sources.capture_nvdec import FROM_NV12, NVDEC, RAW, probe
from edge.sources.capture_opencv import OpenCvReader
from edge.sources.ffmpeg_pipe import Passing
from tests.places import need
from tests.servers.rtsp import StartRtsp
from tests.sources.conftest import MakeVideo, Watch
from tests.sources.decoding_parts import messages

STAND_IN = Passing(before=("-threads", "1"), output=("-vf", f"format=nv12,{FROM_NV12}", *RAW))
READ_TIMEOUT = 6.0


def no_gpu() -> bool:
    return bool(probe())


def a_gpu() -> str:
    return ""


def by_processor(address: Address) -> OpenCvReader:
    return OpenCvReader(
        address.url.reveal(), network=True, open_timeout=5, read_timeout=READ_TIMEOUT
    )


def by_ffmpeg(address: Address, passing: Passing) -> FfmpegReader:
    return FfmpegReader(
        address, verify=False, open_timeout=5, read_timeout=READ_TIMEOUT, passing=passing
    )


class AsIfThereWere(GpuDecoding):
    """What becomes of a camera where ffmpeg's probe had found a GPU."""

    def begin(self, ways: Sequence[Way]) -> Way | None:
        return super().begin([Way(a.name, a_gpu, a.reader) for a in ways if "ffmpeg" in a.name])


def a_reader(
    address: Address, passing: Passing = STAND_IN, why_not: Callable[[], str] = a_gpu
) -> tuple[GpuReader, GpuDecoding]:
    decoding = GpuDecoding("gate")
    return fresh_reader(decoding, address, passing, why_not), decoding


def fresh_reader(
    decoding: GpuDecoding,
    address: Address,
    passing: Passing = STAND_IN,
    why_not: Callable[[], str] = a_gpu,
) -> GpuReader:
    way = Way("ffmpeg's NVDEC", why_not, lambda: by_ffmpeg(address, passing))
    return GpuReader(decoding, ways=[way], processor=by_processor(address))


def pictures(reader: GpuReader, count: int) -> list[Pixels]:
    found: list[Pixels] = []
    while len(found) < count and reader.grab():
        pixels = reader.retrieve()
        if pixels is not None:
            found.append(pixels)
    return found


def test_pictures_come_through_the_pipe_and_the_log_says_so(
    start_rtsp: StartRtsp, make_video: MakeVideo, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    address = read_address(start_rtsp(make_video("gop1.mp4")).url())
    reader, decoding = a_reader(address)
    reader.open()
    found = pictures(reader, 20)
    reader.close()
    assert {picture.shape for picture in found} == {(360, 640, 3)}
    assert not decoding.given_up
    assert messages(caplog) == ["camera gate is decoded by the GPU, by ffmpeg's NVDEC"]


@pytest.mark.parametrize("range_", ["tv", "pc"])
def test_a_picture_looks_as_the_processors(tmp_path: Path, range_: str) -> None:
    """What follows the GPU: NV12 of either range, as raw frames in NUT, read by OpenCV."""
    video, raw = tmp_path / "a.mp4", tmp_path / "raw.nut"
    ffmpeg = [need("ffmpeg", "ffmpeg"), "-v", "error"]
    coded = "yuvj420p" if range_ == "pc" else "yuv420p"
    source = ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=5:d=1"]
    subprocess.run([*ffmpeg, *source, "-c:v", "libx264", "-pix_fmt", coded, video], check=True)
    # A GPU hands on the range that the stream has.
    as_gpu = f"scale=out_range={range_},format=nv12,setparams=range={range_},{FROM_NV12}"
    subprocess.run([*ffmpeg, "-i", video, "-vf", as_gpu, "-c:v", "rawvideo", raw], check=True)
    seen = []
    for path in (video, raw):
        capture = cv2.VideoCapture(str(path))
        whole, picture = capture.read()
        assert whole
        seen.append(np.asarray(picture, np.int16))
    assert np.abs(seen[0] - seen[1]).max() <= 4


def test_a_change_of_resolution_shears_no_picture(tmp_path: Path) -> None:
    """Of a raw frame of another size than the first, every row would be read in a wrong place."""
    ffmpeg = [need("ffmpeg", "ffmpeg"), "-v", "error"]
    small, mixed, raw = (tmp_path / name for name in ("small.h264", "mixed.h264", "raw.nut"))
    coding = ["-c:v", "libx264", "-bf", "0", "-pix_fmt", "yuv420p"]
    parts = []
    for size, part in (("640x360", tmp_path / "large.h264"), ("320x180", small)):
        source = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r=10:d=1"]
        subprocess.run([*ffmpeg, *source, *coding, part], check=True)
        parts.append(part.read_bytes())
    mixed.write_bytes(b"".join(parts))
    subprocess.run([*ffmpeg, "-i", mixed, *STAND_IN.output, "-f", "nut", raw], check=True)
    seen, want = every_picture(raw), every_picture(small)
    assert len(seen) == 20
    assert {picture.shape for picture in seen} == {(360, 640, 3)}
    for picture in seen[10:]:
        shrunk = cv2.resize(picture, (320, 180)).astype(np.int16)
        assert min(np.abs(shrunk - other).mean() for other in want) < 5


def every_picture(path: Path) -> list[Pixels]:
    capture = cv2.VideoCapture(str(path))
    found: list[Pixels] = []
    while True:
        whole, picture = capture.read()
        if not whole:
            return found
        found.append(np.asarray(picture, np.uint8))


def test_a_password_stands_in_no_argument(start_rtsp: StartRtsp, make_video: MakeVideo) -> None:
    server = start_rtsp(make_video("gop1.mp4"), login="me:Gehe1m")
    reader, _ = a_reader(read_address(server.url(login="me:Gehe1m")))
    reader.open()
    assert pictures(reader, 2)
    assert isinstance(reader._inner, FfmpegReader)
    process = reader._inner.pipe.process
    assert process
    lines = [Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    reader.close()
    assert b"rawvideo" in lines[0]
    assert not [line for line in lines if b"Gehe1m" in line]


def test_without_a_gpu_the_processor_decodes_and_the_log_says_why(
    start_rtsp: StartRtsp, make_video: MakeVideo, caplog: pytest.LogCaptureFixture
) -> None:
    address = read_address(start_rtsp(make_video("gop1.mp4")).url())
    reader, decoding = a_reader(address, why_not=lambda: "ffmpeg finds no GPU: none")
    for _ in range(2):
        reader.open()
        assert len(pictures(reader, 3)) == 3
        reader.close()
    assert decoding.given_up
    assert messages(caplog) == [
        "camera gate is decoded by the processor: ffmpeg finds no GPU: none"
    ]


def test_what_the_gpu_does_not_decode_is_not_taken_for_its_work(
    start_rtsp: StartRtsp, make_video: MakeVideo, caplog: pytest.LogCaptureFixture
) -> None:
    if not no_gpu():
        pytest.skip("there is a GPU here")
    address = read_address(start_rtsp(make_video("gop1.mp4")).url())
    reader, decoding = a_reader(address, NVDEC)  # as if the probe had found one
    reader.open()
    assert len(pictures(reader, 5)) == 5
    reader.close()
    assert "could not be opened" in decoding.given_up
    assert len(messages(caplog)) == 1


def test_a_gpu_that_hangs_before_its_first_picture_is_given_up(
    start_rtsp: StartRtsp, make_video: MakeVideo
) -> None:
    address = read_address(start_rtsp(make_video("gop1.mp4")).url())
    reader, decoding = a_reader(address)
    reader.open()
    reader.interrupt()  # as the watch does when no picture came in time
    assert decoding.given_up == "the GPU brought no picture of it"
    while reader.grab():  # it ends; what it had is nobody's
        pass
    reader.close()
    fresh = fresh_reader(decoding, address)
    fresh.open()
    assert len(pictures(fresh, 3)) == 3
    fresh.close()


def test_an_interrupt_ends_a_read(start_rtsp: StartRtsp, make_video: MakeVideo) -> None:
    server = start_rtsp(make_video("gop1.mp4"))
    reader, decoding = a_reader(read_address(server.url()))
    reader.open()
    assert pictures(reader, 3)
    server.do("stall", "cam0")
    threading.Timer(0.5, reader.interrupt).start()
    began = time.monotonic()
    while reader.grab():
        pass
    assert time.monotonic() - began < READ_TIMEOUT - 1
    reader.close()
    assert not decoding.given_up  # a camera that hangs is not the GPU's fault


def test_an_address_that_nobody_answers_fails_as_without_a_gpu() -> None:
    reader, _ = a_reader(read_address("rtsp://127.0.0.1:1/cam0"))
    with pytest.raises(PartFailed) as caught:
        reader.open()
    reader.close()
    assert caught.value.reason == "not_opened"


async def test_a_gpu_that_fails_costs_a_camera_nothing(
    start_rtsp: StartRtsp, make_video: MakeVideo, watch: Watch
) -> None:
    if not no_gpu():
        pytest.skip("there is a GPU here")
    viewer = watch(start_rtsp(make_video("gop1.mp4")).url(), decode="gpu")
    viewer.camera._decoding = AsIfThereWere("gate")
    await viewer.frames(10)
    assert viewer.camera._decoding.given_up
    assert viewer.camera.status().counts["reconnects"] == 0
