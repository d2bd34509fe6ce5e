"""One redacted picture as an answer: ETag, If-None-Match, Range.

It takes a Parcel, or what the store gave back of one, and no bytes.
"""

from __future__ import annotations

import hashlib

from aiohttp import ETag, web

from edge.parcel import Parcel, ReadBack
from edge.web.problems import Refused


def picture(request: web.Request, parcel: Parcel | ReadBack) -> web.Response:
    """Answer with a parcel's picture, or the part of it that was asked for.

    Raises:
        Refused: 416 where the range lies outside of it.

    """
    tag = hashlib.sha256(parcel.body).hexdigest()[:32]
    headers = {
        "ETag": f'"{tag}"',
        "Accept-Ranges": "bytes",
        # Let a browser keep it, but ask: whoever signs out must not find it in a shared cache.
        "Cache-Control": "private, no-cache",
        "X-Taken-At": parcel.taken_at.isoformat(timespec="milliseconds"),
    }
    if _matches(request.if_none_match, tag):
        return web.Response(status=304, headers=headers)
    wanted = _range(request, len(parcel.body), tag)
    if wanted is None:
        return web.Response(body=parcel.body, content_type=parcel.content_type, headers=headers)
    headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{len(parcel.body)}"
    return web.Response(
        status=206,
        body=parcel.body[wanted.start : wanted.stop],
        content_type=parcel.content_type,
        headers=headers,
    )


def _matches(tags: tuple[ETag, ...] | None, tag: str) -> bool:
    return any(given.value in (tag, "*") for given in tags or ())


def _range(request: web.Request, size: int, tag: str) -> range | None:
    """Return the bytes that were asked for; None for all of them."""
    unless = request.headers.get("If-Range")
    if request.method != "GET" or (unless is not None and unless != f'"{tag}"'):
        return None
    try:
        wanted = range(size)[request.http_range]
    except ValueError:
        return None  # several ranges, or none that can be read: RFC 9110 lets us send all
    if not wanted:
        headers = {"Content-Range": f"bytes */{size}"}
        raise Refused(416, "bad_range", "the picture has no such part", headers=headers)
    return None if len(wanted) == size else wanted
