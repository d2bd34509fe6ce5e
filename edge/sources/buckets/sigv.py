"""Signatures of requests to object stores: AWS Signature Version 4, and 2 for what knows no other.

Pure functions after Amazon's "Authenticating Requests (AWS Signature Version 4)" of the S3 API
reference and "Signing and Authenticating REST Requests" (version 2). Version 2 is for the pubsub
gateway of Ceph, whose version 4 is at odds with everybody's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final
from urllib.parse import quote

EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
"""The payload hash of a request without a body."""
UNSIGNED: Final = "UNSIGNED-PAYLOAD"

_ALGORITHM = "AWS4-HMAC-SHA256"
_SUBRESOURCES = frozenset(
    (
        *("acl", "cors", "delete", "lifecycle", "location", "logging", "notification"),
        *("partNumber", "policy", "requestPayment", "tagging", "torrent", "uploadId", "uploads"),
        *("versionId", "versioning", "versions", "website"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Whose request it is. ``secret_key`` is the secret itself: it does not print."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is signed, before any encoding."""

    method: str = "GET"
    #: as in the ``Host`` header: the port only where it is not the scheme's own
    host: str
    #: plain text, from the leading slash on
    path: str = "/"
    #: name and value, plain text; a name may repeat
    query: Sequence[tuple[str, str]] = ()
    #: other headers that are to be signed
    headers: Mapping[str, str] = field(default_factory=dict)


def encode_path(path: str) -> str:
    """Percent-encode a path once, as S3 wants it: slashes stay, all but unreserved goes."""
    return quote(path, safe="/-_.~")


def encode_query(pairs: Sequence[tuple[str, str]]) -> str:
    """Write a query in canonical form: sorted by name, then value; blanks are ``%20``.

    Send it exactly like this, so that what is sent is what was signed.
    """
    encoded = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


def sign_v4(
    request: Request, keys: Keys, when: datetime, *, payload: str = EMPTY_SHA256
) -> dict[str, str]:
    """Return the headers that make it a signed request: ``Authorization`` and two ``X-Amz-*``.

    Args:
        request: what is sent; its own headers are signed too, and not returned.
        keys: who sends it.
        when: now, with a zone; servers allow 15 minutes of error.
        payload: SHA-256 of the body in hexadecimal, or ``UNSIGNED``.

    """
    stamp = _stamp(when)
    added = {"X-Amz-Content-Sha256": payload, "X-Amz-Date": stamp}
    canonical, signed = _canonical(
        request, {"host": request.host, **request.headers, **added}, payload
    )
    scope = _scope(stamp, keys)
    signature = _signature(canonical, stamp, keys)
    return {
        **added,
        "Authorization": f"{_ALGORITHM} Credential={keys.access_key}/{scope},"
        f"SignedHeaders={signed},Signature={signature}",
    }


def presign_v4(
    request: Request, keys: Keys, when: datetime, *, expires: int = 3600
) -> tuple[tuple[str, str], ...]:
    """Return the whole query of a signed address, good for ``expires`` seconds (7 days at most)."""
    stamp = _stamp(when)
    names = ";".join(sorted(name.lower() for name in ("host", *request.headers)))
    query = (
        *request.query,
        ("X-Amz-Algorithm", _ALGORITHM),
        ("X-Amz-Credential", f"{keys.access_key}/{_scope(stamp, keys)}"),
        ("X-Amz-Date", stamp),
        ("X-Amz-Expires", str(expires)),
        ("X-Amz-SignedHeaders", names),
    )
    asked = Request(
        method=request.method,
        host=request.host,
        path=request.path,
        query=query,
        headers=request.headers,
    )
    canonical, _ = _canonical(asked, {"host": request.host, **request.headers}, UNSIGNED)
    return (*query, ("X-Amz-Signature", _signature(canonical, stamp, keys)))


def sign_v2(request: Request, keys: Keys, when: datetime) -> dict[str, str]:
    """Return ``Date`` and ``Authorization`` of a version 2 request in path style.

    Of the query only S3's sub-resources are signed: ``?events`` and ``?ack`` are not among them.
    """
    date = format_datetime(when.astimezone(UTC), usegmt=True)
    there = {name.lower(): value.strip() for name, value in request.headers.items()}
    amz = "".join(f"{name}:{there[name]}\n" for name in sorted(there) if name.startswith("x-amz-"))
    date = there.get("date", date)
    resource = encode_path(request.path) + _subresources(request.query)
    text = "\n".join(
        (request.method, there.get("content-md5", ""), there.get("content-type", ""), date, "")
    )
    mac = hmac.new(keys.secret_key.encode(), f"{text}{amz}{resource}".encode(), hashlib.sha1)
    signature = base64.b64encode(mac.digest()).decode()
    return {"Date": date, "Authorization": f"AWS {keys.access_key}:{signature}"}


def _subresources(query: Sequence[tuple[str, str]]) -> str:
    wanted = sorted(pair for pair in query if pair[0] in _SUBRESOURCES)
    text = "&".join(f"{name}={value}" if value else name for name, value in wanted)
    return f"?{text}" if text else ""


def _stamp(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _scope(stamp: str, keys: Keys) -> str:
    return f"{stamp[:8]}/{keys.region}/s3/aws4_request"


def _canonical(request: Request, headers: Mapping[str, str], payload: str) -> tuple[str, str]:
    """Return the canonical request, and the names of the headers that are signed."""
    plain = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    names = sorted(plain)
    signed = ";".join(names)
    lines = (
        request.method,
        encode_path(request.path),
        encode_query(request.query),
        *(f"{name}:{plain[name]}" for name in names),
        "",
        signed,
        payload,
    )
    return "\n".join(lines), signed


def _signature(canonical: str, stamp: str, keys: Keys) -> str:
    scope = _scope(stamp, keys)
    key = f"AWS4{keys.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}"
    return hmac.digest(key, text.encode(), "sha256").hex()
