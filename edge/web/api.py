"""The plain answers: alive, ready, metrics, status."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from edge.web.guard import Guard
from edge.web.verdict import judge
from edge.web.view import BoxView


class PlainApi:
    """What machines ask."""

    def __init__(self, view: BoxView, guard: Guard) -> None:
        self._view, self._guard = view, guard

    def routes(self) -> list[web.RouteDef]:
        """Return what this part answers."""
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/metrics", self.metrics),
            web.get("/v1/status", self.status),
            web.get("/v1/sources", self.sources),
        ]

    def state(self) -> dict[str, Any]:
        """Return the whole status with its three answers, as JSON values."""
        status = self._view.status()
        verdict = judge(status)
        answers = {name: verdict[name] for name in ("safe", "seeing", "sending")}
        return {**status, "overall": verdict["overall"], "answers": answers}

    async def healthz(self, request: web.Request) -> web.StreamResponse:
        """Answer 200 while every part moves."""
        return self._yes_or_no(request, "alive", self._view.alive())

    async def readyz(self, request: web.Request) -> web.StreamResponse:
        """Answer 200 while redacted pictures can be made and kept."""
        return self._yes_or_no(request, "ready", self._view.ready())

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """Answer with the metrics in Prometheus' text format."""
        del request
        body = generate_latest(self._view.metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def status(self, request: web.Request) -> web.StreamResponse:
        """Answer with everything that the page says, as JSON."""
        del request
        return web.json_response(self.state())

    async def sources(self, request: web.Request) -> web.StreamResponse:
        """Answer with how each source is."""
        del request
        return web.json_response({"sources": self._view.status()["seeing"]})

    def _yes_or_no(
        self, request: web.Request, word: str, answer: tuple[bool, list[str]]
    ) -> web.Response:
        good, reasons = answer
        body: dict[str, Any] = {word: good}
        # Whoever is not signed in learns that something is wrong, not what.
        if self._guard.admits(request):
            body["reasons"] = reasons
        return web.json_response(body, status=200 if good else 503)
