"""Addresses of cameras: which kind, which peer, and what of it may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from edge.config.secret import Secret
from edge.errors import PartFailed
from edge.ops.redact_url import without_credentials

Kind = Literal["rtsp", "http", "v4l2", "file"]

_NETWORK: dict[str, tuple[Kind, bool, int]] = {
    "rtsp": ("rtsp", False, 554),
    "rtsps": ("rtsp", True, 322),
    "http": ("http", False, 80),
    "https": ("http", True, 443),
}
# Some cameras carry the password in the path: /user=admin_password=x_channel=1.sdp
_SECRET_INSIDE = re.compile(
    r"(pass\w*?|pwd|user\w*?|usr|token|secret|key|auth)=.*", re.IGNORECASE | re.DOTALL
)
_SHAPE_HINT = (
    "write it as rtsp://user:password@host/path, http://host/path, /dev/video0 or the path of a "
    "file; percent-encode /, ? and # in a password"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a camera is. ``where`` may be shown; ``url`` may not."""

    kind: Kind
    #: rtsps or https: OpenCV must never see it
    tls: bool = False
    #: as FFmpeg or the system is to open it, credentials and all
    url: Secret
    #: the same without anything secret
    where: str
    host: str = ""
    port: int = 0
    user: Secret | None = None
    password: Secret | None = None

    @property
    def network(self) -> bool:
        """True where the picture comes over a network: its end is a failure, not an end."""
        return self.kind in ("rtsp", "http")

    @property
    def live(self) -> bool:
        """True where pictures are taken now; False for a file."""
        return self.kind != "file"


def read_address(text: str) -> Address:
    """Read what the operator wrote.

    Raises:
        PartFailed: no address of a known kind. The message shows no part of a credential.

    """
    text = text.strip()
    if any(ord(character) < 32 for character in text):
        raise PartFailed(
            "the address has a line break or another control character in it",
            hint=_SHAPE_HINT,
            reason="bad_address",
        )
    scheme, colon, rest = text.partition("://")
    scheme = scheme.lower()
    if not colon:
        device = re.fullmatch(r"/dev/video\w+|/dev/v4l/.+", text)
        return _device(text) if device else _file(text)
    if scheme in _NETWORK:
        return _network(scheme, text)
    if scheme == "v4l2":
        return _device(rest)
    if scheme == "file":
        return _file(unquote(rest))
    raise PartFailed(
        f"a camera's address begins with {scheme[:10]}://, which is of no known kind",
        hint=_SHAPE_HINT,
        reason="bad_address",
    )


def _network(scheme: str, text: str) -> Address:
    kind, tls, default_port = _NETWORK[scheme]
    try:
        parts = urlsplit(text)
        port = parts.port or default_port
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), 0
    if not parts.hostname or "@" in parts.path:
        raise PartFailed(
            f"the {scheme} address cannot be read", hint=_SHAPE_HINT, reason="bad_address"
        )
    return Address(
        kind=kind,
        tls=tls,
        url=Secret(text),
        where=_showable(scheme, parts),
        host=parts.hostname,
        port=port,
        user=Secret(unquote(parts.username)) if parts.username else None,
        password=Secret(unquote(parts.password or "")) if parts.username else None,
    )


def _showable(scheme: str, parts: SplitResult) -> str:
    """Build the address anew from what is harmless, and cut at the first secret inside."""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    tail = parts.path + (f"?{parts.query}" if parts.query else "")
    return without_credentials(f"{scheme}://{host}{port}" + _SECRET_INSIDE.sub(r"\1=***", tail))


def _device(path: str) -> Address:
    path = path if path.startswith("/") else f"/dev/{path}"
    return Address(kind="v4l2", url=Secret(path), where=path)


def _file(path: str) -> Address:
    return Address(kind="file", url=Secret(path), where=path)
