"""Commands: the verbs of ``control``, by HTTP and by the local socket.

``Idempotency-Key`` is the command's id: sent again it gets the same reply, and nothing is done
twice. ``Prefer: wait=N`` (RFC 7240) says for how many seconds an answer may take; what goes on is
202, and ``GET /v1/commands/{id}`` tells of it.
"""

from __future__ import annotations

import re
import socket
import struct
from typing import Any
from urllib.parse import quote

from aiohttp import web

from edge.web.bodies import read_json
from edge.web.problems import Refused, problem
from edge.web.view import BoxView, Reply, Sender

WAIT_S = 10.0
MOST_WAIT_S = 60.0
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,4})(?:$|[,;\s])")
BY_CODE = {
    "bad_request": 400,
    "forbidden_remote": 403,
    "not_found": 404,
    "conflict": 409,
    "precondition_failed": 412,
    "busy": 429,
    "internal": 500,
    "unsupported": 501,
    "dependency_down": 503,
    "timeout": 504,
}


class CommandApi:
    """Takes commands.

    Args:
        view: the box.
        local: they come from the box itself, by its socket.

    """

    def __init__(self, view: BoxView, *, local: bool = False) -> None:
        self._view, self._local = view, local

    def routes(self) -> list[web.RouteDef]:
        """Return what this part answers."""
        return [
            web.post("/v1/commands/{verb}", self.command),
            web.get("/v1/commands/{id}", self.reply),
        ]

    async def command(self, request: web.Request) -> web.StreamResponse:
        """Carry out a verb; the status follows from the reply's code."""
        args = await read_json(request) if request.can_read_body else {}
        sender = Sender(
            channel="local" if self._local else "http",
            who=_user(request) if self._local else f"{request.remote or ''}",
            id=request.headers.get("Idempotency-Key", ""),
            wait=_wait(request),
        )
        reply = await self._view.command(request.match_info["verb"], args, sender)
        return _answer(reply)

    async def reply(self, request: web.Request) -> web.StreamResponse:
        """Tell how a command fares that came before."""
        command_id = request.match_info["id"]
        reply = await self._view.command_reply(command_id)
        if reply is None:
            hint = "ids are remembered for [control] remember; those of class read are not"
            raise Refused(404, "not_found", f"no command {command_id[:128]!r}", hint=hint)
        return _answer(reply)


def _answer(reply: Reply) -> web.Response:
    if reply["status"] == "expired":
        return problem(410, "expired", reply["message"], reply["hint"])
    if reply["status"] == "error":
        status = BY_CODE.get(reply["code"], 500)
        return problem(status, reply["code"], reply["message"], reply["hint"])
    if reply["status"] == "ok":
        return web.json_response(reply)
    where = {"Location": f"/v1/commands/{quote(str(reply.get('id', '')), safe='')}"}
    return web.json_response(reply, status=202, headers=where)


def _wait(request: web.Request) -> float:
    asked = _WAIT.search(request.headers.get("Prefer", ""))
    return min(MOST_WAIT_S, float(asked[1])) if asked else WAIT_S


def _user(request: web.Request) -> str:
    """Return who is at the other end of a Unix socket, as the kernel says it."""
    peer: Any = request.transport and request.transport.get_extra_info("socket")
    if peer is None:
        return "local"
    facts = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", facts)
    return f"uid {uid}"
