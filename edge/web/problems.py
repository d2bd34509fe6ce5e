"""Errors as the API says them: ``{"error": {"code", "message", "hint"}}`` with the right status."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from edge.errors import EdgeError, PartFailed, Rejected, TryLater

_BY_REASON = {
    "empty": 422,
    "too_large": 413,
    "key_reused": 409,
    "in_config": 409,
    "bad_filter": 400,
    "malformed": 400,
    "unsupported_version": 400,
    "unsupported_media_type": 415,
    "unsupported": 501,
}
_NO_ROOM = ("journal_full",)
"""Reasons to wait that whoever asks can do something about: by asking less often."""

_BY_STATUS = {
    400: ("bad_request", "the request could not be read"),
    404: ("not_found", "there is nothing at this address"),
    405: ("method_not_allowed", "this address does not take this method"),
    413: ("too_large", "the body is larger than allowed"),
    417: ("bad_request", "the expectation cannot be met"),
}


class Refused(Rejected):
    """A request that is answered with ``status``; the reason is the code in the answer."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, reason=reason)
        self.status = status
        self.headers = headers or {}


def problem(
    status: int,
    code: str,
    message: str,
    hint: str = "",
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> web.Response:
    """Return the answer that says what was wrong; ``more`` stands beside code, message, hint."""
    error = {"code": code, "message": message, "hint": hint, **more}
    return web.json_response({"error": error}, status=status, headers=headers)


def from_error(error: EdgeError) -> web.Response:
    """Translate an error of the house."""
    told = (error.reason, str(error), error.hint)
    if isinstance(error, Refused):
        return problem(error.status, *told, error.headers)
    if isinstance(error, TryLater):
        after = {"Retry-After": str(max(1, math.ceil(error.after or 1)))}
        return problem(429 if error.reason in _NO_ROOM else 503, *told, after)
    if isinstance(error, Rejected):
        return problem(_BY_REASON.get(error.reason, 422), *told, **_faults(error))
    if isinstance(error, PartFailed):
        return problem(503, *told, {"Retry-After": "5"})
    return problem(500, *told)


def _faults(error: Rejected) -> dict[str, Any]:
    """Return every single fault, where the error names several (a trigger, a filter)."""
    faults = getattr(error, "faults", ())
    if not faults:
        return {}
    return {
        "faults": [
            {"path": fault.path, "given": fault.given, "message": fault.message} for fault in faults
        ]
    }


def from_http(error: web.HTTPException) -> web.Response:
    """Translate an error of aiohttp's router or parser; ``Allow`` of a 405 is kept."""
    code, message = _BY_STATUS.get(error.status, ("bad_request", error.reason))
    kept = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    return problem(error.status, code, message, headers=kept)
