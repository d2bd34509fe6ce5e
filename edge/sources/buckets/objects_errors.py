"""What an object server's answer means that was no success: whose fault it is, in words."""

from __future__ import annotations

import re

from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3 import exceptions as http

from edge.errors import EdgeError, PartFailed, Rejected

RAISED = (S3Error, ServerError, InvalidResponseError, http.HTTPError, ValueError, SyntaxError)
"""What minio raises. The last two over an answer that makes no sense: XML's ParseError is a
SyntaxError."""

_DELETE_MARKER = "x-amz-delete-marker"
_GONE = {"NoSuchKey", "NoSuchVersion"}
_SETTINGS = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "InvalidRegion",
    "ExpiredToken",
    "InvalidToken",
}
"""4xx that are about the source's settings."""
_NOT_THE_OBJECT = {404, 405, 407, 408, 409, 421, 425, 429}
"""4xx that say nothing about the object."""
_NETWORK: tuple[tuple[type[Exception], tuple[str, str]], ...] = (
    (
        http.NameResolutionError,
        ("has a name that nobody knows", "check endpoint, path_style and the box's DNS"),
    ),
    (
        http.SSLError,
        (
            "has a certificate that is not trusted, or does not speak TLS",
            "set ca_file to its CA, check the host's name and the box's clock",
        ),
    ),
    (
        http.NewConnectionError,
        ("cannot be reached", "is the server running, and are host and port right?"),
    ),
    (
        http.TimeoutError,
        ("took longer than timeout", "the server or the link is slow, or hangs"),
    ),
    (
        http.HTTPError,
        ("cut the connection", "did the server restart? http or https?"),
    ),
)


def translated(error: Exception, where: str, key: str) -> EdgeError:
    """Return what to raise.

    Args:
        error: one of ``RAISED``.
        where: address and bucket, without credentials.
        key: the object that was asked for; empty for a listing.

    """
    if isinstance(error, S3Error):
        made = _refusal(error, where, key)
        made.status = error.response.status
        return made
    if isinstance(error, http.HTTPError):
        cause, hint = next(words for kind, words in _NETWORK if isinstance(error, kind))
        return PartFailed(f"{where} {cause}", hint=hint, reason="unreachable")
    status = _status(error)
    if status in {401, 403}:
        return _forbidden(where, f"HTTP status {status}", status)
    made = PartFailed(
        f"{where} does not answer like an S3 server"
        + (f": HTTP status {status}" if status else ""),
        hint="is the endpoint the S3 port? Is a proxy in between? http or https?",
        reason="unreachable",
    )
    made.status = status
    return made


def _refusal(error: S3Error, where: str, key: str) -> EdgeError:
    status, code = error.response.status, error.code or ""
    said = f"{code or status}" + (f" ({error.message[:200]})" if error.message else "")
    gone = status == 404 and code in _GONE
    if key and (gone or (status == 405 and error.response.headers.get(_DELETE_MARKER))):
        return Rejected(
            f"there is no {key!r} in {where}",
            hint="it was deleted before its turn came",
            reason="gone",
        )
    if code == "NoSuchBucket":
        return PartFailed(
            f"{where} has no such bucket",
            hint="make it, or correct the bucket of the source",
            reason="no_bucket",
        )
    if code == "InvalidObjectState":
        return Rejected(
            f"{key!r} in {where} is archived: {said}",
            hint="restore it, then replay the dead letter",
            reason="archived",
        )
    if status in {401, 403} or 300 <= status < 400 or code in _SETTINGS:
        return _forbidden(where, said, status)
    if key and 400 <= status < 500 and status not in _NOT_THE_OBJECT:
        return Rejected(f"{where} refuses {key!r}: {said}", reason="object_refused")
    return PartFailed(
        f"{where} is overloaded or has a fault of its own: {said}",
        hint="it is tried again; look at the server's log",
        reason="unreachable",
    )


def _forbidden(where: str, said: str, status: int) -> PartFailed:
    made = PartFailed(
        f"{where} refuses: {said}",
        hint="check access_key, secret_key, region and the clock of the box; the key needs "
        "s3:GetObject and s3:ListBucket (without which some servers refuse what is gone)",
        reason="refused",
    )
    made.status = status
    return made


def _status(error: Exception) -> int:
    if isinstance(error, ServerError):
        return int(error.status_code)
    if isinstance(error, InvalidResponseError):
        return int((re.findall(r"Response code: (\d+)", str(error)) or ["0"])[0])
    return 0
