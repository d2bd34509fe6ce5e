from __future__ import annotations

import asyncio

from edge.config.secret import Secret
from edge.config.sources import CameraConfig
from edge.sources.camera_address import read_address
from edge.sources.camera_probe import find_fault
from tests.places import free_port

SDP = "v=0\r\nm=video 0 RTP/AVP 96\r\na=control:stream=0\r\n"
PACKET = b"$\x00\x00\x04\x80\x60\x00\x01"


async def a_hasty_camera(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers like a camera whose first packets overtake its answer to PLAY."""
    while line := await reader.readline():
        method, sequence = line.split(b" ")[0], b""
        while header := (await reader.readline()).strip():
            sequence = header if header.startswith(b"CSeq") else sequence
        body = SDP if method == b"DESCRIBE" else ""
        if method == b"PLAY":
            writer.write(PACKET * 3)
        kind = "Content-Type: application/sdp\r\n" if body else ""
        writer.write(
            b"RTSP/1.0 200 OK\r\n" + sequence + b"\r\nSession: 1\r\n"
            + f"{kind}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )  # fmt: skip
        if method == b"PLAY":
            writer.write(PACKET)
        await writer.drain()
    writer.close()


async def test_packets_that_overtake_the_answer_to_play_are_no_fault() -> None:
    port = free_port()
    server = await asyncio.start_server(a_hasty_camera, "127.0.0.1", port)
    url = f"rtsp://127.0.0.1:{port}/cam"
    config = CameraConfig(kind="camera", url=Secret(url))
    fault = await find_fault(read_address(url), config, hung=True)
    server.close()
    await server.wait_closed()
    assert fault is None
