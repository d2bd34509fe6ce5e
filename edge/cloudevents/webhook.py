"""The handshake of webhooks: a sender asks by OPTIONS whether it may send events here.

Source: CloudEvents HTTP 1.1 Web Hooks 1.0.2, section 4. It protects strangers from being flooded;
it is no authorization, which each POST needs for itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from edge.cloudevents.faults import Malformed, refused, several

_ASKS: Final = ("webhook-request-origin", "webhook-request-rate")
_ORIGIN: Final = re.compile(r"[A-Za-z0-9._:\-\[\]]{1,253}")
_RATE: Final = re.compile(r"0*[1-9][0-9]{0,8}")


def answer(
    headers: Mapping[str, str] | Sequence[tuple[str, str]],
    *,
    origins: Collection[str] | None = None,
    rate: int | None = None,
) -> dict[str, str]:
    """Answer a sender that asks; the returned headers are its permission.

    ``WebHook-Request-Callback`` is not called: the permission is given at once, and an address
    that a stranger names is none to go to.

    Args:
        headers: of the OPTIONS request.
        origins: who may send, by the names they give; None: everyone.
        rate: requests a minute that one sender may make; None: without a limit.

    Raises:
        Malformed: nobody asks, or asks for what is no name or no rate (``malformed``, 400); or the
            origin may not send (``origin_refused``, 403). The answer then has none of the headers.

    """
    asked = _asked(headers)
    origin = asked.get("webhook-request-origin", "")
    if not _ORIGIN.fullmatch(origin):
        raise refused("WebHook-Request-Origin", origin, "the DNS name of the sender")
    if origins is not None and origin.lower() not in {name.lower() for name in origins}:
        raise Malformed(f"{origin} may not send events here", reason="origin_refused")
    wanted = asked.get("webhook-request-rate")
    if wanted is not None and not _RATE.fullmatch(wanted):
        raise refused("WebHook-Request-Rate", wanted, "requests a minute, a number above 0")
    return {
        "Allow": "POST",
        "WebHook-Allowed-Origin": origin,
        "WebHook-Allowed-Rate": _granted(wanted, rate),
    }


def _asked(headers: Mapping[str, str] | Sequence[tuple[str, str]]) -> dict[str, str]:
    asked: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        lower = name.lower()
        if lower not in _ASKS:
            continue
        if lower in asked:
            raise several(lower)
        asked[lower] = value.strip(" \t")
    return asked


def _granted(wanted: str | None, rate: int | None) -> str:
    if wanted is None:
        return "*" if rate is None else str(rate)
    return str(int(wanted) if rate is None else min(int(wanted), rate))
