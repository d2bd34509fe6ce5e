"""Names in a store: what a parcel's key may look like, and what its message is called."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from edge.errors import Rejected

_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and halves of characters that have no bytes."""


MOST_READ_BYTES = 64 * 2**20
"""A larger picture is not read back: it has to fit into memory, beside others."""


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


def gone(key: str, where: str) -> Rejected:
    """Return what to raise where a door has nothing of that key."""
    return Rejected(
        f"there is no picture {key!r} in {where}",
        hint="was it deleted there, by a person or by a rule of the bucket?",
        reason="gone",
    )


def too_large(key: str) -> Rejected:
    """Return what to raise where a door has more of that key than is read."""
    return Rejected(
        f"{key!r} has more than {MOST_READ_BYTES} bytes: it is no picture of Edge's",
        reason="too_large",
    )
