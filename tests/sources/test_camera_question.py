from __future__ import annotations

import asyncio
import contextlib

from edge.config.secret import Secret
from edge.config.sources import CameraConfig
from edge.sources.camera_address import read_address
from edge.sources.camera_probe import find_fault
from tests.places import free_port

SDP = "v=0\r\nm=video 0 RTP/AVP 96\r\na=control:stream=0\r\n"
PACKET = b"$\x00\x00\x04\x80\x60\x00\x01"


class HastyCamera:
    """Answers like a camera whose first packets overtake its answer to PLAY."""

    def __init__(self) -> None:
        self.left_alone = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                sequence = b""
                while header := (await reader.readline()).strip():
                    sequence = header if header.startswith(b"CSeq") else sequence
                writer.write(self.answer(line.split(b" ")[0], sequence))
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.left_alone.set()

    def answer(self, method: bytes, sequence: bytes) -> bytes:
        body = SDP if method == b"DESCRIBE" else ""
        kind = "Content-Type: application/sdp\r\n" if body else ""
        head = f"Session: 1\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        reply = b"RTSP/1.0 200 OK\r\n" + sequence + b"\r\n" + head
        return PACKET * 3 + reply + PACKET if method == b"PLAY" else reply


async def test_packets_that_overtake_the_answer_to_play_are_no_fault() -> None:
    port, camera = free_port(), HastyCamera()
    server = await asyncio.start_server(camera, "127.0.0.1", port)
    url = f"rtsp://127.0.0.1:{port}/cam"
    config = CameraConfig(kind="camera", url=Secret(url))
    fault = await find_fault(read_address(url), config, hung=True)
    await asyncio.wait_for(camera.left_alone.wait(), 10)
    server.close()
    await server.wait_closed()
    assert fault is None
