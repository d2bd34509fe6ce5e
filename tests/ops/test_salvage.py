"""Salvage of anything at all: bounded memory, and no bytes that break the reader."""

from __future__ import annotations

import contextlib
import random
import resource
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.ops.database_file import PAGE_BYTES
from edge.ops.repair import repair, stamp
from edge.ops.salvage import look
from edge.ops.sqlite_pages import Damaged, record
from edge.sinks.outbox_mend import mend
from edge.sinks.outbox_sql import SCHEMA


@given(payload=st.binary(max_size=200))
def test_any_bytes_are_a_record_or_damaged(payload: bytes) -> None:
    with contextlib.suppress(Damaged):
        assert len(record(payload)) <= len(payload)


def test_memory_stays_flat_however_large_the_file(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
    connection.executescript(SCHEMA[0] + stamp(len(SCHEMA)) + " BEGIN;")
    body = random.Random(1).randbytes(100_000)
    for number in range(1500):
        connection.execute(
            "INSERT INTO parcel VALUES (NULL, ?, '', 's', '', '', '', 0, 0, '', 1, '{}', NULL, ?)",
            (f"{number}", body),
        )
    connection.execute("COMMIT")
    connection.close()
    with path.open("r+b") as file:
        file.seek(10 * PAGE_BYTES)
        file.write(bytes(PAGE_BYTES))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    findings = repair(path, SCHEMA, mend)
    assert findings.saved["parcel"] >= 1490
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB; 150 MB file


@given(content=st.binary(max_size=3 * 8192))
def test_any_bytes_at_all_are_a_file_without_rows(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "spool.db"
    path.write_bytes(content)
    like = sqlite3.connect(":memory:")
    like.executescript(SCHEMA[0])
    assert not look(path, like).saved
    like.close()
