"""Sources that show the same: what is covered in a view stays covered under another name."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from urllib.parse import urlsplit

from edge.config.sources import BucketConfig, CameraConfig, FolderConfig, SourceConfig


def others(name: str, source: SourceConfig, known: Mapping[str, SourceConfig]) -> list[str]:
    """Return which known sources show what this one would, where it is new or was moved there.

    What was there before under its name is its owner's decision. A camera is known by its host,
    for it shows the same in each of its streams; an address that hides which host it is (a name
    instead of a number) is not seen through.
    """
    where, before = _place(source), known.get(name)
    if not where or (before is not None and _place(before) == where):
        return []
    return [other for other, one in known.items() if other != name and _place(one) == where]


def _place(source: SourceConfig) -> str:
    """Return where its pictures come from; empty: they are drawn."""
    if isinstance(source, CameraConfig):
        url = source.url.reveal()
        try:
            return urlsplit(url).hostname or os.path.normpath(url)
        except ValueError:
            return url
    if isinstance(source, FolderConfig):
        return os.path.normpath(source.path)
    if isinstance(source, BucketConfig):
        return f"{source.endpoint.rstrip('/').lower()}/{source.bucket}"
    return ""
