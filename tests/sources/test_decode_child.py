"""What the process that decodes with PyNvVideoCodec makes of streams that no camera at hand has."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import PartFailed
from edge.sources.decode_child import by_processor, sequence_in
from tests.places import need
from tests.sources.pynv_rig import (
    a_library,
    a_stream,
    every_picture,
    from_file,
    pictures,
    small,
    which,
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return a_library(tmp_path_factory.mktemp("site"))


@pytest.mark.parametrize("sizes", [("640x360", "320x180"), ("320x180", "640x362")])
def test_a_change_of_resolution_changes_the_pictures(
    tmp_path: Path, library: str, sizes: tuple[str, str]
) -> None:
    mixed = tmp_path / "mixed.h264"
    a_stream(mixed, *sizes)
    reader = from_file(mixed, library)
    reader.open()
    found = pictures(reader, 100)
    reader.close()
    shapes = [f"{picture.shape[1]}x{picture.shape[0]}" for picture in found]
    assert shapes == [sizes[0]] * 9 + [sizes[1]] * 9  # each one's last is on its way at its end
    for size in sizes:
        want = [small(picture) for picture in every_picture(mixed.with_suffix(f".{size}"))]
        seen = [which(one, want) for one, shape in zip(found, shapes, strict=True) if shape == size]
        assert [number for number, _ in seen] == list(range(9))
        assert max(apart for _, apart in seen) < 2


def test_h265_is_decoded_too(tmp_path: Path, library: str) -> None:
    video = tmp_path / "a.hevc"
    a_stream(video, "640x360", coder="libx265")
    reader = from_file(video, library)
    reader.open()
    found = pictures(reader, 100)
    reader.close()
    assert len(found) == 9
    want = [small(picture) for picture in every_picture(video)]
    assert [which(picture, want)[0] for picture in found] == list(range(9))


def test_parameters_may_come_beside_the_stream_alone(tmp_path: Path, library: str) -> None:
    """As with cameras that describe their stream when it is opened, and never in it."""
    video = tmp_path / "a.h264"
    a_stream(video, "640x360")
    reader = from_file(video, library, "-bsf:v", "filter_units=remove_types=7-8")
    reader.open()
    assert len(pictures(reader, 100)) == 9
    reader.close()


def test_another_codec_is_refused(tmp_path: Path, library: str) -> None:
    video = tmp_path / "a.avi"
    source = ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=10:d=1"]
    ffmpeg = [need("ffmpeg", "ffmpeg"), "-v", "error"]
    subprocess.run([*ffmpeg, *source, "-c:v", "mpeg4", video], check=True)
    reader = from_file(video, library)
    with pytest.raises(PartFailed, match=r"mp4v|mpeg4|fmp4") as caught:
        reader.open()
    reader.close()
    assert caught.value.reason == "no_video"


def test_a_camera_without_video_is_not_opened(tmp_path: Path, library: str) -> None:
    video = tmp_path / "a.h264"
    video.write_bytes(b"\0" * 1000)
    reader = from_file(video, library)
    with pytest.raises(PartFailed, match="no video came"):
        reader.open()
    reader.close()


@pytest.mark.parametrize("coder", ["libx264", "libx265"])
def test_a_sequences_parameters_are_found(tmp_path: Path, coder: str) -> None:
    codec = {"libx264": "h264", "libx265": "hevc"}[coder]
    found = []
    for size in ("640x360", "320x180", "640x360"):
        path = tmp_path / f"a.{codec}"
        a_stream(path, size, coder=coder)
        found.append(sequence_in(np.frombuffer(path.read_bytes(), np.uint8), codec))
    assert found[0] == found[2] != found[1]
    assert all(10 < len(one) < 100 for one in found)


@pytest.mark.parametrize(
    "packet", [b"", b"\0\0\1", b"\0\0\0\1\x65abc", b"abc", b"\0\0\1\x67", b"\0\0\1\x41\0\0\1\x67a"]
)
def test_a_packet_without_parameters_has_none(packet: bytes) -> None:
    data = np.frombuffer(packet, np.uint8)
    assert sequence_in(data, "h264") == (b"\x67" if packet == b"\0\0\1\x67" else b"")
    assert by_processor(data, "h264") is None


@pytest.mark.parametrize(("codec", "coder"), [("h264", "libx264"), ("hevc", "libx265")])
def test_the_processor_makes_a_picture_of_any_packet_that_begins_anew(
    tmp_path: Path, codec: str, coder: str
) -> None:
    """Of open groups of pictures, too, whose first one alone FFmpeg does not take for video."""
    video = tmp_path / f"open.{codec}"
    source = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=10:d=3"]
    coding = ["-c:v", coder, f"-{coder[3:]}-params", "open-gop=1:keyint=10:bframes=2:log-level=0"]
    ffmpeg = [need("ffmpeg", "ffmpeg"), "-v", "error"]
    subprocess.run([*ffmpeg, *source, *coding, "-pix_fmt", "yuv420p", video], check=True)
    raw = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    made = []
    while raw.grab():
        whole, packet = raw.retrieve()
        if whole and raw.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME):
            made.append(by_processor(np.asarray(packet, np.uint8).reshape(-1), codec))
    assert len(made) >= 3
    assert {None if one is None else one.shape for one in made} == {(180, 320, 3)}
