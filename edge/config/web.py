"""Web: the status page and the HTTP API."""

from __future__ import annotations

from edge.config.secret import Secret
from edge.config.section import Section, key
from edge.config.units import Size


class WebConfig(Section):
    """``[web]``."""

    host: str = key("127.0.0.1", "Address to listen on. Any other than loopback needs a token.")
    port: int = key(8080, "Port to listen on; 0 takes a free one.", ge=0, le=65535)
    token: Secret | None = key(
        None, "Who shows this token (Authorization: Bearer …, or the page's sign-in) may enter."
    )
    allowed_hosts: tuple[str, ...] = key(
        (), "Host names under which the page may be called, besides loopback and [web] host."
    )
    max_upload: Size = key("32MiB", "Largest upload.")
    max_viewers: int = key(8, "Live previews that may be watched at once.", ge=0, le=100)
