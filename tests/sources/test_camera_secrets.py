"""Whatever goes wrong with a camera, its credentials are seen nowhere."""

from __future__ import annotations

import asyncio
import threading
import traceback

import pytest
from prometheus_client import generate_latest

from tests.places import free_port
from tests.servers.http_camera import HttpCamera
from tests.servers.rtsp import RtspServer, StartRtsp
from tests.sources.conftest import MakeVideo, Viewer, Watch

SECRETS = ("Gehe1m", "S3cretUser")


def everything_shown(viewer: Viewer) -> str:
    """Return all that a viewer's camera says to the world."""
    task = viewer.task
    error = task.exception() if task and task.done() and not task.cancelled() else None
    return "\n".join(
        [
            repr(viewer.camera.status()),
            generate_latest(viewer.metrics.registry).decode(),
            *(thread.name for thread in threading.enumerate()),
            *(other.get_name() for other in asyncio.all_tasks()),
            "".join(traceback.format_exception(error)) if error else "",
            repr(vars(viewer.camera)),
        ]
    )


def wrong_addresses(rtsp: RtspServer, *cameras: HttpCamera) -> list[str]:
    """Return one address for each way to fail, every one with both secrets."""
    at = f"//{SECRETS[1]}:{SECRETS[0]}@"
    query = f"user={SECRETS[1]}&password={SECRETS[0]}"
    return [
        rtsp.url().replace("//", at),
        rtsp.url("nothing").replace("//", at),
        f"rtsp:{at}127.0.0.1:{free_port()}/cam0?{query}",
        f"rtsp://127.0.0.1:{rtsp.port}/cam0?{query}",
        f"rtsp://127.0.0.1:{rtsp.port}/user={SECRETS[1]}_password={SECRETS[0]}_channel=1.sdp",
        f"rtsp:{at}no-such-host.invalid/cam0",
        f"rtsps:{at}127.0.0.1:{rtsp.port}/cam0",
        *(camera.url.replace("//", at) + f"?{query}" for camera in cameras),
        f"http:{at}127.0.0.1:port/video",
        f"ftp:{at}127.0.0.1/video",
    ]


async def test_no_failure_shows_a_credential(
    start_rtsp: StartRtsp,
    make_video: MakeVideo,
    http_camera: HttpCamera,
    https_camera: HttpCamera,
    watch: Watch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG")
    rtsp = start_rtsp(make_video("gop1.mp4"), login="me:right")
    http_camera.login = https_camera.login = "me:right"
    viewers = [
        watch(url, name=f"cam{n}", stall_after="1s", open_timeout="1s", tls_verify=False)
        for n, url in enumerate(wrong_addresses(rtsp, http_camera, https_camera))
    ]
    for viewer in viewers:
        await viewer.until(lambda viewer=viewer: viewer.camera.status().reason)  # type: ignore[misc]
    await asyncio.sleep(1.5)
    shown = "\n".join(everything_shown(viewer) for viewer in viewers)
    for viewer in viewers:
        await viewer.end()
        shown += everything_shown(viewer)
    captured = capfd.readouterr()
    assert "cam0" in caplog.text
    for secret in SECRETS:
        for text in (shown, caplog.text, captured.out, captured.err):
            assert secret not in text


async def test_opencv_says_nothing_on_standard_error_about_a_failed_camera(
    watch: Watch, capfd: pytest.CaptureFixture[str]
) -> None:
    viewer = watch(f"rtsp://me:{SECRETS[0]}@127.0.0.1:{free_port()}/cam0")
    await viewer.state("waiting")
    await viewer.end()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
