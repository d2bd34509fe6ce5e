"""``/hooks/s3``: object stores send notifications here.

Senders are servers, and simple ones. A Ceph RGW holds the upload of a camera until it is answered,
and repeats what was refused as fast as it is refused, 3,000 times a second: so whoever is turned
away waits a second for it, and a notification that nobody can read is not refused at all.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import random
import time
from collections.abc import Iterator
from typing import Final

from aiohttp import web

from edge.contracts import Hook
from edge.errors import PartFailed, TryLater
from edge.web.bodies import Intake as Room
from edge.web.bodies import go_on, read_body, too_large, wait_before_continue
from edge.web.guard import HOOKS, Guard, same_text
from edge.web.problems import Refused
from edge.web.view import BoxView

MOST: Final = 2**20
"""Bytes of a notification."""
PAUSE: Final = (1.0, 1.8)
"""Seconds before somebody is turned away, from and to."""
MOST_PAUSES: Final = 64
"""Callers without a token that are held back at the same time; others are told at once."""

_HINT: Final = f"a notification has at most {MOST} bytes"
_HOW: Final = (
    "show the token of the bucket's source: in the address as ?token=…, or as Authorization: "
    "Bearer …, or as the password of Basic"
)


class HookApi:
    """Takes notifications.

    Args:
        view: the box; its ``hook`` takes them.
        guard: asked where no token is set.

    """

    def __init__(self, view: BoxView, guard: Guard) -> None:
        self._view, self._guard = view, guard
        self._room = Room(16 * MOST)
        self._paused = 0

    def routes(self) -> list[web.RouteDef]:
        """Return what this part answers."""
        path = f"{HOOKS}s3"
        return [
            web.post(path, self.take, expect_handler=wait_before_continue),
            web.head(path, self.look),
        ]

    async def look(self, request: web.Request) -> web.StreamResponse:
        """Answer ``HEAD``: older MinIO servers ask so whether somebody is there."""
        await self._hook(request)
        return web.Response()

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Answer ``POST``: 204 once what is wanted is on disk, whatever the content type says."""
        began, metrics = time.perf_counter(), self._view.metrics
        try:
            answer = await self._taken(request)
        except Refused:
            metrics.notifications.labels("refused").inc()
            metrics.notification_seconds.labels("refused").observe(time.perf_counter() - began)
            raise
        metrics.notification_seconds.labels("taken").observe(time.perf_counter() - began)
        return answer

    async def _taken(self, request: web.Request) -> web.StreamResponse:
        hook = await self._hook(request)
        size = request.content_length
        if size is not None and size > MOST:
            raise too_large(MOST, _HINT)
        if size is None or "Content-Encoding" in request.headers:
            size = MOST
        try:
            with self._room.hold(size):
                await go_on(request)
                await hook.take(await read_body(request, MOST, _HINT))
        except (TryLater, PartFailed) as error:
            # always held back, however many: these have a token, and would come again at once
            await asyncio.sleep(_pause())
            raise Refused(
                503, error.reason, str(error), hint=error.hint, headers={"Retry-After": "2"}
            ) from error
        return web.Response(status=204)

    async def _hook(self, request: web.Request) -> Hook:
        """Return who takes notifications, if the caller may send any.

        Raises:
            Refused: 401, 404 where nobody waits for notifications, or as the guard; after a pause.

        """
        try:
            return self._admitted(request, self._view.hook)
        except Refused:
            await self._hold_back()
            raise

    def _admitted(self, request: web.Request, hook: Hook | None) -> Hook:
        if hook is not None and hook.tokens:
            allowed = _shows(request, hook.tokens)
        else:
            self._guard.check_place(request)
            allowed = self._guard.admits(request)
        if not allowed:
            raise Refused(401, "unauthorised", "the token is missing or wrong", hint=_HOW)
        if hook is None:
            hint = 'set a source of kind = "bucket" with via = "hook"'
            raise Refused(404, "not_found", "no source waits for notifications", hint=hint)
        return hook

    async def _hold_back(self) -> None:
        if self._paused >= MOST_PAUSES:
            return
        self._paused += 1
        try:
            await asyncio.sleep(_pause())
        finally:
            self._paused -= 1


def _pause() -> float:
    return random.uniform(*PAUSE)  # noqa: S311 (no secret: it spreads those who come again)


def _shows(request: web.Request, tokens: frozenset[str]) -> bool:
    """Tell whether one of the tokens is shown, in a time that does not say which, or how nearly."""
    given = [one for one in _given(request) if one]
    # all are compared: where the right one stands makes no difference
    right = [same_text(one, token) for one in given for token in tokens]
    return any(right)


def _given(request: web.Request) -> Iterator[str]:
    """Yield what may be a token: few texts, in whatever form servers can be made to send one."""
    yield from request.query.getall("token", [])[:2]
    whole = request.headers.get("Authorization", "").strip()
    if not whole:
        return
    yield whole
    scheme, _, rest = whole.partition(" ")
    if scheme.lower() != "basic":
        # MinIO sends a token of two words as it is, whatever the first one
        yield rest.strip()
        return
    try:
        yield base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return
