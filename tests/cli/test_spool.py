"""``edge spool`` on files that are damaged for real."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from edge.app.spool import SCHEMA
from edge.cli.main import main
from edge.config.store import OutboxConfig
from edge.ops.database import Database
from edge.ops.database_file import PAGE_BYTES
from edge.ops.metrics import Metrics
from edge.sinks.outbox import Outbox
from tests.parts import make_parcel


def box(path: Path) -> tuple[Database, Outbox]:
    database = Database(path, SCHEMA, name="spool")
    return database, Outbox(database, OutboxConfig(), Metrics())


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    async def fill() -> None:
        database, outbox = box(tmp_path / "spool.db")
        await database.open()
        for number in range(100):
            await outbox.put(make_parcel(number, body=bytes(3000)))
        await database.close()

    asyncio.run(fill())
    return tmp_path / "spool.db"


def damage(spool: Path) -> None:
    """Zero a page that holds parcels."""
    at = 0
    for _ in range(50):
        at = spool.read_bytes().index(b"image/jpeg", at + 1)
    with spool.open("r+b") as file:
        file.seek(at // PAGE_BYTES * PAGE_BYTES)
        file.write(bytes(PAGE_BYTES))


def test_a_sound_spool_is_said_to_be_sound_and_left_alone(
    spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = spool.read_bytes()
    assert main(["spool", "check", str(spool)]) == 0
    assert "sound; rows: 100 parcel" in capsys.readouterr().out
    assert main(["spool", "repair", str(spool)]) == 0
    assert "sound" in capsys.readouterr().out
    assert spool.read_bytes() == before


def test_damage_is_found_told_and_repaired(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(spool)
    before = spool.read_bytes()
    assert main(["spool", "check", str(spool)]) == 1
    out = capsys.readouterr().out
    assert "damaged: 1 page, 0 rows" in out
    assert "edge spool repair" in out
    assert "SQLite says:" in out
    assert main(["spool", "repair", "--dry-run", str(spool)]) == 0
    assert spool.read_bytes() == before

    assert main(["spool", "repair", "--json", str(spool)]) == 0
    facts = json.loads(capsys.readouterr().out.partition("\n{")[2].join(("{", "")))
    assert 90 < facts["saved"]["parcel"] < 100
    assert facts["findings"][0]["table"] == "parcel"
    aside = Path(facts["directory"])
    assert (aside / "spool.db").read_bytes() == before
    assert (aside / facts["findings"][0]["file"]).stat().st_size == PAGE_BYTES
    assert main(["spool", "check", str(spool)]) == 0

    async def waiting() -> int:
        database, outbox = box(spool)
        await database.open()
        await outbox.put(make_parcel(1000))
        await database.close()
        return outbox.stats().waiting

    assert asyncio.run(waiting()) == facts["saved"]["parcel"] + 1


def test_the_spool_of_the_configured_box_is_meant_where_no_file_is_named(
    spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = spool.parent / "edge.toml"
    config.write_text(
        f'[box]\nstate = "{spool.parent}"\n[store]\nkind = "folder"\npath = "{spool.parent}/p"\n'
    )
    assert main(["spool", "check", "--config", str(config)]) == 0
    assert str(spool) in capsys.readouterr().out


def test_while_the_box_runs_and_where_there_is_no_file_it_says_what_to_do(
    spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refused() -> int:
        database, _ = box(spool)
        await database.open()
        code = await asyncio.to_thread(main, ["spool", "repair", str(spool)])
        await database.close()
        return code

    assert asyncio.run(refused()) == 4
    assert "stop Edge first" in capsys.readouterr().err
    assert main(["spool", "check", str(spool.parent / "none.db")]) == 4
    assert "there is no file" in capsys.readouterr().err
