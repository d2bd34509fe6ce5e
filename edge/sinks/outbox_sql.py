"""The outbox's tables, and what is said to them."""

from __future__ import annotations

import json

COLUMNS = (
    "id, event_id, source, taken_at, key, content_type, put_at, tries, error, bytes, message, "
    "receipt, body"
)
FIELDS = """
    id TEXT NOT NULL, event_id TEXT NOT NULL, source TEXT NOT NULL, taken_at TEXT NOT NULL,
    key TEXT NOT NULL, content_type TEXT NOT NULL, put_at REAL NOT NULL, tries INTEGER NOT NULL,
    error TEXT NOT NULL, bytes INTEGER NOT NULL, message TEXT NOT NULL, receipt TEXT,
    body BLOB NOT NULL, UNIQUE (event_id, id)
"""
# Digests stand for names in ``known``: at 5 pictures a second a week is three million rows.
# The sums in ``total`` change in the transaction that changes the rows: nothing is ever counted.
# (Triggers would do that too; they cost more than the insert itself.)
SCHEMA = (
    f"""
    CREATE TABLE parcel (seq INTEGER PRIMARY KEY AUTOINCREMENT, {FIELDS});
    CREATE INDEX parcel_source ON parcel (source, seq);
    CREATE INDEX parcel_key ON parcel (key);
    CREATE TABLE dead (seq INTEGER PRIMARY KEY, died_at REAL NOT NULL, {FIELDS});
    CREATE TABLE known (
        n INTEGER PRIMARY KEY, event BLOB NOT NULL, parcel BLOB NOT NULL, at REAL NOT NULL
    );
    CREATE UNIQUE INDEX known_parcel ON known (event, parcel);
    CREATE TABLE total (
        waiting INTEGER NOT NULL, waiting_bytes INTEGER NOT NULL,
        dead INTEGER NOT NULL, dead_bytes INTEGER NOT NULL
    );
    INSERT INTO total VALUES (0, 0, 0, 0);
    """,  # noqa: S608 (constants)
)
IS_KNOWN = """
    SELECT EXISTS (SELECT 1 FROM parcel WHERE event_id = :event_id AND id = :id)
        OR EXISTS (SELECT 1 FROM known WHERE event = :event AND parcel = :parcel AND at >= :since)
        OR EXISTS (SELECT 1 FROM dead WHERE event_id = :event_id AND id = :id)
"""
SUMS = "SELECT waiting, waiting_bytes, dead_bytes FROM total"
TAKE_ROOM = "UPDATE total SET waiting = waiting + 1, waiting_bytes = waiting_bytes + ?"
GIVE_MUCH = "UPDATE total SET waiting = waiting - ?, waiting_bytes = waiting_bytes - ?"
# Of each source the oldest stays: it may be on its way to the store.
_MAY_GO = """
    SELECT seq, source, bytes, taken_at, put_at, sum(bytes) OVER (ORDER BY seq) - bytes AS before
    FROM (
        SELECT seq, source, bytes, taken_at, put_at FROM parcel
        WHERE source IN (SELECT value FROM json_each(:names))
            AND seq NOT IN (SELECT value FROM json_each(:heads))
        ORDER BY seq LIMIT :most
    )
"""
OLDEST_THAT_MAY_GO = f"""
    SELECT seq, source, bytes, taken_at FROM ({_MAY_GO}) WHERE before < :bound
"""  # noqa: S608 (constant)
OLD = f"SELECT seq, source, bytes, taken_at FROM ({_MAY_GO}) WHERE put_at < :bound"  # noqa: S608
REMOVE_PARCELS = "DELETE FROM parcel WHERE seq IN (SELECT value FROM json_each(?))"
GIVE_ROOM = "UPDATE total SET waiting = waiting - 1, waiting_bytes = waiting_bytes - ?"
ADD_DEAD = "UPDATE total SET dead = dead + 1, dead_bytes = dead_bytes + ?"
KNOWS_EVENT = """
    SELECT EXISTS (SELECT 1 FROM parcel WHERE event_id = :id)
        OR EXISTS (SELECT 1 FROM known WHERE event = :event AND at >= :since)
        OR EXISTS (SELECT 1 FROM dead WHERE event_id = :id)
"""
HAS_PASSED = "SELECT EXISTS (SELECT 1 FROM known WHERE event = ? AND parcel = ? AND at >= ?)"
INSERT = f"""
    INSERT INTO parcel ({COLUMNS}) VALUES (:id, :event_id, :source, :taken_at, :key,
        :content_type, :put_at, 0, '', :bytes, :message, :receipt, :body)
"""  # noqa: S608 (constants)
SELECT = f"SELECT {COLUMNS} FROM parcel WHERE seq = ?"  # noqa: S608 (constant)
PICTURE = "SELECT body FROM parcel WHERE key = ?"
FOLLOWING = f"SELECT seq, {COLUMNS} FROM parcel WHERE source = ? ORDER BY seq LIMIT 1"  # noqa: S608
OLDEST = f"SELECT seq, {COLUMNS} FROM parcel WHERE source = ? ORDER BY seq LIMIT ?"  # noqa: S608
# One step of the index a source, however many parcels wait (a GROUP BY would read them all).
HEADS = """
    WITH RECURSIVE each (source) AS (
        SELECT min(source) FROM parcel
        UNION ALL
        SELECT (SELECT min(source) FROM parcel WHERE source > each.source)
        FROM each WHERE each.source IS NOT NULL
    )
    SELECT source, (SELECT min(seq) FROM parcel WHERE source = each.source) AS first
    FROM each WHERE source IS NOT NULL ORDER BY first
"""

as_json = json.dumps
