"""``/v1/schemas/``: the published JSON Schemas of what the box says of its pictures."""

from __future__ import annotations

import json

from aiohttp import web

from edge.messages.published import ALL
from edge.web.problems import problem


class SchemaApi:
    """What programs ask that read messages."""

    def __init__(self) -> None:
        self._texts = {one.file: json.dumps(one.schema(), ensure_ascii=False) for one in ALL}

    def routes(self) -> list[web.RouteDef]:
        """Return what this part answers."""
        return [web.get("/v1/schemas/{name}.json", self.schema)]

    async def schema(self, request: web.Request) -> web.StreamResponse:
        """Answer with the schema of that name and version."""
        text = self._texts.get(request.match_info["name"])
        if text is None:
            known = ", ".join(f"/v1/schemas/{name}.json" for name in self._texts)
            return problem(404, "not_found", "there is no such schema", f"there are {known}")
        return web.Response(text=text, content_type="application/schema+json")
