"""Why a camera brings no picture: OpenCV does not say, so it is asked a small question first.

There is a second reason to ask. OpenCV holds a lock of the whole process while it opens a stream
(measured with 5.0): a camera that accepts and is silent would keep all others from being opened
for as long as its time limit. So nothing is opened that did not answer, and after a hang nothing
that did not send a first packet.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from socket import SOCK_STREAM

from edge.config.sources import CameraConfig
from edge.errors import PartFailed
from edge.sources.camera_address import Address
from edge.sources.camera_question import Answer, connected
from edge.sources.ffmpeg_pipe import find_ffmpeg

_PROBE_EVERY = 0.2
_CONNECT_TIMEOUT = 1.0
_PATIENCE = 30.0


async def until_it_answers(host: str, port: int) -> None:
    """Return as soon as a TCP connection to the camera succeeds, or after half a minute.

    A new attempt begins every 0.2 s while older ones still hang, so that a cable plugged in again
    is noticed at once. The name is looked up once: names may be slow.
    """
    attempts: set[asyncio.Task[None]] = set()
    answered = asyncio.Event()
    try:
        async with asyncio.timeout(_PATIENCE):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=SOCK_STREAM)
            where = found[0][4][0]
            while not answered.is_set():
                attempt = asyncio.create_task(_connect(where, port, answered), name="camera probe")
                attempts.add(attempt)
                attempt.add_done_callback(attempts.discard)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PROBE_EVERY):
                        await answered.wait()
    except OSError:  # the patience is over, or the name is no longer known
        return
    finally:
        for attempt in attempts:
            attempt.cancel()


async def _connect(host: str | int, port: int, answered: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            _, writer = await asyncio.open_connection(str(host), port)
        answered.set()
        writer.transport.abort()


async def find_fault(
    address: Address, config: CameraConfig, *, hung: bool = False
) -> PartFailed | None:
    """Ask the camera what is wrong; None where all is as it should be as far as one can see.

    Args:
        address: where it is.
        config: its section.
        hung: it connected and was silent the last time: wait for a first packet of video.

    """
    if not address.network:
        return await asyncio.to_thread(_look_at, address)
    try:
        if address.tls:
            await asyncio.to_thread(find_ffmpeg, address, verify=config.tls_verify)
        async with (
            asyncio.timeout(config.open_timeout),
            connected(address, verify=config.tls_verify) as camera,
        ):
            reply = await camera.ask()
            fault = _judge(address, reply)
            if hung and not fault:
                await camera.first_bytes(reply)
    except PartFailed as error:
        return error
    except TimeoutError:
        return PartFailed(
            f"it accepts connections but sends nothing for {config.open_timeout:g} s",
            hint="the camera hangs, or something else listens there: restart it, check the port",
            reason="timeout",
        )
    except (OSError, EOFError, ValueError):
        return PartFailed(
            "it gives no answer that can be understood",
            hint="something else listens there, or the camera is starting: check the port",
            reason="no_answer",
        )
    return fault


def _judge(address: Address, reply: Answer) -> PartFailed | None:
    return _judge_rtsp(address, reply) if address.kind == "rtsp" else _judge_http(address, reply)


def _judge_rtsp(address: Address, reply: Answer) -> PartFailed | None:
    if reply.status == 200:
        if "m=video" in reply.body:
            return None
        return PartFailed(
            "its stream has no video",
            hint="check the path: this one is sound or data only",
            reason="no_video",
        )
    return _judge_status(address, reply.status)


def _judge_http(address: Address, reply: Answer) -> PartFailed | None:
    kind = reply.headers.get("content-type", "").lower()
    if reply.status in (301, 302, 303, 307, 308):
        if not reply.headers.get("location", "").lower().startswith("https:"):
            return None
        return PartFailed(
            "it leads on to an encrypted address",
            hint="write https:// instead of http://",
            reason="not_found",
        )
    if reply.status != 200:
        return _judge_status(address, reply.status)
    if kind.startswith(("text/", "application/json", "application/xml")):
        return PartFailed(
            f"it sends {kind.partition(';')[0]}, no video",
            hint="check the path: this one is a page; the camera's manual names the MJPEG stream",
            reason="no_video",
        )
    return None


def _judge_status(address: Address, status: int) -> PartFailed:
    if status in (401, 403) and address.user:
        return PartFailed(
            f"it refuses the user or the password ({status})",
            hint="check both; after several wrong tries some cameras lock the account for a while",
            reason="auth",
        )
    if status in (401, 403):
        return PartFailed(
            f"it asks for a user and a password ({status})",
            hint="put them into the url: rtsp://user:password@…, best as ${secret:name}",
            reason="auth",
        )
    if status == 404:
        return PartFailed(
            "it has no such stream (404)",
            hint="check the path; the camera's page or manual names it",
            reason="not_found",
        )
    return PartFailed(
        f"it answers {status} instead of video",
        hint="it may be starting, or serve too many viewers already",
        reason="not_found",
    )


def _look_at(address: Address) -> PartFailed | None:
    """Look at a device or file, which may block on a network drive."""
    path = address.url.reveal()
    try:
        facts = os.stat(path)  # noqa: PTH116 (a device is no Path matter)
    except OSError as error:
        what = "device" if address.kind == "v4l2" else "file"
        hint = (
            "is the camera plugged in? `ls /dev/video*` lists what is there"
            if address.kind == "v4l2"
            else "check the path, and that the service may read the folder"
        )
        text = f"no such {what}" if isinstance(error, FileNotFoundError) else f"{error.strerror}"
        return PartFailed(f"{text}: {path}", hint=hint, reason=f"no_{what}")
    if not os.access(path, os.R_OK):
        return PartFailed(
            f"no permission to read {path}",
            hint="put the service's user into the group that may (for devices: video)",
            reason="no_device" if address.kind == "v4l2" else "no_file",
        )
    if address.kind == "v4l2":
        return None if stat.S_ISCHR(facts.st_mode) else _not_what_it_should_be(path)
    # Opening a pipe would block for good.
    playable = stat.S_ISREG(facts.st_mode) and facts.st_size
    return None if playable else _not_what_it_should_be(path)


def _not_what_it_should_be(path: str) -> PartFailed:
    return PartFailed(
        f"{path} is empty, or is no video file or camera",
        hint="check the path",
        reason="no_file",
    )
