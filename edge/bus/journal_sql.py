"""The journal's tables, and what is said to them.

``event`` holds what waits, ``delivery`` how it fares with each trigger; both are gone when the
event ends. ``heard`` has the digest of everything that waits or is remembered. ``past`` lists what
ended, in the order in which it ended, so that the memory of it is given up from the front;
``trace`` shows its way. ``letter`` and ``letter_data`` are the dead letters. The sums in
``bus_total`` and ``bus_waiting`` change in the transaction that changes the rows: nothing is ever
counted.
"""

from __future__ import annotations

# One tree of digests serves dedupe (name, digest) and looking an event up by its id (name): a
# second one would double the pages that an accepted event touches at random.
SCHEMA = """
    CREATE TABLE event (
        seq INTEGER PRIMARY KEY, name INTEGER NOT NULL, digest BLOB NOT NULL,
        cause INTEGER NOT NULL, hops INTEGER NOT NULL, again INTEGER NOT NULL,
        at REAL NOT NULL, since REAL NOT NULL, expires REAL, bytes INTEGER NOT NULL,
        attributes TEXT NOT NULL, data BLOB
    );
    CREATE INDEX event_cause ON event (cause) WHERE cause != 0;
    CREATE INDEX event_expires ON event (expires) WHERE expires IS NOT NULL;
    CREATE TABLE delivery (
        seq INTEGER NOT NULL, trigger TEXT NOT NULL, key TEXT NOT NULL, head INTEGER NOT NULL,
        due REAL NOT NULL, tries INTEGER NOT NULL, state TEXT NOT NULL, log TEXT NOT NULL,
        PRIMARY KEY (seq, trigger)
    ) WITHOUT ROWID;
    CREATE INDEX delivery_due ON delivery (trigger, due, seq) WHERE head = 1;
    CREATE INDEX delivery_key ON delivery (trigger, key, seq) WHERE key != '';
    CREATE TABLE heard (
        name INTEGER NOT NULL, digest BLOB NOT NULL, seq INTEGER NOT NULL, again INTEGER NOT NULL,
        PRIMARY KEY (name, digest)
    ) WITHOUT ROWID;
    CREATE TABLE past (
        n INTEGER PRIMARY KEY, name INTEGER NOT NULL, digest BLOB NOT NULL, seq INTEGER NOT NULL,
        again INTEGER NOT NULL, at REAL NOT NULL
    );
    CREATE TABLE trace (
        seq INTEGER PRIMARY KEY, again INTEGER NOT NULL, cause INTEGER NOT NULL, at REAL NOT NULL,
        ended_at REAL NOT NULL, attributes TEXT NOT NULL, passages TEXT NOT NULL
    );
    CREATE INDEX trace_cause ON trace (cause) WHERE cause != 0;
    CREATE TABLE letter (
        n INTEGER PRIMARY KEY, seq INTEGER NOT NULL, name INTEGER NOT NULL, digest BLOB NOT NULL,
        cause INTEGER NOT NULL, hops INTEGER NOT NULL, at REAL NOT NULL, key TEXT NOT NULL,
        trigger TEXT NOT NULL, place TEXT NOT NULL, reason TEXT NOT NULL, error TEXT NOT NULL,
        code INTEGER NOT NULL, answer TEXT NOT NULL, tries INTEGER NOT NULL, log TEXT NOT NULL,
        died_at REAL NOT NULL, event_bytes INTEGER NOT NULL, bytes INTEGER NOT NULL,
        type TEXT NOT NULL, source TEXT NOT NULL, subject TEXT NOT NULL, attributes TEXT NOT NULL
    );
    CREATE TABLE letter_data (n INTEGER PRIMARY KEY, data BLOB);
    CREATE TABLE bus_total (
        seq INTEGER NOT NULL, ended INTEGER NOT NULL, traced INTEGER NOT NULL,
        events INTEGER NOT NULL, bytes INTEGER NOT NULL,
        letter INTEGER NOT NULL, letters INTEGER NOT NULL, letter_bytes INTEGER NOT NULL
    );
    INSERT INTO bus_total VALUES (0, 0, 0, 0, 0, 0, 0, 0);
    CREATE TABLE bus_waiting (trigger TEXT PRIMARY KEY, waiting INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE bus_trigger (name TEXT PRIMARY KEY, spec TEXT NOT NULL) WITHOUT ROWID;
"""

TOTAL = """
    SELECT seq, ended, traced, events, bytes, letter, letters, letter_bytes FROM bus_total
"""
SET_TOTAL = """
    UPDATE bus_total SET seq = ?, ended = ?, traced = ?, events = ?, bytes = ?, letter = ?,
        letters = ?, letter_bytes = ?
"""
ADD_WAITING = """
    INSERT INTO bus_waiting (trigger, waiting) VALUES (?, ?)
    ON CONFLICT (trigger) DO UPDATE SET waiting = waiting + excluded.waiting
"""
WAITING = "SELECT trigger, waiting FROM bus_waiting"
OLDEST = "SELECT since FROM event ORDER BY seq LIMIT 1"

# -- accepting

HEAR = "INSERT OR IGNORE INTO heard (seq, name, digest, again) VALUES (?, ?, ?, 0)"
HEARD = "SELECT seq FROM heard WHERE name = ? AND digest = ?"
ADD_EVENT = """
    INSERT INTO event (seq, name, digest, cause, hops, again, at, since, expires, bytes,
        attributes, data)
    VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?)
"""
ADD_DELIVERY = "INSERT INTO delivery VALUES (?, ?, '', 1, 0, 0, '', '')"
ADD_KEYED = """
    INSERT INTO delivery SELECT ?1, ?2, ?3,
        NOT EXISTS (SELECT 1 FROM delivery WHERE trigger = ?2 AND key = ?3 AND key != ''),
        0, 0, '', ''
"""

# -- delivering: ``due`` is 0 for what may begin now, so that all of it is found in the order of
# acceptance, what was tried before included. What waits for its time is set to 0 when it has come.

COME_DUE = """
    UPDATE delivery SET due = 0 WHERE (seq, trigger) IN (
        SELECT seq, trigger FROM delivery
        WHERE trigger = ? AND head = 1 AND due > 0 AND due <= ? ORDER BY due LIMIT 256
    )
"""
TOO_FAR = """
    UPDATE delivery SET due = 0 WHERE (seq, trigger) IN (
        SELECT seq, trigger FROM delivery WHERE trigger = ? AND head = 1 AND due > ? LIMIT 256
    )
"""
READY = """
    SELECT seq FROM delivery WHERE trigger = ? AND head = 1 AND due = 0 ORDER BY seq LIMIT ?
"""
BEGIN = """
    SELECT d.key, d.tries, e.hops, e.digest, e.at, e.expires, e.attributes, e.data
    FROM delivery AS d LEFT JOIN event AS e ON e.seq = d.seq WHERE d.seq = ? AND d.trigger = ?
"""
NEXT_DUE = """
    SELECT due FROM delivery WHERE trigger = ? AND head = 1 AND due > 0 ORDER BY due LIMIT 1
"""
LOG = "SELECT log FROM delivery WHERE seq = ? AND trigger = ? AND state = ''"
RETRY = "UPDATE delivery SET tries = tries + 1, due = ?, log = ? WHERE seq = ? AND trigger = ?"
HOLD = "UPDATE delivery SET due = ? WHERE seq = ? AND trigger = ? AND state = ''"

# -- ending

DELIVERIES = "SELECT trigger, state, key, head, tries, log FROM delivery WHERE seq = ?"
WAITING_OF = "SELECT trigger FROM delivery WHERE seq = ? AND state = ''"
STATE_OF = "SELECT trigger, state, due, tries, log FROM delivery WHERE seq = ?"
END_DELIVERY = """
    UPDATE delivery SET state = ?, key = '', head = 0, due = 0, log = ?
    WHERE seq = ? AND trigger = ?
"""
REMOVE_DELIVERY = "DELETE FROM delivery WHERE seq = ? AND trigger = ?"
REMOVE_DELIVERIES = "DELETE FROM delivery WHERE seq = ?"
NEXT_OF_KEY = """
    UPDATE delivery SET head = 1 WHERE trigger = ?1 AND seq = (
        SELECT seq FROM delivery WHERE trigger = ?1 AND key = ?2 AND key != '' ORDER BY seq LIMIT 1
    )
"""
REMOVE_EVENT = """
    DELETE FROM event WHERE seq = ? RETURNING name, digest, cause, again, at, bytes, attributes
"""
ADD_PAST = "INSERT INTO past (n, name, digest, seq, again, at) VALUES (?, ?, ?, ?, ?, ?)"
ADD_TRACE = """
    INSERT OR REPLACE INTO trace (seq, again, cause, at, ended_at, attributes, passages)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
PASSAGES = "SELECT passages FROM trace WHERE seq = ?"

# -- dead letters

DYING = """
    SELECT name, digest, cause, hops, at, bytes, attributes, data FROM event WHERE seq = ?
"""
LETTER_FIELDS = """
    n, seq, name, digest, cause, hops, at, key, trigger, place, reason, error, code, answer, tries,
    log, died_at, event_bytes, bytes, type, source, subject, attributes
"""
ADD_LETTER = f"""
    INSERT INTO letter ({LETTER_FIELDS})
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""  # noqa: S608 (constants)
ADD_DATA = "INSERT INTO letter_data (n, data) VALUES (?, ?)"
DATA = "SELECT data FROM letter_data WHERE n = ?"
REMOVE_LETTER = "DELETE FROM letter WHERE n = ?"
REMOVE_DATA = "DELETE FROM letter_data WHERE n = ?"
LETTER = f"SELECT {LETTER_FIELDS} FROM letter WHERE n = ?"  # noqa: S608 (constants)
FIRST_AFTER = "SELECT n FROM letter WHERE n > ? ORDER BY n LIMIT 1"
MATCH = """
    (:trigger = '' OR trigger = :trigger) AND (:reason = '' OR reason = :reason)
    AND (:type = '' OR type = :type) AND (:source = '' OR source = :source)
    AND (:subject = '' OR instr(subject, :subject) > 0)
    AND (:since IS NULL OR died_at >= :since) AND (:until IS NULL OR died_at < :until)
"""
LETTERS = f"""
    SELECT {LETTER_FIELDS} FROM letter
    WHERE n >= :first AND n <= :last AND {MATCH} ORDER BY n LIMIT :limit
"""  # noqa: S608 (constants)
OLDEST_LETTERS = "SELECT n, died_at, bytes FROM letter WHERE n != ? ORDER BY n LIMIT ?"
HEAR_AGAIN = "UPDATE heard SET again = again + 1 WHERE name = ? AND digest = ? AND seq = ?"
HEAR_ANEW = "INSERT OR IGNORE INTO heard (name, digest, seq, again) VALUES (?, ?, ?, 1)"
AGAIN = "SELECT again FROM heard WHERE name = ? AND digest = ? AND seq = ?"
REVIVE = """
    INSERT INTO event (seq, name, digest, cause, hops, again, at, since, expires, bytes,
        attributes, data)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?)
"""
IS_WAITING = "SELECT 1 FROM event WHERE seq = ?"
REDELIVER = """
    INSERT OR REPLACE INTO delivery SELECT ?1, ?2, ?3,
        NOT EXISTS (SELECT 1 FROM delivery WHERE trigger = ?2 AND key = ?3 AND key != ''),
        0, 0, '', ?4
"""

# -- giving up what is old

FRONT = "SELECT seq, since, again FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
EXPIRED = "SELECT seq FROM event WHERE expires <= ? ORDER BY expires LIMIT ?"
TRACED = "SELECT n, seq, again, at FROM past WHERE n > ? ORDER BY n LIMIT ?"
FORGET_TRACE = "DELETE FROM trace WHERE seq = ? AND again = ?"
REMEMBERED = """
    SELECT n, name, digest, seq, again, at FROM past WHERE n <= ? ORDER BY n LIMIT ?
"""
UNHEAR = "DELETE FROM heard WHERE name = ? AND digest = ? AND seq = ? AND again = ?"
FORGET_PAST = "DELETE FROM past WHERE n <= ?"
OF_TRIGGER = "SELECT seq FROM delivery WHERE trigger = ? AND head = 1 ORDER BY due, seq LIMIT ?"

# -- the way of an event

SEQS = "SELECT seq FROM heard WHERE name = ? ORDER BY seq LIMIT ?"
WAY_WAITING = "SELECT cause, at, attributes FROM event WHERE seq = ?"
WAY_ENDED = "SELECT cause, at, attributes, ended_at, passages FROM trace WHERE seq = ?"
CAUSED = """
    SELECT seq FROM event WHERE cause = ?1 AND cause != 0
    UNION SELECT seq FROM trace WHERE cause = ?1 AND cause != 0 ORDER BY seq LIMIT ?2
"""

# -- triggers that were set at run time

SAVE_TRIGGER = "INSERT OR REPLACE INTO bus_trigger (name, spec) VALUES (?, ?)"
TRIGGERS = "SELECT name, spec FROM bus_trigger ORDER BY name"
REMOVE_TRIGGER = "DELETE FROM bus_trigger WHERE name = ?"
NOTHING_WAITS = "DELETE FROM bus_waiting WHERE trigger = ? AND waiting = 0"
