"""Addresses without credentials: what logs, pages, errors and metrics may show of a URL."""

from __future__ import annotations

import re

_USERINFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?P<user>[^/?#\s]*)@", re.IGNORECASE)
_QUERY_SECRET = re.compile(
    r"(?P<name>[?&;](?:[^=&;\s]*(?:pass|pwd|token|secret|key|auth|user|usr)[^=&;\s]*))=[^&;\s#]*",
    re.IGNORECASE,
)


def without_credentials(text: str) -> str:
    """Return ``text`` with user, password and secret query values of every URL in it starred.

    Cameras carry credentials both before the ``@`` and as ``?user=…&password=…``.
    """
    text = _USERINFO.sub(r"\g<scheme>***@", text)
    return _QUERY_SECRET.sub(r"\g<name>=***", text)
