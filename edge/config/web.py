"""Web: the status page, the upload API, and the jobs that uploads become."""

from __future__ import annotations

from edge.config.secret import Secret
from edge.config.section import Section, key
from edge.config.units import Duration, Size


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


class JobsConfig(Section):
    """``[jobs]``: uploads, and how long their results can be fetched."""

    max_waiting: int = key(64, "Uploads that may wait in memory; then 503 with Retry-After.", ge=1)
    max_waiting_bytes: Size = key("256MiB", "Bytes that waiting uploads may take in memory.")
    keep_for: Duration = key("10min", "How long a result can be fetched; then 410.")
    keep_bytes: Size = key("64MiB", "Bytes of results that are kept in memory.")
