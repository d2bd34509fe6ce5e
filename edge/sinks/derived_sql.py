"""The table of what was made of which original, and what is said to it."""

from __future__ import annotations

# ``asked`` grows with each removal that was told and was none: a later one is another event.
# ``erased`` names the event by which a row was erased; it is kept a while, so that the same event,
# delivered again after a crash, says the same again.
SCHEMA = """
    CREATE TABLE derived (
        n INTEGER PRIMARY KEY, place TEXT NOT NULL, bucket TEXT NOT NULL, key TEXT NOT NULL,
        etag TEXT NOT NULL, version TEXT NOT NULL, source TEXT NOT NULL, output TEXT NOT NULL,
        sha256 TEXT NOT NULL, event_id TEXT NOT NULL, parcel_id TEXT NOT NULL, at REAL NOT NULL,
        asked INTEGER NOT NULL DEFAULT 0, erased TEXT NOT NULL DEFAULT '', erased_at REAL
    );
    CREATE UNIQUE INDEX derived_original ON derived (
        place, bucket, key, etag, version, parcel_id
    );
    CREATE INDEX derived_erased ON derived (erased_at) WHERE erased_at IS NOT NULL;
"""
_AGAIN = """
    ON CONFLICT (place, bucket, key, etag, version, parcel_id) DO UPDATE SET
        source = excluded.source, output = excluded.output, sha256 = excluded.sha256,
        at = excluded.at, asked = asked + 1, erased = '', erased_at = NULL
"""
# Only of the parcel that was kept just now: of one that was put before, this key may be another.
ADD = f"""
    INSERT INTO derived (place, bucket, key, etag, version, source, output, sha256, event_id,
        parcel_id, at)
    SELECT :place, :bucket, :key, :etag, :version, :source, :output, :sha256, :event_id,
        :parcel_id, :at
    WHERE EXISTS (SELECT 1 FROM parcel WHERE key = :output AND id = :parcel_id)
    {_AGAIN}
"""  # noqa: S608 (constants)
# The same content as another version: nothing new was made, and it needs what was made before.
ADD_SIBLING = """
    INSERT OR IGNORE INTO derived (place, bucket, key, etag, version, source, output, sha256,
        event_id, parcel_id, at)
    SELECT place, bucket, key, etag, :version, source, output, sha256, event_id, parcel_id, :at
    FROM derived
    WHERE place = :place AND bucket = :bucket AND key = :key AND etag = :etag
        AND parcel_id = :parcel_id AND erased = '' LIMIT 1
"""
COLUMNS = "n, source, key, etag, version, output, sha256, event_id, parcel_id, asked, erased"
OF_KEY = f"""
    SELECT {COLUMNS} FROM derived WHERE place = ? AND bucket = ? AND key = ?
    ORDER BY etag, version, parcel_id
"""  # noqa: S608 (constants)
BETWEEN = """
    SELECT key, group_concat(n || '.' || asked) FROM derived
    WHERE place = ? AND bucket = ? AND key > ? AND key <= ? AND erased = ''
    GROUP BY key ORDER BY key LIMIT ?
"""
ASKED = "UPDATE derived SET asked = asked + 1 WHERE n = ?"
NEEDED = """
    SELECT EXISTS (
        SELECT 1 FROM derived WHERE place = ? AND bucket = ? AND key = ? AND parcel_id = ?
        AND output = ? AND erased = '' AND n NOT IN (SELECT value FROM json_each(?))
    )
"""
# With it, how many of its source are older, of so many at most.
WAITS = """
    SELECT seq, (
        SELECT count(*) FROM (
            SELECT 1 FROM parcel AS older
            WHERE older.source = parcel.source AND older.seq < parcel.seq LIMIT ?
        )
    ) FROM parcel WHERE key = ? AND id = ?
"""
TAKE_OUT = "DELETE FROM parcel WHERE seq = ? RETURNING bytes"
TAKE_DEAD = "DELETE FROM dead WHERE event_id = ? AND id = ? RETURNING bytes"
LESS_DEAD = "UPDATE total SET dead = dead - 1, dead_bytes = dead_bytes - ?"
UNKNOW = "DELETE FROM known WHERE event = ? AND parcel = ?"
ERASED = "UPDATE derived SET erased = ?, erased_at = ? WHERE n = ? AND asked = ?"
FORGET = "DELETE FROM derived WHERE erased_at < ?"
