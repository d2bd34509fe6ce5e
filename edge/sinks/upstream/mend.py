"""What must be put right in the upstream queue after rows were lost: its sums, and what points."""

from __future__ import annotations

import sqlite3

_IS_THERE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'upstream_total'"
_POINTERS = """
    DELETE FROM upstream_given WHERE n NOT IN (SELECT n FROM upstream);
    DELETE FROM upstream_loss WHERE n NOT IN (SELECT n FROM upstream WHERE class = 'loss');
"""
# A place is given once: what is at the end must be remembered.
_LAST = """
    INSERT OR IGNORE INTO upstream_known (n, digest, at)
    SELECT max(n), randomblob(16), put_at FROM upstream HAVING max(n) IS NOT NULL
"""
_NUMBERS = """
    INSERT INTO upstream_line (class, source, seq)
    SELECT class, source, max(seq) FROM upstream WHERE true GROUP BY class, source
    ON CONFLICT (class, source) DO UPDATE SET seq = max(seq, excluded.seq)
"""
_CLASSES = """
    INSERT OR IGNORE INTO upstream_total (class) SELECT DISTINCT class FROM upstream
"""
_RECOUNT = """
    UPDATE upstream_total SET
        waiting = (SELECT count(*) FROM upstream WHERE class = upstream_total.class),
        waiting_bytes = (
            SELECT coalesce(sum(bytes), 0) FROM upstream WHERE class = upstream_total.class
        )
"""
# What the damage took is neither delivered nor waiting; there is no number left to name it by.
_BALANCE = """
    UPDATE upstream_total SET
        produced = max(produced, delivered + tombstoned + waiting),
        tombstoned = max(tombstoned, produced - delivered - waiting)
"""


def mend(connection: sqlite3.Connection) -> None:
    """Count anew, and drop what points nowhere. A ``repair.Mend``.

    A spool that an earlier Edge wrote has no such queue yet.
    """
    if not connection.execute(_IS_THERE).fetchone():
        return
    for script in (*_POINTERS.strip().split(";\n"), _LAST, _NUMBERS, _CLASSES, _RECOUNT, _BALANCE):
        connection.execute(script)
