"""Files that are damaged for real: what was on the damaged pages is lost, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.app.spool import mend
from edge.bus.journal_sql import SCHEMA as JOURNAL
from edge.config.store import OutboxConfig
from edge.errors import Fatal, PartFailed
from edge.ops import repair as repairing
from edge.ops.database import Database
from edge.ops.database_file import PAGE_BYTES
from edge.ops.metrics import Metrics
from edge.ops.repair import check, finish, locked, repair, stamp
from edge.ops.salvage import Findings, look
from edge.ops.sqlite_pages import TABLE_LEAF, Pages, record
from edge.sinks.outbox import Outbox
from edge.sinks.outbox_sql import SCHEMA as OUTBOX
from tests.parts import make_parcel, outbox_at
from tests.places import ROOT

SCHEMA = (*OUTBOX, JOURNAL)
PARCELS = 500
DEAD, PASSED = 4, 50
WAITING = PARCELS - DEAD - PASSED


async def _fill(path: Path) -> None:
    outbox = outbox_at(path, OutboxConfig(), Metrics())
    await outbox.open()
    chance = random.Random(4)
    for number in range(PARCELS):
        body = chance.randbytes(chance.choice([200, 3000, 20_000]))
        await outbox.put(make_parcel(number, f"cam{number % 3}", body=body))
    for seq in range(1, DEAD + 1):
        await outbox.dead(seq, "refused")
    for seq in range(DEAD + 1, DEAD + PASSED + 1):
        await outbox.passed(seq)
    await outbox.close()
    with sqlite3.connect(path) as connection:
        connection.executescript(f"{JOURNAL}; {stamp(len(SCHEMA))}")
        connection.executemany(
            "INSERT INTO delivery (seq, trigger, key, head, due, tries, state, log) "
            "VALUES (?, 'redact', '', 1, 0, 0, '', '')",
            [(number,) for number in range(1000)],
        )
        connection.executemany(
            "INSERT INTO event VALUES (?1, ?1, ?2, 0, 9, 0, 0, 0, NULL, 10, '{}', NULL)",
            [(number, number.to_bytes(16)) for number in range(1000)],
        )
    connection.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "spool.db"
    asyncio.run(_fill(path))
    return path


@pytest.fixture
def spool(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(filled, tmp_path / "spool.db"))


def leaves(path: Path, table: str) -> dict[int, list[int | None]]:
    """Return the rows on each leaf page of a table."""
    with sqlite3.connect(path) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
        ).fetchone()
    connection.close()
    with Pages(path) as pages:
        found, stack = {}, [root]
        while stack:
            node = pages.node(number := stack.pop())
            stack += node.children
            if not node.children:
                found[number] = [cell.rowid for cell in node.cells]
        return found


def overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def rows(path: Path, table: str) -> set[int]:
    with sqlite3.connect(path) as connection:
        found = {seq for (seq,) in connection.execute(f"SELECT seq FROM {table}")}
    connection.close()
    return found


def repaired(path: Path) -> Findings:
    """Repair a file, and see that it is sound afterwards and adds up."""
    before = path.read_bytes()
    findings = repair(path, SCHEMA, mend)
    assert check(path, SCHEMA)[0].sound
    assert check(path, SCHEMA)[1] == []
    assert findings.directory is not None
    assert (findings.directory / path.name).read_bytes() == before
    with sqlite3.connect(path) as connection:
        (total,) = connection.execute("SELECT * FROM total").fetchall()
        counted = [
            connection.execute(f"SELECT count(*), coalesce(sum(bytes), 0) FROM {table}").fetchone()
            for table in ("parcel", "dead")
        ]
        assert total == (*counted[0], *counted[1])
        assert connection.execute("PRAGMA user_version").fetchone() == (len(SCHEMA),)
    connection.close()
    return findings


def test_a_sound_file_is_sound(spool: Path) -> None:
    before = spool.read_bytes()
    findings, said = check(spool, SCHEMA)
    assert findings.sound
    assert said == []
    assert findings.saved["parcel"] == WAITING
    assert findings.saved["dead"] == DEAD
    assert findings.saved["known"] == PASSED
    assert findings.saved["delivery"] == 1000
    assert spool.read_bytes() == before


@pytest.mark.parametrize("which", [0, 3, -1])
def test_a_zeroed_page_costs_the_rows_on_it_and_no_other(spool: Path, which: int) -> None:
    pages = leaves(spool, "parcel")
    page = list(pages)[which]
    all_rows = rows(spool, "parcel")
    overwrite(spool, (page - 1) * PAGE_BYTES, bytes(PAGE_BYTES))

    found, said = check(spool, SCHEMA)
    assert not found.sound
    assert said
    findings = repaired(spool)
    assert rows(spool, "parcel") == all_rows - set(pages[page])
    assert [(one.page, one.table) for one in findings.told] == [(page, "parcel")]
    assert findings.directory is not None
    assert (findings.directory / findings.told[0].file).read_bytes() == bytes(PAGE_BYTES)
    (line,) = (findings.directory / "findings.jsonl").read_text().splitlines()
    assert json.loads(line)["page"] == page


def test_a_flipped_entry_of_a_page_costs_that_row_alone(spool: Path) -> None:
    pages = leaves(spool, "parcel")
    page, (_, lost, *_) = next((page, held) for page, held in pages.items() if len(held) > 3)
    all_rows = rows(spool, "parcel")
    # the second entry's place on the page now lies in the page's head
    overwrite(spool, (page - 1) * PAGE_BYTES + 10, b"\x00\x03")
    findings = repaired(spool)
    assert rows(spool, "parcel") == all_rows - {lost}
    assert findings.rows == 1


def test_a_table_whose_inner_page_is_lost_is_found_again_by_its_looks(spool: Path) -> None:
    all_rows, delivered = rows(spool, "parcel"), rows(spool, "delivery")
    for table in ("parcel", "delivery"):
        with sqlite3.connect(spool) as connection:
            (root,) = connection.execute(
                "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
            ).fetchone()
        connection.close()
        overwrite(spool, (root - 1) * PAGE_BYTES, bytes(PAGE_BYTES))
    findings = repaired(spool)
    assert rows(spool, "parcel") == all_rows
    # entries of a table by key stand on its inner pages, too
    assert len(delivered - rows(spool, "delivery")) < 20
    assert findings.pages == 2


def test_a_file_that_was_cut_keeps_what_is_before_the_cut(spool: Path) -> None:
    pages, all_rows = leaves(spool, "parcel"), rows(spool, "parcel")
    half = spool.stat().st_size // 2 // PAGE_BYTES * PAGE_BYTES + 1000
    os.truncate(spool, half)
    beyond = {row for page, held in pages.items() if page * PAGE_BYTES > half for row in held}
    findings = repaired(spool)
    saved = rows(spool, "parcel")
    assert saved <= all_rows - beyond
    assert len(saved) > len(all_rows) // 4
    assert findings.pages + findings.rows > 0


@pytest.mark.parametrize(
    "garbage",
    [b"\xaa" * 100, bytes(PAGE_BYTES), b"no database at all"],
    ids=["head", "page", "text"],
)
def test_garbage_in_the_header_costs_no_parcel(spool: Path, garbage: bytes) -> None:
    all_rows, dead = rows(spool, "parcel"), rows(spool, "dead")
    overwrite(spool, 0, garbage)
    assert not check(spool, SCHEMA)[0].sound
    findings = repaired(spool)
    # what was delivered is not delivered again, though nobody knows any more which pages are free
    assert rows(spool, "parcel") == all_rows
    assert rows(spool, "dead") == dead
    assert "header" in findings.notes[0]


def test_numbers_are_never_given_away_twice(spool: Path) -> None:
    overwrite(spool, 0, bytes(PAGE_BYTES))
    repaired(spool)
    with sqlite3.connect(spool) as connection:
        (seq,) = connection.execute("SELECT seq FROM sqlite_sequence").fetchone()
    connection.close()
    assert seq >= PARCELS


def test_a_row_with_broken_json_is_set_aside_with_its_bytes(spool: Path) -> None:
    with sqlite3.connect(spool) as connection:
        connection.execute("UPDATE parcel SET message = '{\"id\": ' WHERE seq = 100")
        connection.execute("UPDATE parcel SET receipt = ? WHERE seq = 101", ("[" * 100_000,))
        connection.execute("UPDATE parcel SET message = ? WHERE seq = 102", (b"\xff",))
    connection.close()
    found, said = check(spool, SCHEMA)
    assert said == []  # SQLite sees nothing wrong
    assert sorted(one.row or 0 for one in found.told) == [100, 101, 102]
    findings = repaired(spool)
    assert len(rows(spool, "parcel")) == WAITING - 3
    reasons = {one.row: one.reason for one in findings.told}
    assert reasons[100] == "message is no JSON"
    assert findings.directory is not None
    files = [(findings.directory / one.file).read_bytes() for one in findings.told]
    assert any(b'{"id": ' in content for content in files)


def test_rows_that_stand_only_in_the_log_are_saved_and_a_lost_log_costs_no_more(
    tmp_path: Path,
) -> None:
    path = tmp_path / "spool.db"
    script = f"""
import asyncio, os, random, shutil
from pathlib import Path
from edge.config.store import OutboxConfig
from edge.ops.metrics import Metrics
from tests.parts import make_parcel, outbox_at
async def main():
    box = outbox_at(Path({str(path)!r}), OutboxConfig(), Metrics())
    await box.open()
    for number in range(40):
        await box.put(make_parcel(number, body=random.Random(number).randbytes(5000)))
    os._exit(9)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert done.returncode == 9
    assert Path(f"{path}-wal").stat().st_size > 100_000
    lost = tmp_path / "lost"
    lost.mkdir()
    shutil.copy(path, lost / "spool.db")

    findings, said = check(path, OUTBOX)
    assert (findings.saved["parcel"], said) == (40, [])
    repair(path, SCHEMA, mend)  # a file of an older version
    assert len(rows(path, "parcel")) == 40
    assert not Path(f"{path}-wal").exists() or not Path(f"{path}-wal").stat().st_size
    without = check(lost / "spool.db", OUTBOX)[0]
    assert without.saved["parcel"] <= 40


def test_a_log_that_is_damaged_counts_up_to_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.executescript(OUTBOX[0] + stamp(len(OUTBOX)))
    for number in range(200):
        connection.execute(
            "INSERT INTO known (event, parcel, at) VALUES (?, ?, 1.5)",
            (number.to_bytes(16), bytes(16)),
        )
    for tail in ("", "-wal"):
        shutil.copy(f"{path}{tail}", tmp_path / f"copy.db{tail}")
    connection.close()
    copy = tmp_path / "copy.db"
    log = Path(f"{copy}-wal")
    overwrite(log, log.stat().st_size // 2, b"damage")
    findings = check(copy, OUTBOX)[0]
    assert 50 < findings.saved["known"] < 150
    assert any("log" in note for note in findings.notes)
    overwrite(log, 0, b"damage")
    assert any("log" in note for note in check(copy, OUTBOX)[0].notes)


def test_a_box_that_runs_keeps_its_file_for_itself(spool: Path) -> None:
    async def run() -> None:
        box = Outbox(Database(spool, SCHEMA, name="spool"), OutboxConfig(), Metrics())
        await box.open()
        with pytest.raises(PartFailed) as refused, locked(spool):
            pass
        assert refused.value.reason == "in_use"
        assert refused.value.hint
        await box.close()

    asyncio.run(run())
    with locked(spool):
        assert check(spool, SCHEMA)[0].sound


def test_a_file_of_a_newer_edge_is_left_alone(spool: Path) -> None:
    with sqlite3.connect(spool) as connection:
        connection.executescript(stamp(99))
    connection.close()
    with pytest.raises(Fatal, match="newer"):
        repair(spool, SCHEMA, mend)
    assert list(spool.parent.glob("*damaged*")) == []


def test_a_repair_that_a_power_cut_ended_is_completed(spool: Path) -> None:
    page = next(iter(leaves(spool, "parcel")))
    overwrite(spool, (page - 1) * PAGE_BYTES, bytes(PAGE_BYTES))
    damaged = spool.read_bytes()
    repaired(spool)
    mended = Path(f"{spool}.mended")
    spool.rename(mended)
    spool.write_bytes(damaged)
    os.utime(spool, (1, 1))
    assert finish(spool)
    assert not mended.exists()
    assert check(spool, SCHEMA)[0].sound
    assert not finish(spool)
    # but not where the box went on with the old file meanwhile
    shutil.copy(spool, mended)
    os.utime(mended, (1, 1))
    assert not finish(spool)
    assert not mended.exists()


def test_a_disk_without_room_changes_nothing(
    spool: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(spool.stat().st_size // 2**20 + 2)
    path = Path(shutil.copy(spool, disk / "spool.db"))
    page = next(iter(leaves(path, "parcel")))
    overwrite(path, (page - 1) * PAGE_BYTES, bytes(PAGE_BYTES))
    before = path.read_bytes()
    with pytest.raises(PartFailed) as full:
        repair(path, SCHEMA, mend)
    assert full.value.reason == "disk_full"
    assert path.read_bytes() == before
    assert sorted(file.name for file in disk.iterdir()) == ["spool.db"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_is_overwritten_nothing_crashes_and_most_survives(
    filled: Path, tmp_path: Path, data: st.DataObject
) -> None:
    path = Path(shutil.copy(filled, tmp_path / "spool.db"))
    size = path.stat().st_size
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, size - 1))
        garbage = data.draw(st.binary(min_size=1, max_size=200))
        overwrite(path, at, garbage[: size - at])
    found = look(path, repairing._like(path, SCHEMA))
    # at most four pages are hit: each may cost its rows, or as an inner page a few of a key's
    assert found.saved["parcel"] > WAITING - 120
    assert found.pages + found.rows + found.saved["parcel"] >= 1


def test_the_reader_sees_what_sqlite_sees(spool: Path) -> None:
    with sqlite3.connect(spool) as connection:
        expected = connection.execute("SELECT * FROM parcel ORDER BY seq").fetchall()
    connection.close()
    found = []
    with Pages(spool) as pages:
        for page in leaves(spool, "parcel"):
            node = pages.node(page)
            assert node.kind == TABLE_LEAF
            found += [(cell.rowid, *record(cell.payload or b"")[1:]) for cell in node.cells]
    assert sorted(found) == expected


@pytest.mark.parametrize("format_", [0, 1, 3, 77])
async def test_a_format_that_one_place_alone_knows_is_mended(spool: Path, format_: int) -> None:
    waiting = check(spool, SCHEMA)[0].saved["parcel"]
    overwrite(spool, 60, format_.to_bytes(4))
    box = Outbox(Database(spool, SCHEMA, name="spool", mend=mend), OutboxConfig(), Metrics())
    await box.open()
    assert box.stats().waiting == waiting > 0
    await box.close()
