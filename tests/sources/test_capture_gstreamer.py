"""What a Jetson would decode. None is here: GStreamer decodes with the processor in its place.

So these show both children, the pipes between them and us, and the pictures, but neither
nvv4l2decoder nor nvvidconv.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import PartFailed
from edge.frame import Pixels
from tests.places import need
from tests.servers.rtsp import StartRtsp
from tests.sources.conftest import MakeVideo
from tests.sources.decoding_parts import H264, H265, LOGIN, Open, by_processor, opened, pictures

__all__ = ["opened"]

STILL = "smptehdbars=s=640x360:r=15:d=2"


def a_still(folder: Path, *coding: str) -> Path:
    """Make a video of a picture that does not move, so that any two frames compare."""
    ffmpeg, path = need("ffmpeg", "ffmpeg"), folder / "still.mp4"
    command = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", STILL, "-g", "15", *coding, str(path)]
    subprocess.run(command, check=True)
    return path


BT709 = "-colorspace bt709 -color_primaries bt709 -color_trc bt709 -vf scale=out_color_matrix=bt709"


@pytest.mark.parametrize(
    "coding",
    [
        "-pix_fmt yuv420p",
        f"{BT709} -pix_fmt yuv420p -color_range tv",
        f"{BT709}:out_range=pc -pix_fmt yuvj420p -color_range pc",
    ],
    ids=["BT.601", "BT.709", "BT.709 of full range"],
)
def test_a_picture_looks_as_the_processors(
    start_rtsp: StartRtsp, opened: Open, tmp_path: Path, coding: str
) -> None:
    url = start_rtsp(a_still(tmp_path, *coding.split()), login=LOGIN).url(login=LOGIN)
    reader, processor = opened.gst(url), by_processor(url)
    reader.open()
    processor.open()
    seen, want = pictures(reader, 8)[-1], pictures(processor, 8)[-1]
    processor.close()
    assert_alike(seen, want)


def assert_alike(seen: Pixels, want: Pixels) -> None:
    assert seen.shape == want.shape
    apart = np.abs(seen.astype(np.int16) - want.astype(np.int16))
    assert apart.mean() < 2
    # at edges, colours are made finer in other ways
    assert np.percentile(apart, 95) <= 4


def test_every_picture_comes_once_and_in_its_order(
    start_rtsp: StartRtsp, opened: Open, tmp_path: Path
) -> None:
    """Each picture shows its number as a bar; B-frames come in another order than they are seen."""
    path, ffmpeg = tmp_path / "bars.mp4", need("ffmpeg", "ffmpeg")
    bar = "color=s=640x90:r=15:d=4,geq=lum='if(lt(X,N*10),235,16)':cb=128:cr=128"
    coding = ["-bf", "3", "-g", "15", "-pix_fmt", "yuv420p"]
    subprocess.run([ffmpeg, "-v", "error", "-f", "lavfi", "-i", bar, *coding, path], check=True)
    reader = opened.gst(start_rtsp(path).url())
    reader.open()
    seen = [round((picture[45, :, 1] > 128).sum() / 10) for picture in pictures(reader, 30)]
    steps = np.diff(seen) % 60
    assert steps.max() < 30  # never back; where several came at once, the newest was taken
    assert np.median(steps) == 1


def test_h265_is_decoded(serve_rtsp: StartRtsp, opened: Open, tmp_path: Path) -> None:
    coding = ("-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p")
    video = a_still(tmp_path, *coding)
    pipeline = f"( filesrc location={video} ! qtdemux ! h265parse ! rtph265pay name=pay0 pt=96 )"
    url = serve_rtsp(pipeline).url()
    reader = opened.gst(url, H265)
    reader.open()
    seen = pictures(reader, 8)[-1]
    reader.close()
    processor = by_processor(serve_rtsp(pipeline).url())
    processor.open()
    want = pictures(processor, 8)[-1]
    processor.close()
    assert_alike(seen, want)


def test_a_change_of_resolution_shears_no_picture(
    serve_rtsp: StartRtsp, opened: Open, tmp_path: Path
) -> None:
    mixed, ffmpeg = tmp_path / "mixed.h264", need("ffmpeg", "ffmpeg")
    coding = ["-c:v", "libx264", "-bf", "0", "-g", "15", "-pix_fmt", "yuv420p", "-f", "h264", "-"]
    for size in ("640x360", "322x182"):
        source = ["-f", "lavfi", "-i", f"smptehdbars=s={size}:r=15:d=2"]
        command = [ffmpeg, "-v", "error", *source, *coding]
        part = subprocess.run(command, capture_output=True, check=True).stdout
        mixed.write_bytes((mixed.read_bytes() if mixed.exists() else b"") + part)
    pay = "rtph264pay config-interval=-1 name=pay0 pt=96"
    reader = opened.gst(serve_rtsp(f"( filesrc location={mixed} ! h264parse ! {pay} )").url())
    reader.open()
    seen = pictures(reader, 60)
    assert {picture.shape for picture in seen} == {(360, 640, 3), (182, 322, 3)}
    small = cv2.resize(seen[0], (322, 182), interpolation=cv2.INTER_AREA).astype(np.int16)
    assert np.abs(seen[-1] - small).mean() < 5


def test_a_password_stands_in_no_argument_and_no_environment(
    start_rtsp: StartRtsp, make_video: MakeVideo, opened: Open
) -> None:
    server = start_rtsp(make_video("gop1.mp4"), login=LOGIN)
    reader = opened.gst(server.url(login=LOGIN))
    reader.open()
    assert pictures(reader, 2)
    ffmpeg, gst = reader.pipe.process, reader.process
    assert ffmpeg
    assert gst
    names = [f"/proc/{child.pid}/{of}" for child in (ffmpeg, gst) for of in ("cmdline", "environ")]
    said = [Path(name).read_bytes() for name in names]
    assert b"matroska" in said[0]
    assert b"openh264dec" in said[2]
    assert not [line for line in said if b"Gehe1m" in line]
    assert str(server.port).encode() not in said[2]  # GStreamer is told no address at all


def test_what_a_library_says_on_its_standard_output_is_in_no_picture(
    start_rtsp: StartRtsp, make_video: MakeVideo, opened: Open
) -> None:
    talks = ("identity", "dump=true", "!", *H264)  # as NVIDIA's decoder does
    reader = opened.gst(start_rtsp(make_video("gop1.mp4")).url(), talks)
    reader.open()
    assert {picture.shape for picture in pictures(reader, 10)} == {(360, 640, 3)}


def test_a_codec_that_is_neither_is_refused(serve_rtsp: StartRtsp, opened: Open) -> None:
    pipeline = "( videotestsrc is-live=true ! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
    with pytest.raises(PartFailed, match=r"neither H\.264 nor H\.265"):
        opened.gst(serve_rtsp(pipeline).url()).open()
