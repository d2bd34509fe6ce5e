"""RTSP cameras: how they die, and how they come back. Frames come 15 a second, a GOP is 1 s."""

from __future__ import annotations

import asyncio
import itertools
import threading

import pytest

from edge.config.sources import CameraConfig
from edge.ops.metrics import Metrics
from edge.sources.camera import Camera
from tests.places import free_port
from tests.servers.rtsp import StartRtsp
from tests.sources.conftest import MakeVideo, Viewer, Watch, frame_of

GOP = 1.0
FAST_BACK = GOP + 0.3
ROOM = 1.2
"""Seconds that a busy test machine is granted on top of what is promised."""


def threads_of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"camera-{name}"]


def value(viewer: Viewer, metric: str) -> float | None:
    return viewer.metrics.registry.get_sample_value(metric, {"source": "gate"})


async def test_an_h264_camera_streams(
    start_rtsp: StartRtsp, make_video: MakeVideo, watch: Watch
) -> None:
    server = start_rtsp(make_video("gop1.mp4"))
    viewer = watch(server.url())
    await viewer.frames(20)
    status = viewer.camera.status()
    assert (status.state, status.size, status.reason) == ("streaming", (640, 360), "")
    assert status.where == server.url()
    assert 5 < status.fps < 40
    assert status.last_picture_at
    assert len(set(viewer.ids)) == len(viewer.ids)
    assert value(viewer, "edge_source_up") == 1
    assert len(threads_of("gate")) == 1


async def test_an_h265_camera_streams(
    serve_rtsp: StartRtsp, make_video: MakeVideo, watch: Watch
) -> None:
    video = make_video("hevc.mp4", "-c:v", "libx265", "-x265-params", "log-level=none:keyint=15")
    viewer = watch(
        serve_rtsp(
            f"( filesrc location={video} ! qtdemux ! h265parse ! rtph265pay name=pay0 pt=96 )"
        ).url()
    )
    await viewer.frames(20)
    assert viewer.camera.status().size == (640, 360)


async def test_a_hang_is_noticed_in_time_and_the_camera_returns_within_a_gop(
    start_rtsp: StartRtsp, make_video: MakeVideo, watch: Watch
) -> None:
    server = start_rtsp(make_video("gop1.mp4"))
    viewer = watch(server.url(), stall_after="1s")
    await viewer.frames(10)
    await asyncio.to_thread(server.do, "stall", "cam0")
    noticed = await viewer.state("stalled")
    assert 0.9 < noticed - viewer.times[-1] < 1.2 + ROOM
    assert value(viewer, "edge_source_up") == 0
    seen = len(viewer.times)
    await asyncio.sleep(1.5)
    assert len(viewer.times) == seen, "a late frame of the abandoned capture was delivered"
    began = asyncio.get_running_loop().time()
    await asyncio.to_thread(server.do, "resume", "cam0")
    back = await viewer.frames()
    assert back - began < FAST_BACK + ROOM
    await viewer.state("streaming")
    assert viewer.camera.status().counts["stalls"] == 1
    assert value(viewer, "edge_source_stalls_total") == 1
    assert value(viewer, "edge_source_reconnects_total") == 1


async def test_a_camera_that_hangs_for_long_piles_up_no_threads(
    start_rtsp: StartRtsp, make_video: MakeVideo, watch: Watch
) -> None:
    server = start_rtsp(make_video("gop1.mp4"))
    viewer = watch(server.url(), stall_after="300ms", open_timeout="300ms")
    await viewer.frames(5)
    await asyncio.to_thread(server.do, "stall", "cam0")
    most = 0
    for _ in range(40):
        await asyncio.sleep(0.1)
        most = max(most, len(threads_of("gate")))
    assert 1 <= most <= 3
    await asyncio.to_thread(server.do, "resume", "cam0")
    await viewer.frames(5)


async def test_a_camera_that_closes_the_stream_is_opened_again(
    start_rtsp: StartRtsp, make_video: MakeVideo, watch: Watch
) -> None:
    server = start_rtsp(make_video("gop1.mp4"))
    viewer = watch(server.url())
    await viewer.frames(5)
    for _ in range(2):
        gone = asyncio.get_running_loop().time()
        await asyncio.to_thread(server.do, "kick")
        await viewer.state("waiting")
        assert "ended the stream" in viewer.camera.status().reason
        assert await viewer.frames() - gone < FAST_BACK + ROOM
        await viewer.frames(5)
    assert viewer.camera.status().counts["reconnects"] == 2


async def test_a_removed_stream_is_named_and_found_again(
    start_rtsp: StartRtsp, make_video: MakeVideo, watch: Watch
) -> None:
    server = start_rtsp(make_video("gop1.mp4"))
    viewer = watch(server.url())
    await viewer.frames(5)
    await asyncio.to_thread(server.do, "drop", "cam0")
    await viewer.until(lambda: "404" in viewer.camera.status().reason)
    assert "path" in viewer.camera.status().hint
    await asyncio.sleep(2)
    began = asyncio.get_running_loop().time()
    await asyncio.to_thread(server.do, "add", "cam0")
    assert await viewer.frames() - began < FAST_BACK + ROOM


async def test_a_camera_that_loses_power_is_back_soon_after_its_start(
    start_rtsp: StartRtsp,
    make_video: MakeVideo,
    watch: Watch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = start_rtsp(make_video("gop1.mp4"))
    caplog.set_level("INFO", "edge")
    viewer = watch(server.url())
    await viewer.frames(5)
    await asyncio.to_thread(server.kill)
    await viewer.until(lambda: "nobody listens" in viewer.camera.status().reason)
    await asyncio.sleep(2)
    await asyncio.to_thread(server.start)
    began = asyncio.get_running_loop().time()
    assert await viewer.frames() - began < FAST_BACK + ROOM
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2, lines
    assert "ended the stream" in lines[0]
    assert "recovered after" in lines[1]


async def test_a_camera_that_is_switched_on_later_is_found(
    start_rtsp: StartRtsp, make_video: MakeVideo, watch: Watch
) -> None:
    server = start_rtsp(make_video("gop1.mp4"))
    server.kill()
    viewer = watch(server.url())
    await viewer.state("waiting")
    status = viewer.camera.status()
    assert status.reason == f"nobody listens at 127.0.0.1:{server.port}"
    assert status.hint
    await asyncio.to_thread(server.start)
    await viewer.frames(5)


@pytest.mark.parametrize(("login", "said"), [("", "asks for a user"), ("me:wrong", "refuses")])
async def test_a_login_that_is_refused_is_said_to_be(
    start_rtsp: StartRtsp, make_video: MakeVideo, watch: Watch, login: str, said: str
) -> None:
    server = start_rtsp(make_video("gop1.mp4"), login="me:S3cret")
    viewer = watch(server.url(login=login))
    await viewer.state("waiting")
    status = viewer.camera.status()
    assert said in status.reason
    assert "401" in status.reason
    right = watch(server.url(login="me:S3cret"), name="right")
    await right.frames(3)


async def test_a_name_that_nobody_knows_is_said_to_be_unknown(watch: Watch) -> None:
    viewer = watch("rtsp://no-such-camera.invalid/cam0")
    await viewer.state("waiting")
    assert viewer.camera.status().reason == "the name no-such-camera.invalid is not known"


async def test_a_peer_that_is_no_camera_is_said_to_be_none(watch: Watch) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", port := free_port()):
        viewer = watch(f"rtsp://127.0.0.1:{port}/cam0")
        await viewer.state("waiting")
        assert "no answer that can be understood" in viewer.camera.status().reason
        await viewer.end()


async def test_a_peer_that_accepts_and_is_silent_holds_no_thread_for_good(watch: Watch) -> None:
    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(be_silent, "127.0.0.1", port := free_port()):
        viewer = watch(f"rtsp://127.0.0.1:{port}/cam0", open_timeout="500ms", stall_after="500ms")
        await viewer.until(lambda: "sends nothing for 0.5 s" in viewer.camera.status().reason)
        await viewer.end()
        await viewer.until(lambda: not threads_of("gate"))


async def test_a_camera_that_hangs_holds_up_no_other(
    start_rtsp: StartRtsp, make_video: MakeVideo, watch: Watch
) -> None:
    """OpenCV opens one stream at a time: a hanging one must not be among them."""
    servers = [start_rtsp(make_video("gop1.mp4")) for _ in range(2)]
    hanging = watch(servers[0].url(), name="hanging", stall_after="500ms", open_timeout="10s")
    await hanging.frames(3)
    await asyncio.to_thread(servers[0].do, "stall", "cam0")
    await hanging.state("stalled")
    await asyncio.sleep(0.5)
    began = asyncio.get_running_loop().time()
    other = watch(servers[1].url(), name="other")
    assert await other.frames() - began < 3
    assert hanging.camera.status().state == "stalled"


async def test_closing_ends_the_frames_within_a_second_even_in_a_hang(
    start_rtsp: StartRtsp, make_video: MakeVideo, watch: Watch
) -> None:
    server = start_rtsp(make_video("gop1.mp4"))
    viewer = watch(server.url(), stall_after="3s")
    await viewer.frames(5)
    await asyncio.to_thread(server.do, "stall", "cam0")
    await asyncio.sleep(0.3)
    began = asyncio.get_running_loop().time()
    await viewer.end()
    assert asyncio.get_running_loop().time() - began < 1 + ROOM
    assert viewer.camera.status().state == "finished"
    await viewer.until(lambda: not threads_of("gate"))


async def test_a_slow_reader_sees_the_newest_frame_and_the_rest_is_counted(
    start_rtsp: StartRtsp, make_video: MakeVideo
) -> None:
    server = start_rtsp(make_video("gop1.mp4"))
    metrics = Metrics()
    section = CameraConfig.model_validate({"kind": "camera", "url": server.url()})
    camera = Camera("gate", section, metrics=metrics, origin="/site/box")
    taken = []
    async for event in camera.events():
        assert frame_of(event).live
        taken.append(event.data.taken_at)
        await asyncio.sleep(0.5)
        if len(taken) == 5:
            await camera.close()
    gaps = [(late - early).total_seconds() for early, late in itertools.pairwise(taken)]
    assert all(gap > 0.3 for gap in gaps)
    dropped = metrics.registry.get_sample_value(
        "edge_pictures_dropped_total", {"source": "gate", "reason": "newer"}
    )
    assert dropped
    assert dropped == camera.status().counts["newer"] >= 15


async def test_eight_cameras_stream_at_once_in_one_process(
    start_rtsp: StartRtsp, make_video: MakeVideo, watch: Watch
) -> None:
    server = start_rtsp(make_video("gop1.mp4"), mounts=8)
    viewers = [watch(server.url(f"cam{n}"), name=f"cam{n}") for n in range(8)]
    for viewer in viewers:
        await viewer.frames(20)
    assert {viewer.camera.status().state for viewer in viewers} == {"streaming"}
    assert all(len(threads_of(f"cam{n}")) == 1 for n in range(8))
    await viewers[3].end()  # one is removed while the others run
    seen = [len(viewer.times) for viewer in viewers]
    await viewers[4].frames(10)
    assert len(viewers[3].times) == seen[3]


async def test_sampling_thins_a_live_stream(
    start_rtsp: StartRtsp, make_video: MakeVideo, watch: Watch
) -> None:
    viewer = watch(start_rtsp(make_video("gop1.mp4")).url(), every=3)
    await viewer.frames(10)
    counts = viewer.camera.status().counts
    assert counts["read"] == pytest.approx(3 * counts["offered"], abs=3 + 3 * counts["newer"])
    assert counts["skipped"] >= 18
