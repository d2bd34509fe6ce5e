"""``/v1/triggers``: who gets which events, changed while the box runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from aiohttp import web

from edge.web.bodies import read_json
from edge.web.problems import Refused
from edge.web.traffic_json import trigger_json
from edge.web.view import BoxView

_AROUND = {"name", "origin", "status", "apiVersion", "kind", "metadata", "spec"}
"""What may stand around a spec: in the answer of a GET, and in a Knative manifest."""


class TriggerApi:
    """Lists, sets and removes triggers."""

    def __init__(self, view: BoxView) -> None:
        self._view = view

    def routes(self) -> list[web.RouteDef]:
        """Return what this part answers."""
        return [
            web.get("/v1/triggers", self.all),
            web.get("/v1/triggers/{name}", self.one),
            web.put("/v1/triggers/{name}", self.put),
            web.delete("/v1/triggers/{name}", self.remove),
        ]

    async def all(self, request: web.Request) -> web.StreamResponse:
        """Answer with every trigger, and how it is."""
        del request
        found = self._view.traffic.triggers()
        return web.json_response({"triggers": [trigger_json(one) for one in found]})

    async def one(self, request: web.Request) -> web.StreamResponse:
        """Answer with one trigger."""
        name = request.match_info["name"]
        for trigger in self._view.traffic.triggers():
            if trigger.name == name:
                return web.json_response(trigger_json(trigger))
        raise _unknown(name)

    async def put(self, request: web.Request) -> web.StreamResponse:
        """Set a trigger: 201 where there was none of that name, else 200."""
        name = request.match_info["name"]
        spec = _spec(await read_json(request), name)
        known = any(trigger.name == name for trigger in self._view.traffic.triggers())
        trigger = await self._view.traffic.put_trigger(name, spec)
        headers = {} if known else {"Location": f"/v1/triggers/{quote(name, safe='')}"}
        return web.json_response(
            trigger_json(trigger), status=200 if known else 201, headers=headers
        )

    async def remove(self, request: web.Request) -> web.StreamResponse:
        """Remove a trigger; what waits for it becomes dead letters."""
        name = request.match_info["name"]
        if not await self._view.traffic.remove_trigger(name):
            raise _unknown(name)
        return web.Response(status=204)


def _spec(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the spec: the body itself, or its ``spec`` where it is a whole trigger."""
    if "spec" not in given:
        return given
    odd = sorted(given.keys() - _AROUND)
    if odd or not isinstance(given["spec"], dict):
        wrong = f"{', '.join(odd)} beside spec" if odd else "a spec that is no object"
        hint = 'send {"filters": […], "subscriber": {…}}, or that as "spec"'
        raise Refused(422, "bad_trigger", f"the trigger has {wrong}", hint=hint)
    metadata = given.get("metadata")
    says = {given.get("name"), metadata.get("name") if isinstance(metadata, dict) else None}
    if says - {None, name}:
        message = f"the trigger in the body has another name than {name!r} in the address"
        raise Refused(422, "bad_trigger", message)
    return dict(given["spec"])


def _unknown(name: str) -> Refused:
    hint = "GET /v1/triggers lists them"
    return Refused(404, "not_found", f"there is no trigger {name!r}", hint=hint)
