"""Cameras decoded by PyNvVideoCodec, with a library of ours in its place: the processor decodes.

So these show the child, the pipe, the shared memory and the fallback, but neither NVDEC nor the
library; ``tests/gpu/test_pynvvideocodec.py`` has the real one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from edge.errors import PartFailed
from edge.sources.camera_address import Address, read_address
from edge.sources.capture_gpu import GpuDecoding, GpuReader, Way
from edge.sources.capture_opencv import OpenCvReader
from edge.sources.capture_pynvvideocodec import why_not
from tests.places import ROOT
from tests.servers.rtsp import StartRtsp
from tests.sources.conftest import MakeVideo
from tests.sources.pynv_rig import (
    PATIENCE,
    READ_TIMEOUT,
    a_library,
    a_reader,
    every_picture,
    pictures,
    small,
    which,
)

# Of few contrasts, as of glaring colours both ranges of values give the same.
CODING = ("-vf", "eq=contrast=0.5", "-c:v", "libx264", "-g", "15", "-bf", "0", "-pix_fmt")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return a_library(tmp_path_factory.mktemp("site"))


def by_cpu(address: Address) -> OpenCvReader:
    return OpenCvReader(
        address.url.reveal(), network=True, open_timeout=PATIENCE, read_timeout=READ_TIMEOUT
    )


@pytest.mark.parametrize("range_", ["limited", "full"])
def test_the_pictures_are_those_of_the_processor_in_their_order(
    start_rtsp: StartRtsp,
    make_video: MakeVideo,
    library: str,
    monkeypatch: pytest.MonkeyPatch,
    range_: str,
) -> None:
    monkeypatch.setenv("FAKE_NVDEC", range_)  # NVDEC gives the range that is in the stream
    coded = {"limited": "yuv420p", "full": "yuvj420p"}[range_]
    video = make_video(f"{coded}.mp4", *CODING, coded, seconds=2)
    want = [small(picture) for picture in every_picture(video)]
    reader = a_reader(read_address(start_rtsp(video).url()), library)
    reader.open()
    found = pictures(reader, 20)
    reader.close()
    assert {picture.shape for picture in found} == {(360, 640, 3)}
    seen = [which(picture, want) for picture in found]
    assert max(apart for _, apart in seen) < 1
    steps = {(after - before) % len(want) for (before, _), (after, _) in pairwise(seen)}
    assert steps == {1}


def test_a_picture_that_nobody_wants_is_not_brought(
    start_rtsp: StartRtsp, make_video: MakeVideo, library: str
) -> None:
    reader = a_reader(read_address(start_rtsp(make_video("gop1.mp4")).url()), library)
    reader.open()
    for _ in range(5):
        assert reader.grab()
    assert os.fstat(reader._memory).st_size == 0
    assert reader.retrieve() is not None
    assert os.fstat(reader._memory).st_size == 640 * 360 * 3 // 2
    reader.close()


def test_a_password_stands_in_no_argument_environment_or_link(
    start_rtsp: StartRtsp, make_video: MakeVideo, library: str
) -> None:
    server = start_rtsp(make_video("gop1.mp4"), login="me:Gehe1m")
    reader = a_reader(read_address(server.url(login="me:Gehe1m")), library)
    reader.open()
    assert pictures(reader, 2)
    assert reader.process
    assert reader.pipe.process
    for process in (reader.process, reader.pipe.process):
        proc = Path(f"/proc/{process.pid}")
        said = [(proc / name).read_bytes() for name in ("cmdline", "environ")]
        said += [str(link.readlink()).encode() for link in (proc / "fd").iterdir()]
        assert not [line for line in said if b"Gehe1m" in line]
    assert b"decode-child" in Path(f"/proc/{reader.process.pid}/cmdline").read_bytes()
    reader.close()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_it_leaves_nothing_behind(
    start_rtsp: StartRtsp, make_video: MakeVideo, library: str
) -> None:
    reader = a_reader(read_address(start_rtsp(make_video("gop1.mp4")).url()), library)
    open_before = open_files()
    reader.open()
    assert pictures(reader, 3)
    reader.close()
    reader.close()
    assert open_files() == open_before
    for process in (reader.process, reader.pipe.process):
        assert process
        assert process.returncode is not None


HOLD = """
import sys, time
from edge.sources.camera_address import read_address
from tests.sources.pynv_rig import a_reader
reader = a_reader(read_address(sys.argv[1]), sys.argv[2])
reader.open()
assert reader.grab()
print(reader.process.pid, reader.pipe.process.pid, flush=True)
time.sleep(600)
"""


def is_over(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def test_a_box_that_is_killed_leaves_no_child_behind(
    start_rtsp: StartRtsp, make_video: MakeVideo, library: str
) -> None:
    url = start_rtsp(make_video("gop1.mp4")).url()
    box = subprocess.Popen(
        [sys.executable, "-c", HOLD, url, library], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert box.stdout
    children = [int(pid) for pid in box.stdout.readline().split()]
    box.kill()
    box.wait()
    box.stdout.close()
    end = time.monotonic() + PATIENCE
    while not all(map(is_over, children)) and time.monotonic() < end:
        time.sleep(0.05)
    assert len(children) == 2
    assert all(map(is_over, children))


def test_a_camera_that_dies_ends_the_stream(
    start_rtsp: StartRtsp, make_video: MakeVideo, library: str
) -> None:
    server = start_rtsp(make_video("gop1.mp4"))
    reader = a_reader(read_address(server.url()), library)
    reader.open()
    assert pictures(reader, 3)
    server.kill()
    began = time.monotonic()
    assert len(pictures(reader, 10_000)) < 200
    assert time.monotonic() - began < PATIENCE
    assert not reader.grab()
    reader.close()


@pytest.mark.parametrize("moment", ["while it opens", "while it reads"])
def test_an_interrupt_ends_it_at_once(
    start_rtsp: StartRtsp, make_video: MakeVideo, library: str, moment: str
) -> None:
    server = start_rtsp(make_video("gop1.mp4"))
    reader = a_reader(read_address(server.url()), library)
    if moment == "while it opens":
        server.do("stall", "cam0")
        threading.Timer(0.5, reader.interrupt).start()
        with pytest.raises(PartFailed):
            reader.open()
    else:
        reader.open()
        assert pictures(reader, 3)
        server.do("stall", "cam0")
        threading.Timer(0.5, reader.interrupt).start()
        began = time.monotonic()
        while reader.grab():
            pass
        assert time.monotonic() - began < READ_TIMEOUT - 1
    reader.close()
    assert reader.process
    assert reader.process.returncode == -signal.SIGKILL


def test_one_that_was_interrupted_before_opens_nothing(
    start_rtsp: StartRtsp, make_video: MakeVideo, library: str
) -> None:
    reader = a_reader(read_address(start_rtsp(make_video("gop1.mp4")).url()), library)
    reader.interrupt()
    began = time.monotonic()
    with pytest.raises(PartFailed):
        reader.open()
    assert time.monotonic() - began < PATIENCE / 2
    reader.close()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("raise:7", "the GPU's decoder failed: PyNvVideoCodec fails at decoding: CUDA_ERROR_UNKN"),
        ("crash:7", "the GPU's decoder failed: the process that decodes died of SIGSEGV"),
        ("deep", "the GPU's decoder failed: pictures of the kind Pixel_Format.P016 are not for it"),
        ("other", "the GPU's decoder failed: its first picture is not what the processor makes"),
    ],
)
def test_what_fails_in_mid_stream_hands_the_camera_to_the_processor(
    start_rtsp: StartRtsp,
    make_video: MakeVideo,
    library: str,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    words: str,
) -> None:
    monkeypatch.setenv("FAKE_NVDEC", fault)
    address = read_address(start_rtsp(make_video("gop1.mp4")).url())
    decoding = GpuDecoding("gate")
    way = Way("PyNvVideoCodec", lambda: "", lambda: a_reader(address, library))
    reader = GpuReader(decoding, ways=[way], processor=by_cpu(address))
    reader.open()
    assert len(pictures(reader, 100)) < 10
    reader.close()
    assert decoding.given_up.startswith(words)
    again = GpuReader(decoding, ways=[way], processor=by_cpu(address))
    again.open()
    assert len(pictures(again, 5)) == 5
    again.close()


def test_a_driver_that_hangs_ends_with_the_time_for_reading(
    start_rtsp: StartRtsp, make_video: MakeVideo, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NVDEC", "hang:4")
    reader = a_reader(read_address(start_rtsp(make_video("gop1.mp4")).url()), library)
    reader._read_timeout = 2.0
    reader.open()
    began = time.monotonic()
    assert len(pictures(reader, 100)) < 5
    assert time.monotonic() - began < PATIENCE
    reader.close()


def test_what_the_library_says_of_a_gpu_that_is_not_there_is_told(
    start_rtsp: StartRtsp, make_video: MakeVideo, library: str
) -> None:
    address = read_address(start_rtsp(make_video("gop1.mp4")).url())
    reader = a_reader(address, library, device=1)
    reader.open()
    with pytest.raises(PartFailed, match="fails at its start: GPU ordinal out of range"):
        reader.grab()
    reader.close()


def test_without_the_library_it_says_so(
    start_rtsp: StartRtsp, make_video: MakeVideo, tmp_path: Path
) -> None:
    reader = a_reader(read_address(start_rtsp(make_video("gop1.mp4")).url()), str(tmp_path))
    with pytest.raises(PartFailed, match="PyNvVideoCodec cannot be imported: No module named"):
        reader.open()
    reader.close()


def test_a_box_without_a_driver_says_so() -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU here")
    assert why_not() == "there is no NVIDIA driver on this box"
