"""Uploads over HTTP: ``POST /v1/images``, and the job that each becomes."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from aiohttp import web

from edge.contracts import JobStatus
from edge.web.bodies import (
    WRAPPING,
    Intake,
    go_on,
    read_json,
    read_multipart,
    read_raw,
    too_large,
    wait_before_continue,
)
from edge.web.pictures import picture
from edge.web.problems import Refused, problem
from edge.web.view import BoxView

LONGEST_WAIT = 60.0
"""Most seconds that ``?wait=`` holds a request."""

_TYPES = "image/*, application/octet-stream, multipart/form-data, application/json"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

# The second is what "curl --data-binary" says of everything; the content decides.
_RAW = ("application/octet-stream", "application/x-www-form-urlencoded")


class UploadApi:
    """Takes pictures, and hands out how they fare and what they became."""

    def __init__(self, view: BoxView, max_upload: int) -> None:
        self._view = view
        self._most = max_upload
        # Four at the same time: enough for a slow link each, little enough for a small box.
        self._intake = Intake(4 * (max_upload + WRAPPING))

    def routes(self) -> list[web.RouteDef]:
        """Return what this part answers."""
        return [
            web.post("/v1/images", self.take, expect_handler=wait_before_continue),
            web.get("/v1/jobs/{id}", self.job),
            web.get("/v1/jobs/{id}/image", self.image),
        ]

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Answer ``POST /v1/images``: 202 with the job's address, or why not."""
        kind = request.content_type
        if kind == "application/json":
            await go_on(request)
            return await self._take_reference(request)
        form = kind == "multipart/form-data"
        if not form and not kind.startswith("image/") and kind not in _RAW:
            raise Refused(
                415,
                "unsupported_type",
                f"{kind} is not a picture",
                hint=f"send {_TYPES}",
                headers={"Accept-Post": _TYPES},
            )
        key = _idempotency_key(request)
        size = self._announced(request, WRAPPING if form else 0)
        self._view.jobs.room(size)
        with self._intake.hold(size):
            await go_on(request)
            body, name = await (read_multipart if form else read_raw)(request, self._most)
        if not body:
            raise _empty()
        return _taken(await self._view.jobs.submit(body, name, key))

    async def job(self, request: web.Request) -> web.StreamResponse:
        """Answer ``GET /v1/jobs/{id}``; with ``?wait=`` at its end or after so many seconds."""
        job_id, seconds = request.match_info["id"], _wait(request)
        if seconds:
            return _tell(_known(await self._view.jobs.wait(job_id, seconds)))
        return _tell(_known(await self._view.jobs.get(job_id)))

    async def image(self, request: web.Request) -> web.StreamResponse:
        """Answer ``GET /v1/jobs/{id}/image``: the redacted picture, and nothing else, ever."""
        status = _known(await self._view.jobs.get(request.match_info["id"]))
        if status.state in ("queued", "running"):
            return _tell(status, 202)
        if status.state == "dead":
            return problem(409, status.reason or "dead", "there is no picture", status.hint)
        parcel = await self._view.jobs.image(status.id)
        if parcel is None:
            where = f" as {status.key}" if status.key else ""
            hint = (
                f"look for it in the store{where}; or send the picture with another "
                "Idempotency-Key to have it redacted anew"
            )
            return problem(410, "gone", "the picture is no longer kept here", hint)
        return picture(request, parcel)

    async def _take_reference(self, request: web.Request) -> web.StreamResponse:
        given = await read_json(request)
        bucket, key = given.get("bucket"), given.get("key")
        if not (isinstance(bucket, str) and bucket and isinstance(key, str) and key):
            raise Refused(422, "bad_request", 'expected {"bucket": "…", "key": "…"}')
        self._view.jobs.room(0)
        return _taken(await self._view.jobs.refer(bucket, key, _idempotency_key(request)))

    def _announced(self, request: web.Request, wrapping: int) -> int:
        """Return how many bytes to make room for."""
        length = request.content_length
        if length is None:
            return self._most + wrapping
        if length > self._most + wrapping:
            raise too_large(self._most)
        if not length:
            raise _empty()
        return length


def _empty() -> Refused:
    return Refused(422, "empty", "there is no picture in the request")


def _idempotency_key(request: web.Request) -> str:
    key = request.headers.get("Idempotency-Key", "").strip('"')
    if key and not _KEY.fullmatch(key):
        text = "Idempotency-Key is 1 to 255 visible ASCII characters"
        raise Refused(400, "bad_request", text)
    return key


def _wait(request: web.Request) -> float:
    text = request.query.get("wait", "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise Refused(400, "bad_request", "wait is a number of seconds, 0 or more")
    return min(seconds, LONGEST_WAIT)


def _known(status: JobStatus | None) -> JobStatus:
    if status is None:
        hint = "it was never here, or it is too long ago"
        raise Refused(404, "not_found", "there is no such job", hint=hint)
    return status


def _taken(status: JobStatus) -> web.Response:
    return _tell(status, 200 if status.state in ("done", "dead") else 202)


def _tell(status: JobStatus, code: int = 200) -> web.Response:
    address = f"/v1/jobs/{status.id}"
    body: dict[str, Any] = asdict(status)
    for name in ("accepted_at", "finished_at"):
        body[name] = body[name] and body[name].isoformat(timespec="milliseconds")
    body["links"] = {"self": address, "image": f"{address}/image"}
    headers = {"Location": address}
    if code == 202:
        headers["Retry-After"] = "1"
    return web.json_response(body, status=code, headers=headers)
