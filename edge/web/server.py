"""The web server: one port for the page and the HTTP API."""

from __future__ import annotations

import errno
import logging

from aiohttp import web, web_response
from aiohttp.http_exceptions import HttpProcessingError

from edge.config.web import WebConfig
from edge.errors import Fatal, PartFailed
from edge.web.api import PlainApi
from edge.web.commands import CommandApi
from edge.web.dead_letters import DeadLetterApi
from edge.web.engines import EngineApi
from edge.web.events import EventApi
from edge.web.guard import Guard, add_headers, is_loopback
from edge.web.hooks import HookApi
from edge.web.live import LiveApi
from edge.web.page import Page
from edge.web.schemas import SchemaApi
from edge.web.streams import Streams
from edge.web.triggers import TriggerApi
from edge.web.uploads import UploadApi
from edge.web.view import BoxView

log = logging.getLogger(__name__)

SMALL_BODY = 64 * 1024
"""Most bytes of a form or JSON; uploads have a limit of their own."""
STOP_WITHIN = 2.0


class WebServer:
    """Listens where the configuration says, from ``start`` to ``stop``.

    Args:
        config: the ``[web]`` section.
        view: the box; nothing else of it is seen.
        max_event: bytes of the largest event that is taken, ``[bus] max_event``.

    """

    def __init__(self, config: WebConfig, view: BoxView, *, max_event: int = 2**20) -> None:
        self._config = config
        guard = Guard(config)
        plain, page = PlainApi(view, guard), Page(view, guard)

        self._streams = Streams(guard)
        live = LiveApi(
            view,
            self._streams,
            state=plain.state,
            markup=lambda: {"main": page.main()},
            max_viewers=config.max_viewers,
        )
        self._events = EventApi(view, self._streams, max_event=max_event)
        parts = (
            page,
            plain,
            CommandApi(view),
            live,
            EngineApi(view, page),
            UploadApi(view, config.max_upload),
            self._events,
            TriggerApi(view),
            DeadLetterApi(view),
            HookApi(view, guard),
            SchemaApi(),
        )
        app = web.Application(middlewares=[guard.middleware], client_max_size=SMALL_BODY)
        app.on_response_prepare.append(add_headers)
        for part in parts:
            app.add_routes(part.routes())
        self._runner = web.AppRunner(
            app, access_log=None, logger=_quiet_log(), shutdown_timeout=STOP_WITHIN
        )

    async def start(self) -> str:
        """Listen, and return the address of the page.

        Raises:
            Fatal: the configuration would open the box to the network without a token, or names
                an address that this machine does not have.
            PartFailed: somebody else listens there.

        """
        host, port = self._config.host, self._config.port
        if not is_loopback(host) and not self._config.token:
            raise Fatal(
                f"[web] host {host} can be reached from the network, and there is no token",
                hint='set token in [web], best as "${secret:web_token}", or host to 127.0.0.1',
                reason="web_open",
            )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise _not_there(host, port, error) from error
        bound = self._runner.addresses[0][1]
        return f"http://{f'[{host}]' if ':' in host else host}:{bound}/"

    async def stop(self) -> None:
        """End the streams, answer what is under way, and close the port. Twice is once."""
        self._streams.stop()
        await self._runner.cleanup()
        self._events.close()


def _not_there(host: str, port: int, error: OSError) -> Fatal | PartFailed:
    if error.errno == errno.EADDRINUSE:
        return PartFailed(
            f"another program listens on {host}:{port}",
            hint="stop it, or set another port in [web]; 0 takes a free one",
            reason="address_in_use",
        )
    return Fatal(
        f"the page cannot listen on {host}:{port}: {error.strerror or error}",
        hint="check host and port in [web]",
        reason="web_address",
    )


def _quiet_log() -> logging.Logger:
    """Return the log for aiohttp: what a client sent wrong is no news, a bug of ours is."""
    # An answer to an unreadable request passes no hook of ours; it must not name the library.
    web_response.SERVER_SOFTWARE = "edge"  # type: ignore[attr-defined]
    quiet = logging.getLogger("edge.web.http")
    if not quiet.filters:
        quiet.addFilter(_is_ours)
    return quiet


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    theirs = HttpProcessingError | ConnectionError | web.RequestPayloadError
    return not isinstance(error, theirs)
