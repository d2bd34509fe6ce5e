"""Addresses without credentials: what logs, pages, errors and metrics may show of a URL."""

from __future__ import annotations

import re
from collections.abc import Mapping

_USERINFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?P<user>[^/?#\s]*)@", re.IGNORECASE)
# A password in which @ / ? # were not percent-encoded. What begins as 10.0.0.5:554/ is no user.
_RAW_PASSWORD = re.compile(
    r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)"
    r"(?!(?:\[[^\]\s]*\]|[\w-]*\.[\w.-]*|localhost)(?::\d+)?(?:[/?#]|$))"
    r"[^/?#\s:@]*:\S*@",
    re.IGNORECASE,
)
# "/" too: some cameras want rtsp://host/user=admin_password=…_channel=1
# A quote ends the value only where it closes a text, so that quoted addresses stay quoted.
_QUERY_SECRET = re.compile(
    r"(?P<name>[?&;/](?:[^=&;\s]*(?:pass|pwd|token|secret|key|auth|user|usr)[^=&;\s]*))="
    r"(?:[^&;\s#\"]|\"(?![\s,\])}]|$))*",
    re.IGNORECASE,
)


def without_credentials(text: str) -> str:
    """Return ``text`` with user, password and secret query values of every URL in it starred.

    Cameras carry credentials both before the ``@`` and as ``?user=…&password=…``.
    """
    text = _RAW_PASSWORD.sub(r"\g<scheme>***@", text)
    text = _USERINFO.sub(r"\g<scheme>***@", text)
    return _QUERY_SECRET.sub(r"\g<name>=***", text)


def clean(value: object) -> object:
    """Return ``value`` with the credentials in its texts starred, however deep they stand.

    For what becomes JSON: starring the finished JSON would eat its quotes.
    """
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, Mapping):
        return {clean(name): clean(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [clean(inner) for inner in value]
    return value
