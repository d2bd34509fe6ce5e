"""A repair that is cut off at any step loses nothing: the next one has as much to save."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from edge.ops.database_file import PAGE_BYTES
from edge.ops.repair import check, repair, stamp
from edge.sinks.outbox_mend import mend
from edge.sinks.outbox_sql import SCHEMA
from tests.places import ROOT

CUT_OFF = """
import os, sys
from pathlib import Path
from edge.ops.repair import repair
from edge.sinks.outbox_mend import mend
from edge.sinks.outbox_sql import SCHEMA
path, left = Path(sys.argv[1]), int(sys.argv[2])
def cut(event, args):
    global left
    if event in ("os.rename", "os.remove", "os.link", "os.mkdir"):
        left -= 1
        if left < 0:
            os._exit(9)
sys.addaudithook(cut)
repair(path, SCHEMA, mend)
"""


def a_damaged_spool(path: Path) -> None:
    """Leave 300 parcels, half of them in the log alone, and a page of zeros."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript(SCHEMA[0] + stamp(len(SCHEMA)))
    copy = path.with_name("copy")
    for number in range(300):
        if number == 150:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute(
            "INSERT INTO parcel VALUES (NULL, ?, '', 's', '', '', '', 0, 0, '', 1, '{}', NULL, ?)",
            (f"{number}", bytes(500)),
        )
    for tail in ("", "-wal"):
        copy.with_name(f"copy{tail}").write_bytes(Path(f"{path}{tail}").read_bytes())
    connection.close()
    for tail in ("", "-wal"):
        copy.with_name(f"copy{tail}").replace(f"{path}{tail}")
    Path(f"{path}-shm").unlink(missing_ok=True)
    with path.open("r+b") as file:
        file.seek(12 * PAGE_BYTES)
        file.write(bytes(PAGE_BYTES))


def test_wherever_a_repair_is_cut_off_the_next_one_saves_as_much(tmp_path: Path) -> None:
    saved, steps = set(), 0
    while True:
        path = tmp_path / str(steps) / "spool.db"
        path.parent.mkdir()
        a_damaged_spool(path)
        done = subprocess.run(
            [sys.executable, "-c", CUT_OFF, path, str(steps)], cwd=ROOT, check=False
        )
        findings, said = check(path, SCHEMA)
        if not findings.sound or said:
            repair(path, SCHEMA, mend)
            findings, said = check(path, SCHEMA)
        assert findings.sound
        assert said == []
        saved.add(findings.saved["parcel"])
        if done.returncode == 0:
            break
        assert done.returncode == 9
        steps += 1
    assert steps >= 6
    assert len(saved) == 1
    assert 250 < saved.pop() < 300
