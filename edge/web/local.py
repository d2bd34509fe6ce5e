"""The local socket: commands for who may write to it, which is the service's own user, and root."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from pathlib import Path

from aiohttp import web

from edge.errors import EdgeError
from edge.web.commands import CommandApi
from edge.web.guard import Handler
from edge.web.problems import from_error, from_http
from edge.web.server import SMALL_BODY, STOP_WITHIN
from edge.web.view import BoxView

log = logging.getLogger(__name__)

MOST_PATH = 107
"""Bytes of a Unix socket's path; a longer one is reached through its open directory."""


class LocalServer:
    """Listens at ``path`` from ``start`` to ``stop``.

    Args:
        path: of the socket; its directory is made where it is missing.
        view: the box.

    """

    def __init__(self, path: Path, view: BoxView) -> None:
        self._path = path
        app = web.Application(middlewares=[_errors], client_max_size=SMALL_BODY)
        app.add_routes(CommandApi(view, local=True).routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_WITHIN)
        self._listens = False

    async def start(self) -> None:
        """Listen. A box that cannot goes on without: it says so in the log."""
        await self._runner.setup()
        try:
            listener = _bound(self._path)
        except OSError as error:
            log.warning("edge ctl does not work: no socket at %s: %s", self._path, error)
            return
        await web.SockSite(self._runner, listener).start()
        self._listens = True

    async def stop(self) -> None:
        """Answer what is under way, and remove the socket. Twice is once."""
        await self._runner.cleanup()
        if self._listens:
            self._listens = False
            with contextlib.suppress(OSError):
                self._path.unlink()


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except EdgeError as error:
        return from_error(error)
    except web.HTTPException as error:
        return from_http(error)


def _bound(path: Path) -> socket.socket:
    """Return a socket at ``path`` that only its owner can connect to.

    The spool's lock has seen to it that no other box of this state runs: a socket that is there
    already was left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.is_socket():
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        mask = os.umask(0o177)  # it is never open to others, not even for a moment
        try:
            listener.bind(reachable(path, directory))
        finally:
            os.umask(mask)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(directory)
    return listener


def reachable(path: Path, directory: int) -> str:
    """Return a path of a socket that is short enough for the kernel."""
    if len(os.fsencode(path)) <= MOST_PATH:
        return str(path)
    return f"/proc/self/fd/{directory}/{path.name}"
