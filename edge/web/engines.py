"""Engines: which could look, which does and why; building one, and letting another one look.

By HTTP for programs (``/v1/engines``), and by the page's buttons (``/engines``), which work without
JavaScript.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from aiohttp import web

from edge.engine_status import Engines, EngineStatus
from edge.errors import EdgeError
from edge.web.bodies import read_json
from edge.web.commands import BY_CODE
from edge.web.page import Page
from edge.web.problems import Refused
from edge.web.view import BoxView, Sender

_BY_REASON = BY_CODE | {
    "no_gpu": 409,
    "no_library": 409,
    "no_model": 404,
    "busy": 409,
    "unknown": 404,
    "missing": 409,
    "refused": 409,
    "to_build": 409,
    "other_model": 409,
}
_WAIT_S = 900.0
"""Seconds for an answer: longer than any of these verbs may take."""


def engines_json(status: EngineStatus) -> dict[str, Any]:
    """Return the fields of an ``EngineStatus`` as JSON values; times are ISO 8601 with zone."""
    plans = [
        {**asdict(plan), "built_at": plan.built_at.isoformat(timespec="seconds")}
        for plan in status.plans
    ]
    return {**asdict(status), "options": list(map(asdict, status.options)), "plans": plans}


class EngineApi:
    """Shows the engines, and steers them.

    Args:
        view: the box.
        page: shows why a button was of no use.

    """

    def __init__(self, view: BoxView, page: Page) -> None:
        self._view, self._page = view, page

    def routes(self) -> list[web.RouteDef]:
        """Return what this part answers."""
        return [
            web.get("/v1/engines", self.all),
            web.post("/v1/engines/build", self.build),
            web.post("/v1/engines/cancel", self.cancel),
            web.post("/v1/engines/use", self.use),
            web.post("/engines", self.button),
            web.get("/engines", self.index),
        ]

    async def all(self, request: web.Request) -> web.StreamResponse:
        """Answer with every engine, the build that goes on, and what was built."""
        del request
        return web.json_response(engines_json(self._engines().status()))

    async def build(self, request: web.Request) -> web.StreamResponse:
        """Begin a build: 202, and ``GET /v1/engines`` tells how far it is."""
        order = await _order(request, model=str, force=bool)
        build = await self._build(request, order.get("model", ""), force=order.get("force", False))
        headers = {"Location": "/v1/engines"}
        return web.json_response({"build": build}, status=202, headers=headers)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Stop the build, if there is one."""
        return web.json_response({"cancelled": await self._cancel(request)})

    async def use(self, request: web.Request) -> web.StreamResponse:
        """Let another engine look; answers when it does, or when it was found unfit."""
        order = await _order(request, engine=str)
        if not order.get("engine"):
            hint = 'send {"engine": "onnx"}; GET /v1/engines lists them'
            raise Refused(422, "bad_request", "no engine is named", hint=hint)
        return web.json_response(engines_json(await self._use(request, order["engine"])))

    async def button(self, request: web.Request) -> web.StreamResponse:
        """Do what a button of the page asks for, and show the page again."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        try:
            await self._press(request, form)
        except EdgeError as error:
            status = error.status if isinstance(error, Refused) else 503
            return self._page.with_message(request, str(error), error.hint, status)
        raise web.HTTPSeeOther("/#engines")

    async def index(self, request: web.Request) -> web.StreamResponse:
        """Lead whoever reloads the address of the buttons to the page."""
        del request
        raise web.HTTPSeeOther("/#engines")

    async def _press(self, request: web.Request, form: Mapping[str, str]) -> None:
        match form.get("do"):
            case "build":
                await self._build(request, "", force=form.get("force") == "yes")
            case "cancel":
                await self._cancel(request)
            case "use":
                await self._use(request, form.get("engine", ""))
            case _:
                raise Refused(400, "bad_request", "the box knows no such button")

    async def _build(self, request: web.Request, model: str, *, force: bool) -> dict[str, Any]:
        told = await self._command(request, "engine.build", model=model, force=force)
        build: dict[str, Any] = told["build"]
        return build

    async def _cancel(self, request: web.Request) -> bool:
        told = await self._command(request, "engine.cancel")
        return told["cancelled"] is True

    async def _use(self, request: web.Request, what: str) -> EngineStatus:
        await self._command(request, "engine.use", engine=what)
        return self._engines().status()

    async def _command(self, request: web.Request, verb: str, **args: Any) -> dict[str, Any]:
        """Command the box as ``POST /v1/commands/VERB`` does: what may be asked so, and is kept.

        Who leaves meanwhile stops nothing halfway.
        """
        self._engines()
        sender = Sender(channel="http", who=request.remote or "", wait=_WAIT_S)
        reply = await self._view.command(verb, args, sender)
        if reply["status"] == "ok":
            return reply["data"]
        reason = str(reply["data"].get("reason") or reply["code"] or reply["status"])
        raise Refused(_BY_REASON.get(reason, 422), reason, reply["message"], hint=reply["hint"])

    def _engines(self) -> Engines:
        if self._view.engines is None:
            raise Refused(404, "not_found", "this box has no engines to show")
        return self._view.engines


async def _order(request: web.Request, **fields: type) -> dict[str, Any]:
    """Read a JSON object that may have these fields and no others.

    Raises:
        Refused: 400 not JSON, 422 a field that is none or of another type.

    """
    order = await read_json(request) if request.can_read_body else {}
    for name, value in order.items():
        kind = fields.get(name)
        if kind is None:
            known = ", ".join(fields)
            raise Refused(422, "bad_request", f"there is no field {name[:64]!r}, but {known}")
        if not isinstance(value, kind):
            word = "true or false" if kind is bool else "text"
            raise Refused(422, "bad_request", f"{name} is {word}")
    return order
