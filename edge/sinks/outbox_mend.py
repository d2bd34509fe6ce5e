"""What must be put right in the outbox after rows were lost: its sums, and what is there twice."""

from __future__ import annotations

import hashlib
import sqlite3

_RECOUNT = """
    UPDATE total SET
        waiting = (SELECT count(*) FROM parcel),
        waiting_bytes = (SELECT coalesce(sum(bytes), 0) FROM parcel),
        dead = (SELECT count(*) FROM dead),
        dead_bytes = (SELECT coalesce(sum(bytes), 0) FROM dead)
"""
# Rows that were deleted come back where the list of free pages was damaged, too.
_GONE = """
    DELETE FROM parcel WHERE seq IN (SELECT seq FROM dead) OR EXISTS (
        SELECT 1 FROM known
        WHERE event = edge_digest(parcel.event_id) AND parcel = edge_digest(parcel.id)
    )
"""


def mend(connection: sqlite3.Connection) -> None:
    """Count anew, and drop parcels that are known to be dead or delivered. A ``repair.Mend``."""
    connection.create_function("edge_digest", 1, _digest, deterministic=True)
    connection.execute(_GONE)
    connection.execute(_RECOUNT)


def _digest(name: str) -> bytes:
    """Return what ``known`` holds of a name, as the outbox writes it."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()
