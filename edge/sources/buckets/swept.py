"""How far a bucket was swept: what is older was dealt with, and no sweep asks for it again.

The outbox remembers a picture for days, a bucket may keep its original for years. Without this a
box that starts after a long rest would redact the whole bucket once more. The times are those of
the server: a box whose clock is wrong misses nothing.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Final

from edge.config.sources import BucketConfig
from edge.ops.database import Database

SCHEMA: Final = """
    CREATE TABLE swept (place BLOB PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
"""
MARGIN: Final = timedelta(days=1)
"""An object may be listed later than its time says: an upload in parts has that of its begin."""


class Swept:
    """Remembers of one bucket, across restarts, how far it was swept.

    Args:
        database: the spool, made with ``SCHEMA`` among its scripts.
        name: the source's name.
        config: the bucket; where and what it reads. Of another one nothing is known.

    """

    def __init__(self, database: Database, name: str, config: BucketConfig) -> None:
        self._database = database
        said = [name, config.endpoint, config.bucket, config.prefix, sorted(config.suffixes)]
        text = json.dumps([*said, config.sweep_since])
        self._place = hashlib.blake2b(text.encode(), digest_size=16).digest()

    async def until(self) -> datetime:
        """Return the time before which every object was dealt with."""
        found = await self._database.do(
            lambda connection: connection.execute(
                "SELECT until FROM swept WHERE place = ?", (self._place,)
            ).fetchone(),
            durable=False,
        )
        return datetime.fromtimestamp(found[0], UTC) if found else datetime.min.replace(tzinfo=UTC)

    async def finished(self, newest: datetime) -> None:
        """Note that a pass came to its end.

        Args:
            newest: the time of the newest object that it saw, as the server says it.

        """
        values = (self._place, (newest - MARGIN).timestamp())
        # come undone in a power cut, the next sweep asks for more than it had to
        await self._database.do(
            lambda connection: (
                connection.execute("INSERT OR REPLACE INTO swept VALUES (?, ?)", values).rowcount
            ),
            durable=False,
        )
