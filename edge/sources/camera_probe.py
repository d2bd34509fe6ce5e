"""Why a camera brings no picture: OpenCV does not say, so it is asked a small question.

One RTSP ``DESCRIBE`` (RFC 2326) or HTTP ``GET`` at most, with the credentials if it asks for them.
"""

from __future__ import annotations

import asyncio
import contextlib

from edge.config.sources import CameraConfig
from edge.errors import PartFailed
from edge.sources.camera_address import Address

_PROBE_EVERY = 0.2
_CONNECT_TIMEOUT = 1.0


async def until_it_answers(host: str, port: int) -> None:
    """Return as soon as a TCP connection to the camera succeeds.

    A new attempt begins every 0.2 s while older ones still hang, so that a cable plugged in again
    is noticed at once.
    """
    attempts: set[asyncio.Task[bool]] = set()
    try:
        while True:
            attempts.add(asyncio.create_task(_connects(host, port), name="camera probe"))
            await asyncio.sleep(_PROBE_EVERY)
            done = {attempt for attempt in attempts if attempt.done()}
            if any(attempt.result() for attempt in done):
                return
            attempts -= done
    finally:
        for attempt in attempts:
            attempt.cancel()


async def _connects(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def find_fault(address: Address, config: CameraConfig) -> PartFailed | None:
    """Ask the camera what is wrong; None where its answer is as it should be."""
    if not address.network:
        return None
    try:
        async with asyncio.timeout(config.open_timeout):
            _, writer = await asyncio.open_connection(address.host, address.port)
    except ConnectionRefusedError:
        return PartFailed("nobody listens at its address", reason="refused")
    except OSError:
        return PartFailed("it cannot be reached", reason="unreachable")
    writer.close()
    return None
