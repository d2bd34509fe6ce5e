"""Names in a store: what a parcel's key may look like, and what its message is called."""

from __future__ import annotations

import re
import threading
from datetime import datetime
from pathlib import PurePath, PurePosixPath

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
    if odd or _UNWRITABLE.search(key) or key.lower().endswith(".json"):
        raise Rejected(f"{key!r} cannot be a name in the store", reason="bad_key")
    return path


def message_name(path: PurePosixPath, results: str = "") -> PurePosixPath:
    """Return the name of the message that goes with a picture: ``.json`` for its extension.

    No picture's name ends so: the two never meet.

    Args:
        path: the picture's, as ``checked`` returned it.
        results: what is put before it.

    """
    return PurePosixPath(f"{results}{path.with_suffix('.json')}")


class Turns:
    """One at a time for each name: who compares and then writes is not overtaken in between."""

    def __init__(self) -> None:
        # names share a few locks: to wait now and then for another name costs nothing
        self._locks = tuple(threading.Lock() for _ in range(64))

    def of(self, message: PurePath) -> threading.Lock:
        """Return the lock of a picture and its message, by the message's name."""
        return self._locks[hash(message) % len(self._locks)]


def gives_way(there: object, taken_at: datetime) -> bool:
    """Tell whether what is stored gives way to a picture that was taken then.

    Args:
        there: what it says of when it was taken itself; what says nothing gives way.
        taken_at: with zone. Of two pictures of one moment the one that comes later has the name.

    """
    try:
        then = datetime.fromisoformat(str(there))
    except ValueError:
        return True
    return then.tzinfo is None or taken_at >= then


def taken(where: str, hint: str) -> Rejected:
    """Return what to raise where a name is taken by another picture, and that one keeps it."""
    return Rejected(f"{where} is there already with another content", hint=hint, reason="key_taken")


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
