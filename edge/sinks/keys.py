"""Names in a store: what a parcel's key may look like, and what its message is called."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from edge.errors import Rejected

_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and halves of characters that have no bytes."""


def checked(key: str) -> PurePosixPath:
    """Return the key as a path that is the same on every door.

    Raises:
        Rejected: it could lead out of the store, is spelled differently by a server than by us
            (``a/../b`` has another signature than ``b``), or is the name of a message.

    """
    path = PurePosixPath(key)
    parts = key.split("/")
    odd = any(part in {"", ".", ".."} for part in parts)
    if odd or _UNWRITABLE.search(key) or path.suffix == ".json":
        raise Rejected(f"{key!r} cannot be a name in the store", reason="bad_key")
    return path


def message_name(path: PurePosixPath) -> PurePosixPath:
    """Return the name of the message that goes with a picture: ``.json`` for its extension."""
    return path.with_suffix(".json")
