"""A proxy that ends TLS in front of a server that knows none, as many stores stand behind one."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Self

from tests.servers.certificates import Pair


class TlsProxy:
    """Passes bytes on; ``async with`` runs it."""

    def __init__(self, to: str, pair: Pair) -> None:
        host, _, port = to.removeprefix("http://").rpartition(":")
        self._to = (host, int(port))
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(pair.cert, pair.key)
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._to)
        async with asyncio.TaskGroup() as group:
            group.create_task(_pass(reader, back), name="to the server")
            group.create_task(_pass(there, writer), name="from the server")


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()
