"""Video files: paced or as fast as possible, of every odd kind."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from edge.config.sources import CameraConfig
from edge.contracts import Picture
from edge.errors import PartFailed
from edge.event import FRAME_TAKEN, Event, Outcome
from edge.frame import Frame, Pixels
from edge.ops.metrics import Metrics
from edge.sources.camera import Camera
from edge.sources.capture_opencv import OpenCvReader
from tests.places import need, shared
from tests.sources.conftest import PATIENCE, MakeVideo, Watch, frame_of


def play(path: Path | str, **config: object) -> Camera:
    section = {"kind": "camera", "url": str(path), "pace": "fast", **config}
    settings = CameraConfig.model_validate(section)
    return Camera("clip", settings, metrics=Metrics(), origin="/site/box")


async def every_event(camera: Camera) -> AsyncIterator[Event[Picture]]:
    async with asyncio.timeout(PATIENCE):
        async for event in camera.events():
            yield event
            await camera.settle(event, Outcome.DONE)


async def every_frame(camera: Camera) -> list[Frame]:
    return [frame_of(event) async for event in every_event(camera)]


def film_it(path: Path, *inputs: str) -> None:
    command = [need("ffmpeg", "ffmpeg"), "-v", "error", *inputs, "-c:v", "libx264"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", str(path)], check=True)


async def test_a_fast_file_gives_every_frame_with_its_own_time() -> None:
    path = shared("data/seq-dev/worker_zone.mp4")
    camera = play(path)
    assert not camera.live
    events = [event async for event in every_event(camera)]
    assert len(events) == 71
    first, last = events[0], events[-1]
    assert first.data.taken_at.timestamp() == pytest.approx(path.stat().st_mtime, abs=1e-3)
    shown_for = last.data.taken_at - first.data.taken_at
    assert shown_for.total_seconds() == pytest.approx(70 / 15, abs=1e-3)
    assert (first.type, first.source, first.subject) == (FRAME_TAKEN, "/site/box/clip", "clip")
    assert first.id == f"clip-{first.data.taken_at:%Y%m%dT%H%M%S.%fZ}"
    assert camera.status().state == "finished"
    assert camera.status().counts["offered"] == 71


async def test_a_frame_that_is_not_wanted_is_not_decoded_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, asked, decode = 0, itertools.count(), OpenCvReader.retrieve

    def retrieve(reader: OpenCvReader) -> Pixels | None:
        nonlocal whole
        whole += 1
        return decode(reader)

    def wanted() -> bool:
        return next(asked) % 10 == 0

    monkeypatch.setattr(OpenCvReader, "retrieve", retrieve)
    for pace, frames in (("real_time", 8), ("fast", 71)):
        section = {"kind": "camera", "url": str(shared("data/seq-dev/worker_zone.mp4"))}
        settings = CameraConfig.model_validate({**section, "pace": pace})
        camera = Camera("c", settings, metrics=Metrics(), origin="/s/b", wanted=wanted)
        whole = 0
        assert len(await every_frame(camera)) == frames == whole, "a fast file loses none"
        counts = camera.status().counts
        assert (counts["read"], counts["skipped"]) == (71, 71 - frames)
        assert camera.status().state == "finished"


async def test_the_same_file_gives_the_same_events_again() -> None:
    path = shared("data/odd/video_vfr.mp4")
    rounds = [[event.id async for event in every_event(play(path))] for _ in range(2)]
    assert rounds[0] == rounds[1]
    assert len(set(rounds[0])) == 30


async def test_pixels_cannot_be_written() -> None:
    frame = (await every_frame(play(shared("data/odd/video_one_frame.mp4"))))[0]
    with pytest.raises(ValueError, match="read-only"):
        frame.pixels[0, 0] = 0


async def test_a_fast_file_waits_until_its_frames_are_settled() -> None:
    camera = play(shared("data/seq-dev/worker_zone.mp4"))
    taken: list[Event[Picture]] = []

    async def take() -> None:
        async for event in camera.events():
            taken.append(event)  # noqa: PERF401 (looked at while it goes on)

    task = asyncio.create_task(take())
    await asyncio.sleep(0.5)
    held = len(taken)
    assert 1 <= held <= 8
    await camera.settle(taken[0], Outcome.DONE)
    await camera.settle(taken[0], Outcome.DONE)  # a second time makes no second room
    await asyncio.sleep(0.3)
    assert len(taken) == held + 1
    assert camera.status().counts["newer"] == 0
    await camera.close()
    await asyncio.wait_for(task, PATIENCE)


async def test_a_file_in_real_time_takes_as_long_as_it_lasts(watch: Watch) -> None:
    viewer = watch(shared("data/odd/video_vfr.mp4"))
    await viewer.frames()
    await viewer.state("finished")
    # 15 frames in the first second, then the rest ever slower: 5.5 s together.
    assert len(viewer.times) >= 28
    lasted = viewer.times[-1] - viewer.times[0]
    assert 4.5 < lasted < 8
    assert len(set(viewer.ids)) == len(viewer.ids)


async def test_a_looped_file_goes_on_with_new_times() -> None:
    camera = play(shared("data/odd/video_one_frame.mp4"), loop=True)
    times = []
    async for event in every_event(camera):
        times.append(event.data.taken_at)
        if len(times) == 5:
            await camera.close()
    assert len(set(times)) == 5
    assert times == sorted(times)


async def test_sampling_thins_a_file_by_its_own_time() -> None:
    path = shared("data/seq-dev/worker_zone.mp4")
    assert len(await every_frame(play(path, every=2))) == 36
    by_rate = await every_frame(play(path, fps=5))
    assert len(by_rate) == 24
    gaps = {
        round((late.taken_at - early.taken_at).total_seconds(), 2)
        for early, late in itertools.pairwise(by_rate)
    }
    assert gaps == {0.2}


async def test_rotation_in_the_metadata_is_honoured() -> None:
    frames = await every_frame(play(shared("data/odd/video_rotated90_metadata.mp4")))
    assert {frame.size for frame in frames} == {(270, 480)}


@pytest.mark.parametrize(
    ("name", "frames", "size"),
    [
        ("video.ts", 30, (480, 270)),
        ("video_hevc.mp4", 30, (480, 270)),
        ("video_hevc_10bit.mp4", 30, (480, 270)),
        ("video_mjpeg.avi", 30, (480, 270)),
        ("video_odd_yuv444.mp4", 30, (479, 269)),
        ("video_one_frame.mp4", 1, (480, 270)),
        ("video_with_audio.mp4", 30, (480, 270)),
        ("video_truncated.mp4", 28, (480, 270)),
    ],
)
async def test_a_rare_video_gives_its_frames(name: str, frames: int, size: tuple[int, int]) -> None:
    got = await every_frame(play(shared(f"data/odd/{name}")))
    assert len(got) == frames
    assert {frame.size for frame in got} == {size}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("data/odd/video_no_moov.mp4", "no video"),
        ("data/odd/video_zero_byte.mp4", "empty"),
        ("data/odd/audio_only.mp4", "no video"),
        ("data/odd/zero_byte.jpg", "empty"),
        ("data/README.md", "no video"),
        ("data/odd", "no video file"),
    ],
)
async def test_a_broken_file_fails_with_a_reason_and_a_hint(name: str, said: str) -> None:
    camera = play(shared(name))
    with pytest.raises(PartFailed, match=said) as caught:
        await every_frame(camera)
    status = camera.status()
    assert (status.state, status.reason) == ("failed", str(caught.value))
    assert status.hint


async def test_a_pipe_instead_of_a_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.mp4")
    with pytest.raises(PartFailed, match="no video file"):
        await every_frame(play(tmp_path / "clip.mp4"))


async def test_a_file_that_is_not_there_fails_with_its_name() -> None:
    with pytest.raises(PartFailed, match=r"no such file: /nowhere/clip\.mp4"):
        await every_frame(play("/nowhere/clip.mp4"))


async def test_a_missing_device_is_waited_for_and_says_what_to_do(watch: Watch) -> None:
    viewer = watch("v4l2:///dev/video99")
    await viewer.state("waiting")
    status = viewer.camera.status()
    assert status.reason == "no such device: /dev/video99"
    assert "plugged in" in status.hint


async def test_what_is_no_camera_device_is_said_to_be_none(tmp_path: Path, watch: Watch) -> None:
    (tmp_path / "video0").write_bytes(b"no camera")
    viewer = watch(f"v4l2://{tmp_path}/video0")
    await viewer.state("waiting")
    assert "no video file or camera" in viewer.camera.status().reason


async def test_after_a_change_of_resolution_the_whole_picture_is_seen(tmp_path: Path) -> None:
    """OpenCV scales to the size at the start; nothing of it may be stale, cut off or invented."""
    film = tmp_path / "change.ts"
    with film.open("wb") as whole:
        for size, colour in (("640x360", "red"), ("320x240", "lime"), ("1280x720", "blue")):
            part = tmp_path / f"{colour}.ts"
            film_it(part, "-f", "lavfi", "-i", f"color={colour}:s={size}:r=15:d=1")
            whole.write(part.read_bytes())
    frames = await every_frame(play(film))
    assert len(frames) >= 43
    strongest = []
    for frame in frames:
        flat = frame.pixels.reshape(-1, 3)
        assert np.ptp(flat, axis=0).max() < 12, "one colour was filmed, more are seen"
        strongest.append("bgr"[int(flat[0].argmax())])
    assert "".join(sorted(set(strongest), key=strongest.index)) == "rgb"


async def test_a_recording_whose_video_begins_late_is_played(tmp_path: Path) -> None:
    film = tmp_path / "late.ts"
    sound = ("-f", "lavfi", "-i", "sine=d=4")
    film_it(film, *sound, "-itsoffset", "1.5", "-f", "lavfi", "-i", "testsrc2=s=320x240:r=15:d=2")
    assert len(await every_frame(play(film))) == 30


async def test_a_stream_without_timestamps_still_has_positions(make_video: MakeVideo) -> None:
    frames = await every_frame(play(make_video("bare.h264", seconds=2)))
    assert len({frame.taken_at for frame in frames}) == len(frames) == 30
    lasted = (frames[-1].taken_at - frames[0].taken_at).total_seconds()
    assert 0.5 < lasted < 4


async def test_a_disabled_camera_gives_nothing_and_says_so() -> None:
    camera = play("/nowhere/clip.mp4", enabled=False)
    assert await every_frame(camera) == []
    assert camera.status().state == "disabled"


async def test_an_address_that_leads_out_of_a_file_is_not_followed(tmp_path: Path) -> None:
    """A playlist dropped as a video must not make the box open other protocols."""
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttps://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(PartFailed):
        await every_frame(play(playlist))


def test_opencv_is_allowed_no_protocol_with_tls() -> None:
    options = os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"]
    protocols = options.partition("protocol_whitelist;")[2].partition("|")[0].split(",")
    assert {"rtsp", "http"} <= set(protocols)
    assert not {"tls", "https", "rtsps", "crypto"} & set(protocols)
