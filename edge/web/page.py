"""The page: server-rendered and useful without JavaScript; the sign-in; the static files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

from edge.web.guard import SIGN_IN, Guard
from edge.web.present import page_model
from edge.web.problems import Refused
from edge.web.view import BoxView

_HERE = Path(__file__).parent
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Page:
    """What people see."""

    def __init__(self, view: BoxView, guard: Guard) -> None:
        self._view, self._guard = view, guard
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._files = {
            path.name: (path.read_bytes(), _TYPES[path.suffix])
            for path in (_HERE / "static").iterdir()
            if path.suffix in _TYPES
        }
        # The address of a file changes with its content, so that it may be kept for ever.
        content = b"".join(body for _, (body, _) in sorted(self._files.items()))
        self._build = hashlib.sha256(content).hexdigest()[:12]

    def routes(self) -> list[web.RouteDef]:
        """Return what this part answers."""
        return [
            web.get("/", self.index),
            web.get(SIGN_IN, self.ask),
            web.post(SIGN_IN, self.sign_in),
            web.post("/sign-out", self.sign_out),
            web.get("/static/{build}/{name}", self.static),
        ]

    def main(self) -> str:
        """Return the part of the page that changes, as markup."""
        return self._render("main.html", page_model(self._view.status()))

    async def index(self, request: web.Request) -> web.StreamResponse:
        """Answer ``GET /``."""
        return self.with_message(request)

    def with_message(
        self, request: web.Request, text: str = "", hint: str = "", status: int = 200
    ) -> web.Response:
        """Return the page; above it stands why what a button asked for was not done, if it was."""
        model = page_model(self._view.status())
        told = {"signed_in": self._guard.signed_in(request), "told": text, "told_hint": hint}
        return self._html("page.html", {**model, **told}, status)

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Answer ``GET /sign-in``: ask for the token."""
        if self._guard.goes_on(request):
            raise web.HTTPSeeOther("/")
        return self._html("sign_in.html", {"message": ""})

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Take the token, and give a session."""
        form = await request.post()
        given = form.get("token", "")
        try:
            self._guard.check_token(request, given.strip() if isinstance(given, str) else "")
        except Refused as error:
            response = self._html("sign_in.html", {"message": str(error)}, error.status)
            response.headers.update(error.headers)
            return response
        answer = web.Response(status=303, headers={"Location": "/"})
        self._guard.sign_in(request, answer)
        return answer

    async def sign_out(self, request: web.Request) -> web.StreamResponse:
        """End the session."""
        response = web.Response(status=303, headers={"Location": SIGN_IN})
        self._guard.sign_out(request, response)
        return response

    async def static(self, request: web.Request) -> web.StreamResponse:
        """Answer with a style, script or drawing."""
        try:
            body, kind = self._files[request.match_info["name"]]
        except KeyError:
            raise Refused(404, "not_found", "there is no such file") from None
        same = request.match_info["build"] == self._build
        keep = "public, max-age=31536000, immutable" if same else "no-cache"
        headers = {"Cache-Control": keep}
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)

    def _html(self, template: str, model: dict[str, Any], status: int = 200) -> web.Response:
        text = self._render(template, model)
        return web.Response(text=text, content_type="text/html", status=status)

    def _render(self, template: str, model: dict[str, Any]) -> str:
        return self._templates.get_template(template).render(
            static=f"/static/{self._build}", **model
        )
