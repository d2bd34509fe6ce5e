"""The upstream queue's tables, and what is said to them.

A statement that gives many rows gives them as one: for each step the thread lets go of Python's
lock, and has to wait for it again while the loop works.
"""

from __future__ import annotations

from edge.config.mqtt import CLASSES

# ``upstream_known`` gives a message its place, and remembers its id for a while after it has gone;
# its newest row is never forgotten, so that no place is given twice.
# ``upstream_given`` holds what is being sent in this ``life`` or was ``sent`` in an earlier one: a
# tombstone must not name what may have come.
# ``upstream_loss`` holds the tombstones that were not sent yet: they still grow.
_TABLES = """
    CREATE TABLE upstream (
        n INTEGER PRIMARY KEY, class TEXT NOT NULL, bytes INTEGER NOT NULL, source TEXT NOT NULL,
        seq INTEGER NOT NULL, topic TEXT NOT NULL, at REAL NOT NULL, put_at REAL NOT NULL,
        body BLOB NOT NULL
    );
    CREATE INDEX upstream_class ON upstream (class, n, bytes);
    CREATE TABLE upstream_known (
        n INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, at REAL NOT NULL
    );
    CREATE TABLE upstream_line (
        class TEXT NOT NULL, source TEXT NOT NULL, seq INTEGER NOT NULL,
        PRIMARY KEY (class, source)
    ) WITHOUT ROWID;
    CREATE TABLE upstream_given (
        n INTEGER PRIMARY KEY, life INTEGER NOT NULL, sent INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE upstream_loss (
        n INTEGER PRIMARY KEY, class TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL,
        first INTEGER NOT NULL, from_seq INTEGER NOT NULL, to_seq INTEGER NOT NULL,
        count INTEGER NOT NULL, bytes INTEGER NOT NULL, since REAL NOT NULL, until REAL NOT NULL,
        UNIQUE (class, source, reason)
    );
    CREATE TABLE upstream_total (
        class TEXT PRIMARY KEY, produced INTEGER NOT NULL DEFAULT 0,
        delivered INTEGER NOT NULL DEFAULT 0, waiting INTEGER NOT NULL DEFAULT 0,
        tombstoned INTEGER NOT NULL DEFAULT 0, produced_bytes INTEGER NOT NULL DEFAULT 0,
        waiting_bytes INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE TABLE upstream_spent (day INTEGER PRIMARY KEY, bytes INTEGER NOT NULL);
"""
_CLASSES = ", ".join(f"('{kind}')" for kind in CLASSES)
SCHEMA = (f"{_TABLES} INSERT INTO upstream_total (class) VALUES {_CLASSES};",)  # noqa: S608 (constants)

# -- coming in

KNOW = "INSERT OR IGNORE INTO upstream_known (digest, at) VALUES (?, ?)"
# Long ago is as good as never, unless it still waits.
FORGET_ONE = """
    DELETE FROM upstream_known WHERE digest = ? AND at < ?
    AND NOT EXISTS (SELECT 1 FROM upstream WHERE n = upstream_known.n)
"""
FORGET = """
    DELETE FROM upstream_known WHERE at < ?
    AND n IN (SELECT n FROM upstream_known ORDER BY n LIMIT 128)
    AND NOT EXISTS (SELECT 1 FROM upstream WHERE n = upstream_known.n)
"""
NUMBER = """
    INSERT INTO upstream_line (class, source, seq) VALUES (?, ?, 1)
    ON CONFLICT (class, source) DO UPDATE SET seq = seq + 1 RETURNING seq
"""
INSERT = """
    INSERT INTO upstream (n, class, bytes, source, seq, topic, at, put_at, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
PRODUCED = """
    UPDATE upstream_total SET produced = produced + 1, produced_bytes = produced_bytes + :bytes,
        waiting = waiting + 1, waiting_bytes = waiting_bytes + :bytes
    WHERE class = :class
"""
SUMS = "SELECT sum(waiting), sum(waiting_bytes) FROM upstream_total"

# -- going out

_FREE = """
    SELECT n, bytes FROM upstream AS one
    WHERE class = :class AND NOT EXISTS (
        SELECT 1 FROM upstream_given WHERE n = one.n AND life = :life
    ) ORDER BY n {order} LIMIT :limit
"""
NEXT = {
    order: "SELECT json_group_array(n), json_group_array(bytes) FROM ("  # noqa: S608 (constants)
    + _FREE.format(order=word)
    + ")"
    for order, word in (("oldest", "ASC"), ("newest", "DESC"))
}
GIVE = """
    INSERT INTO upstream_given (n, life) SELECT value, ? FROM json_each(?) WHERE true
    ON CONFLICT (n) DO UPDATE SET life = excluded.life
"""
SEAL = "DELETE FROM upstream_loss WHERE n IN (SELECT value FROM json_each(?))"
# CROSS JOIN: in the order of the list.
READ = """
    SELECT json_group_array(json_array(n, class, source, seq, topic, at, put_at)),
        CAST(group_concat(body, x'1e') AS BLOB)
    FROM json_each(?) CROSS JOIN upstream ON n = json_each.value
"""
# What the life before this one held may have been sent.
OPEN = "UPDATE upstream_given SET sent = 1"
LIFE = "SELECT coalesce(max(life), 0) + 1 FROM upstream_given"
SENT = "UPDATE upstream_given SET sent = 1 WHERE n IN (SELECT value FROM json_each(?))"
RELEASE = "DELETE FROM upstream_given WHERE NOT sent"
WEIGH = """
    SELECT json_group_array(json_array(class, many, size)) FROM (
        SELECT class, count(*) AS many, sum(bytes) AS size FROM upstream
        WHERE n IN (SELECT value FROM json_each(?)) GROUP BY class
    )
"""
REMOVE = "DELETE FROM upstream WHERE n IN (SELECT value FROM json_each(?))"
REMOVE_GIVEN = "DELETE FROM upstream_given WHERE n IN (SELECT value FROM json_each(?))"
DELIVERED = """
    UPDATE upstream_total SET delivered = delivered + ?, waiting = waiting - ?,
        waiting_bytes = waiting_bytes - ? WHERE class = ?
"""

# -- giving way

_FACTS = "json_group_array(json_array(n, class, source, seq, bytes, at))"
_NOT_GIVEN = "NOT EXISTS (SELECT 1 FROM upstream_given WHERE n = one.n)"
OLDEST_OF = f"""
    SELECT {_FACTS} FROM (
        SELECT * FROM upstream AS one WHERE class = ? AND {_NOT_GIVEN} ORDER BY n LIMIT ?
    )
"""  # noqa: S608 (constants)
TOO_OLD = f"""
    SELECT {_FACTS} FROM (
        SELECT * FROM (SELECT * FROM upstream ORDER BY n LIMIT 256) AS one
        WHERE put_at < ? AND class <> 'loss' AND {_NOT_GIVEN}
    )
"""  # noqa: S608 (constants)
THESE = f"""
    SELECT {_FACTS} FROM json_each(?) CROSS JOIN upstream ON n = json_each.value
    WHERE class <> 'loss'
"""  # noqa: S608 (constants)
TOMBSTONED = """
    UPDATE upstream_total SET tombstoned = tombstoned + ?, waiting = waiting - ?,
        waiting_bytes = waiting_bytes - ? WHERE class = ?
"""
LOSS = """
    SELECT n, first, from_seq, to_seq, count, bytes, since, until FROM upstream_loss
    WHERE class = ? AND source = ? AND reason = ?
"""
KEEP_LOSS = """
    INSERT OR REPLACE INTO upstream_loss
        (n, class, source, reason, first, from_seq, to_seq, count, bytes, since, until)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
WRITE_LOSS = "UPDATE upstream SET body = ?, bytes = ?, at = ? WHERE n = ?"
BYTES_OF = "SELECT bytes FROM upstream WHERE n = ?"
GROWN = "UPDATE upstream_total SET waiting_bytes = waiting_bytes + ? WHERE class = 'loss'"

# -- what is shown

TOTALS = """
    SELECT json_group_array(json_array(
        class, produced, delivered, waiting, tombstoned, produced_bytes, waiting_bytes
    )) FROM upstream_total
"""
FIRST = "SELECT put_at FROM upstream ORDER BY n LIMIT 1"
SPEND = """
    INSERT INTO upstream_spent (day, bytes) VALUES (?, ?)
    ON CONFLICT (day) DO UPDATE SET bytes = bytes + excluded.bytes
"""
SPENT = "SELECT bytes FROM upstream_spent WHERE day = ?"
FORGET_DAYS = "DELETE FROM upstream_spent WHERE day < ?"
