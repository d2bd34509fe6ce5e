"""The real PyNvVideoCodec, on a driver of ours that knows what each packet shows.

It shows that our code and the library fit together: names, arguments, packets made by hand, the
layout of pictures, what it raises, and what it does at a change of resolution. It does not show
that NVDEC decodes, nor any time. Skipped where the library is not installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.errors import PartFailed
from tests.gpu import nvdec
from tests.gpu.fakes import TIMEOUT_S
from tests.places import ROOT
from tests.sources.pynv_rig import a_stream, every_picture, from_file, pictures, small, which

pytestmark = pytest.mark.timeout(TIMEOUT_S)  # it may wait until the library is there


@pytest.fixture(scope="module")
def library() -> str:
    return nvdec.library_path()


@pytest.fixture(scope="module")
def driver(library: str, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001
    return nvdec.build(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def with_driver(driver: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let children have the driver; this process has none."""
    for name, value in nvdec.environment(driver).items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def shown(video: Path, *parts: Path) -> str:
    """Write what the packets of a stream show; return where."""
    path = video.with_suffix(".shown")
    path.write_bytes(b"".join(nvdec.records(part) for part in parts or (video,)))
    return str(path)


@pytest.mark.parametrize(("codec", "coder"), [("h264", "libx264"), ("hevc", "libx265")])
def test_its_pictures_are_those_of_the_stream_in_their_order(
    with_driver: pytest.MonkeyPatch, library: str, tmp_path: Path, codec: str, coder: str
) -> None:
    video = tmp_path / f"a.{codec}"
    a_stream(video, "640x360", coder=coder)
    with_driver.setenv("FAKE_NVCUVID", shown(video))
    reader = from_file(video, library)
    reader.open()
    found = pictures(reader, 100)
    reader.close()
    want = every_picture(video)
    assert len(found) == len(want) - 1  # the last is on its way when the stream ends
    for picture, other in zip(found, want, strict=False):
        assert np.abs(small(picture) - small(other)).max() <= 6


@pytest.mark.parametrize("sizes", [("640x360", "320x180"), ("320x180", "640x362")])
def test_a_change_of_resolution_changes_its_pictures(
    with_driver: pytest.MonkeyPatch, library: str, tmp_path: Path, sizes: tuple[str, str]
) -> None:
    mixed = tmp_path / "mixed.h264"
    a_stream(mixed, *sizes)
    parts = []
    for size in sizes:
        part = tmp_path / size / "part.h264"
        part.parent.mkdir()
        part.write_bytes(mixed.with_suffix(f".{size}").read_bytes())
        parts.append(part)
    with_driver.setenv("FAKE_NVCUVID", shown(mixed, *parts))
    reader = from_file(mixed, library)
    reader.open()
    found = pictures(reader, 100)
    reader.close()
    shapes = [f"{picture.shape[1]}x{picture.shape[0]}" for picture in found]
    assert shapes == [sizes[0]] * 9 + [sizes[1]] * 9
    for part, size in zip(parts, sizes, strict=True):
        want = [small(picture) for picture in every_picture(part)]
        seen = [which(one, want) for one, shape in zip(found, shapes, strict=True) if shape == size]
        assert [number for number, _ in seen] == list(range(9))
        assert max(apart for _, apart in seen) < 2


def test_what_it_raises_in_mid_stream_is_told(
    with_driver: pytest.MonkeyPatch, library: str, tmp_path: Path
) -> None:
    video = tmp_path / "a.h264"
    a_stream(video, "640x360")
    with_driver.setenv("FAKE_NVCUVID", shown(video))
    with_driver.setenv("FAKE_NVCUVID_FAIL", "5")
    reader = from_file(video, library)
    reader.open()
    with pytest.raises(PartFailed, match=r"PyNvVideoCodec fails at decoding: .+") as caught:
        pictures(reader, 100)
    reader.close()
    assert "\n" not in str(caught.value)


def asked(environment: dict[str, str], library: str) -> str:
    ask = "from edge.sources.capture_pynvvideocodec import why_not as ask"
    said = subprocess.run(
        [sys.executable, "-c", f"{ask}; print(ask({library!r}))"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return said.stdout.strip()


def test_it_may_be_tried_where_the_driver_has_all_that_it_needs(
    driver: Path, library: str, tmp_path: Path
) -> None:
    assert not asked(nvdec.environment(driver), library)
    poor = tmp_path / "poor"
    poor.mkdir()
    (poor / "libcuda.so.1").symlink_to(driver / "libcuda.so.1")
    why = asked(nvdec.environment(poor), library)
    assert why.startswith("PyNvVideoCodec cannot be imported: Failed to load NVENC library")


NAMES = """
import enum
import PyNvVideoCodec as real
from tests.gpu import fake_pynvvideocodec as fake
for name, ours in vars(fake).items():
    if getattr(ours, "__module__", "") != fake.__name__ or name.startswith("_"):
        continue
    theirs = getattr(real, name)
    if isinstance(ours, enum.EnumMeta):
        for one in ours:
            assert int(theirs.__members__[one.name]) == one.value, (name, one)
    elif isinstance(ours, type):
        for part in vars(ours):
            assert part.startswith("_") or hasattr(theirs, part), (name, part)
    print(name)
"""


def test_the_library_of_ours_has_no_name_that_it_lacks(driver: Path, library: str) -> None:
    said = subprocess.run(
        [sys.executable, "-c", NAMES],
        env=nvdec.environment(driver) | {"PYTHONPATH": f"{ROOT}{os.pathsep}{library}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert not said.returncode, said.stderr
    assert {"CreateDecoder", "PacketData", "DecodedFrame", "Pixel_Format"} <= set(
        said.stdout.split()
    )
