"""Names of the originals of uploads, such that the source of their bucket wants them."""

from __future__ import annotations

import re
from typing import Final

from edge.config.sources import BucketConfig
from edge.frame import picture_format
from edge.sources.upload import safe_name

FOLDER: Final = "uploads"
USABLE: Final = re.compile(r"[A-Za-z0-9._-]*\.[A-Za-z0-9]+")
"""An ending that a name may be given."""
_OURS: Final = re.compile(rf"{FOLDER}/([0-9a-f]{{32}})/[^/]+\Z")
_KINDS: Final = {
    "JPEG": ("image/jpeg", ".jpg"),
    "PNG": ("image/png", ".png"),
    "WebP": ("image/webp", ".webp"),
    "GIF": ("image/gif", ".gif"),
    "BMP": ("image/bmp", ".bmp"),
    "AVIF": ("image/avif", ".avif"),
    "JPEG2000": ("image/jp2", ".jp2"),
    "HEIC": ("image/heic", ".heic"),
    "TIFF": ("image/tiff", ".tif"),
}


def content_type(body: bytes) -> str:
    """Return the type of an upload by its content."""
    return _kind(body)[0]


def object_key(config: BucketConfig, job_id: str, name: str, body: bytes) -> str:
    """Return where an original waits: ``<prefix>uploads/<job id>/<name>``.

    The name ends as the source wants it: as the content is, where the source takes that, else as
    the first ending that it takes.
    """
    name = safe_name(name) or "upload"
    endings = [ending.lower() for ending in config.suffixes]
    if endings and not name.lower().endswith(tuple(endings)):
        own = _kind(body)[1]
        usable = (ending for ending in endings if USABLE.fullmatch(ending))
        name += own if own in endings else next(usable, endings[0])
    return f"{config.prefix}{FOLDER}/{job_id}/{name}"


def job_of(key: str) -> str:
    """Return the id of the job that an original is of, by its key; empty: it is none of ours."""
    found = _OURS.search(key)
    return "" if found is None else found[1]


def _kind(body: bytes) -> tuple[str, str]:
    return _KINDS.get(picture_format(body), ("application/octet-stream", ""))
