"""HTTP cameras: MJPEG in the clear through OpenCV, encrypted through the system's ffmpeg."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from edge.errors import PartFailed
from edge.sources.capture_opencv import OpenCvReader
from tests.places import need
from tests.servers.http_camera import HttpCamera, make_certificate
from tests.servers.rtsp import StartRtsp
from tests.sources.conftest import MakeVideo, Watch


def children_of_this_process() -> dict[int, bytes]:
    """Return pid and command line, with its environment, of the ffmpegs that we started."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            about = Path(f"/proc/{pid}")
            with suppress(ProcessLookupError, FileNotFoundError):  # it has ended
                found[int(pid)] = (about / "cmdline").read_bytes() + (
                    about / "environ"
                ).read_bytes()
    return {pid: line for pid, line in found.items() if b"ffmpeg" in line}


async def test_an_mjpeg_camera_streams(http_camera: HttpCamera, watch: Watch) -> None:
    viewer = watch(http_camera.url)
    await viewer.frames(20)
    assert viewer.camera.status().size == (320, 240)


async def test_a_new_picture_size_does_not_stop_the_stream(
    http_camera: HttpCamera, watch: Watch
) -> None:
    viewer = watch(http_camera.url)
    await viewer.frames(5)
    http_camera.size = (640, 480)
    await viewer.frames(20)
    assert viewer.camera.status().counts["reconnects"] == 0


async def test_an_mjpeg_camera_that_hangs_is_noticed_and_returns(
    http_camera: HttpCamera, watch: Watch
) -> None:
    viewer = watch(http_camera.url, stall_after="1s", open_timeout="1s")
    await viewer.frames(5)
    http_camera.hanging = True
    await viewer.state("stalled")
    await asyncio.sleep(2)
    http_camera.hanging = False
    await viewer.frames(5)


async def test_an_mjpeg_camera_that_restarts_is_opened_again(
    http_camera: HttpCamera, watch: Watch
) -> None:
    viewer = watch(http_camera.url)
    await viewer.frames(5)
    await http_camera.restart(pause=0.5)
    await viewer.frames(5)
    assert viewer.camera.status().counts["reconnects"] == 1


@pytest.mark.parametrize(
    ("path", "login", "said"),
    [
        ("/video", "me:wrong", "refuses the user or the password"),
        ("/video", "", "asks for a user and a password"),
        ("/nothing", "", "no such stream (404)"),
        ("/page", "", "sends text/html, no video"),
    ],
)
async def test_an_http_camera_says_why_it_gives_no_video(
    http_camera: HttpCamera, watch: Watch, path: str, login: str, said: str
) -> None:
    http_camera.login = "me:S3cret"
    before = f"//{login}@" if login else "//"
    viewer = watch(http_camera.url.replace("//", before).replace("/video", path))
    await viewer.until(lambda: said in viewer.camera.status().reason)
    assert viewer.camera.status().hint
    assert http_camera.watched == 0


async def test_a_login_opens_an_mjpeg_camera(http_camera: HttpCamera, watch: Watch) -> None:
    http_camera.login = "me:S3cret"
    viewer = watch(http_camera.url.replace("//", "//me:S3cret@"))
    await viewer.frames(5)


async def test_a_redirect_to_tls_never_reaches_opencv(
    http_camera: HttpCamera, https_camera: HttpCamera, watch: Watch
) -> None:
    viewer = watch(http_camera.redirect(https_camera.url), tls_verify=False)
    await viewer.until(lambda: "encrypted" in viewer.camera.status().reason)
    assert "https://" in viewer.camera.status().hint
    await asyncio.sleep(0.5)
    assert https_camera.handshakes == 0


async def test_opencv_itself_refuses_a_redirect_to_tls(
    http_camera: HttpCamera, https_camera: HttpCamera
) -> None:
    """The camera may answer our question in one way and OpenCV in another."""
    url = http_camera.redirect(https_camera.url)
    reader = OpenCvReader(url, network=True, open_timeout=2, read_timeout=2)
    with pytest.raises(PartFailed):
        await asyncio.to_thread(reader.open)
    assert https_camera.handshakes == 0


async def test_a_redirect_in_the_clear_is_followed(http_camera: HttpCamera, watch: Watch) -> None:
    viewer = watch(http_camera.redirect(http_camera.url))
    await viewer.frames(5)


async def test_an_https_camera_streams_through_ffmpeg_and_shows_no_password(
    https_camera: HttpCamera, watch: Watch
) -> None:
    need("ffmpeg", "ffmpeg")
    https_camera.login = "me:S3cret"
    viewer = watch(https_camera.url.replace("//", "//me:S3cret@"), tls_verify=False)
    await viewer.frames(10)
    processes = children_of_this_process()
    assert len(processes) == 1
    assert not any(b"S3cret" in line for line in processes.values())
    await viewer.end()
    await viewer.until(lambda: not children_of_this_process())


async def test_an_https_camera_that_hangs_is_given_up_with_its_ffmpeg(
    https_camera: HttpCamera, watch: Watch
) -> None:
    need("ffmpeg", "ffmpeg")
    viewer = watch(https_camera.url, tls_verify=False, stall_after="1s", open_timeout="2s")
    await viewer.frames(5)
    https_camera.hanging = True
    await viewer.state("stalled")
    await asyncio.sleep(1)
    assert len(children_of_this_process()) <= 1
    https_camera.hanging = False
    await viewer.frames(5)


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    https_camera: HttpCamera, watch: Watch
) -> None:
    need("ffmpeg", "ffmpeg")
    viewer = watch(https_camera.url)
    await viewer.until(lambda: "certificate is not trusted" in viewer.camera.status().reason)
    assert "tls_verify" in viewer.camera.status().hint
    assert https_camera.watched == 0


async def test_without_ffmpeg_an_encrypted_camera_is_refused_with_the_reason(
    https_camera: HttpCamera,
    watch: Watch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    viewer = watch(https_camera.url)
    await viewer.state("failed")
    status = viewer.camera.status()
    assert status.reason == "https needs the program ffmpeg, which is not installed"
    assert "apt-get install" in status.hint
    assert viewer.task
    with pytest.raises(PartFailed, match="needs the program ffmpeg"):
        await viewer.task


PIPELINE = "( filesrc location={} ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 )"


async def test_an_rtsps_camera_streams_through_ffmpeg(
    serve_rtsp: StartRtsp, make_video: MakeVideo, watch: Watch, tmp_path: Path
) -> None:
    need("ffmpeg", "ffmpeg")
    certificate, key = make_certificate(tmp_path)
    pipeline = PIPELINE.format(make_video("long.mp4", seconds=20))
    server = serve_rtsp(pipeline, certificate=certificate, key=key, login="me:S3cret")
    viewer = watch(server.url(login="me:S3cret"), tls_verify=False)
    await viewer.frames(10)
    assert viewer.camera.status().size == (640, 360)


async def test_an_rtsps_camera_whose_certificate_cannot_be_checked_gives_no_picture(
    serve_rtsp: StartRtsp, make_video: MakeVideo, watch: Watch, tmp_path: Path
) -> None:
    need("ffmpeg", "ffmpeg")
    certificate, key = make_certificate(tmp_path)
    pipeline = PIPELINE.format(make_video("long.mp4", seconds=20))
    server = serve_rtsp(pipeline, certificate=certificate, key=key, login="me:S3cret")
    viewer = watch(server.url(login="me:S3cret"))
    await viewer.until(lambda: "certificate" in viewer.camera.status().reason)
    assert not viewer.times
