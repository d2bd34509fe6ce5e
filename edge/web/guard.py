"""The guard at the door: which names, which sites, and who may come in. Every request passes it.

In this order: the ``Host`` must be one of ours (DNS rebinding), a request that another site made
the browser send is refused (CSRF), and where a token is set it must be shown.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from edge.config.web import WebConfig
from edge.errors import EdgeError
from edge.web.problems import Refused, from_error, from_http
from edge.web.sessions import IDLE, Sessions, Slowdown

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SIGN_IN = "/sign-in"
HOOKS = "/hooks/"
"""Below it the guard looks at nothing: ``HookApi`` does."""
_OPEN = ("/healthz", "/readyz", SIGN_IN, "/static/")
_WRITES = ("POST", "PUT", "PATCH", "DELETE")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is this machine only."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """Return the name in a ``Host`` header, without port; empty where it makes no sense."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Set the security headers on every answer, streams and errors included."""
    del request
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.popall("Server", None)


class Guard:
    """Lets in whom the configuration lets in."""

    def __init__(self, config: WebConfig) -> None:
        self._token = config.token
        self._hosts = {host_name(host) for host in (config.host, *config.allowed_hosts)} - {""}
        self._sessions = Sessions()
        self._slow = Slowdown()
        # Cookies do not know ports: two boxes on one machine must not sign each other out.
        self._cookie = f"edge_session_{config.port}"

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check, answer, and say errors in one form."""
        try:
            # machines call these, by any name of the box, and show tokens of their own
            if not request.path.startswith(HOOKS):
                self.check_place(request)
                if not request.path.startswith(_OPEN) and not self.admits(request):
                    return self._turn_away(request)
            return await handler(request)
        except EdgeError as error:
            return from_error(error)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return from_http(error)

    def check_place(self, request: web.Request) -> None:
        """Check that the request calls us by our name, and that no other site had it made.

        Raises:
            Refused: 421 another name, 403 another site.

        """
        self._check_host(request)
        self._check_site(request)

    def admits(self, request: web.Request) -> bool:
        """Tell whether the request may see and do everything.

        Raises:
            Refused: a wrong token, or a try too soon after wrong ones.

        """
        if not self._token:
            return True
        if self._sessions.holds(request.cookies.get(self._cookie, "")):
            return True
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        self.check_token(request, given.strip())
        return True

    def check_token(self, request: web.Request, given: str) -> None:
        """Compare a token in constant time, and slow down who fails.

        Raises:
            Refused: 429 where the peer has to wait, 401 where the token is wrong.

        """
        peer = request.remote or ""
        wait = math.ceil(self._slow.wait(peer))
        if wait:
            raise Refused(
                429,
                "too_many_tries",
                f"too many wrong tokens from here: try again in {wait} s",
                headers={"Retry-After": str(wait)},
            )
        if not (self._token and same_text(given, self._token.reveal())):
            self._slow.failed(peer)
            raise _unauthorised("the token is wrong")
        self._slow.passed(peer)

    def goes_on(self, request: web.Request) -> bool:
        """Tell whether a stream that was admitted may go on: its session has not ended."""
        if not self._token or "Authorization" in request.headers:
            return True
        return self.signed_in(request)

    def signed_in(self, request: web.Request) -> bool:
        """Tell whether the request comes from a browser that signed in."""
        return bool(self._token) and self._sessions.holds(request.cookies.get(self._cookie, ""))

    def sign_in(self, request: web.Request, response: web.StreamResponse) -> None:
        """Give the browser a session."""
        response.set_cookie(
            self._cookie,
            self._sessions.open(),
            max_age=int(IDLE),
            httponly=True,
            samesite="Strict",
            secure=request.secure,
        )

    def sign_out(self, request: web.Request, response: web.StreamResponse) -> None:
        """End the browser's session."""
        self._sessions.close(request.cookies.get(self._cookie, ""))
        response.del_cookie(self._cookie, httponly=True, samesite="Strict")

    def _turn_away(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/" and request.method in ("GET", "HEAD"):
            return web.Response(status=303, headers={"Location": SIGN_IN})
        raise _unauthorised("this needs the token")

    def _check_host(self, request: web.Request) -> None:
        host = host_name(request.headers.get("Host", ""))
        if is_loopback(host) or host in self._hosts:
            return
        # An address that the browser really connected to cannot be a rebound name.
        here = request.transport and request.transport.get_extra_info("sockname")
        if host and here and host == here[0]:
            return
        raise Refused(
            421,
            "unknown_host",
            "this box does not go by that name",
            hint="add the name to allowed_hosts in [web]",
        )

    def _check_site(self, request: web.Request) -> None:
        headers = request.headers
        site = headers.get("Sec-Fetch-Site", "")
        if site in ("", "none", "same-origin"):
            foreign = request.method in _WRITES and not site and _other_origin(request)
        else:
            # Another site may link to the page; it may not embed, read or post anything.
            foreign = not (
                request.method == "GET"
                and headers.get("Sec-Fetch-Mode") == "navigate"
                and headers.get("Sec-Fetch-Dest") == "document"
                and request.path in ("/", SIGN_IN)
            )
        if foreign:
            raise Refused(403, "cross_site", "a request from another site is refused")


def _other_origin(request: web.Request) -> bool:
    """Tell whether a browser without Sec-Fetch-Site says that the request is another site's."""
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != request.headers.get("Host", "").lower()
    except ValueError:
        return True


def same_text(given: str, token: str) -> bool:
    """Compare two texts in a time that says nothing about them."""
    digests = [hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (given, token)]
    return hmac.compare_digest(*digests)


def _unauthorised(message: str) -> Refused:
    return Refused(
        401,
        "unauthorised",
        message,
        hint="send Authorization: Bearer TOKEN, or sign in at /sign-in",
        headers={"WWW-Authenticate": 'Bearer realm="edge"'},
    )
