"""A connected socket to a broker: name, TCP, perhaps a proxy, perhaps TLS; nothing of it blocks."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from edge.errors import PartFailed
from edge.ops.mqtt_faults import bad_tls_file, cut
from edge.ops.mqtt_types import MqttSettings, Tls

EACH_ADDRESS: Final = 5.0
"""Seconds for one address of a name that has several; the last may take what is left."""
MOST_PROXY_ANSWER: Final = 8192


async def dial(settings: MqttSettings) -> socket.socket:
    """Connect; the socket does not block.

    Raises:
        PartFailed: ``bad_tls_file``, ``proxy`` or ``cut``.
        OSError: whatever the network, the name service or TLS says.

    """
    host, port = settings.host, settings.port
    context = None
    if settings.tls:
        # reads files, the system's certificates among them: 30 ms
        context = await asyncio.to_thread(tls_context, settings.tls, settings.where)
    if settings.proxy:
        proxy = urlsplit(settings.proxy)
        host, port = proxy.hostname or "", proxy.port or 3128
    plain = await _connect(host, port)
    try:
        if settings.proxy:
            await _through(plain, settings)
        if context is None or settings.tls is None:
            return plain
        # closes plain when it raises
        secured = context.wrap_socket(
            plain,
            server_hostname=settings.tls.server_name or settings.host,
            do_handshake_on_connect=False,
        )
    except BaseException:
        plain.close()
        raise
    try:
        await _shake(secured)
    except BaseException:
        secured.close()
        raise
    return secured


def tls_context(tls: Tls, where: str) -> ssl.SSLContext:
    """Return how TLS is to be spoken; blocks (reads files).

    Raises:
        PartFailed: ``bad_tls_file``.

    """
    try:
        context = ssl.create_default_context(cafile=tls.ca_file or None)
    except (OSError, ValueError) as error:
        raise bad_tls_file(where, f"ca_file {tls.ca_file}", error) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert_file:
        try:
            # an encrypted key must not ask the terminal
            context.load_cert_chain(tls.cert_file, tls.key_file or None, password=lambda: b"")
        except (OSError, ValueError) as error:
            files = f"cert_file {tls.cert_file} with key_file {tls.key_file or tls.cert_file}"
            raise bad_tls_file(where, files, error) from error
    if tls.alpn:
        context.set_alpn_protocols(list(tls.alpn))
    return context


async def _connect(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for number, (family, kind, protocol, _, address) in enumerate(found):
        plain = socket.socket(family, kind, protocol)
        plain.setblocking(False)
        last = number + 1 == len(found)
        try:
            async with asyncio.timeout(None if last else EACH_ADDRESS):
                await loop.sock_connect(plain, address)
        except OSError:
            plain.close()
            if last:
                raise
        except BaseException:
            plain.close()
            raise
        else:
            _tune(plain)
            return plain
    raise socket.gaierror(socket.EAI_NONAME, "the name has no address")


def _tune(plain: socket.socket) -> None:
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


async def _shake(secured: ssl.SSLSocket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            secured.do_handshake()
        except ssl.SSLWantReadError:
            await _until(secured, loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await _until(secured, loop.add_writer, loop.remove_writer)
        else:
            return


async def _until(
    sock: socket.socket, add: Callable[..., Any], remove: Callable[[int], Any]
) -> None:
    ready = asyncio.Event()
    add(sock.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        remove(sock.fileno())


async def _through(plain: socket.socket, settings: MqttSettings) -> None:
    """Ask an HTTP proxy for a tunnel (RFC 9110, 9.3.6)."""
    loop = asyncio.get_running_loop()
    proxy = urlsplit(settings.proxy)
    name = f"[{settings.host}]" if ":" in settings.host else settings.host
    lines = [f"CONNECT {name}:{settings.port} HTTP/1.1", f"Host: {name}:{settings.port}"]
    if proxy.username:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(pair.encode()).decode())
    await loop.sock_sendall(plain, ("\r\n".join(lines) + "\r\n\r\n").encode())
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < MOST_PROXY_ANSWER:
        # bytewise: what follows the head belongs to the broker
        piece = await loop.sock_recv(plain, 1)
        if not piece:
            raise cut(settings.where, "by the proxy")
        answer += piece
    status = ""
    with suppress(IndexError):
        status = answer.split(b"\r\n")[0].decode("ascii", "replace").split(" ", 1)[1][:80]
    if not status.startswith("2"):
        raise PartFailed(
            f"{settings.where}: the proxy {proxy.hostname} does not let it pass: {status!r}",
            hint="may it connect to this port, and does it want a user and password?",
            reason="proxy",
        )
