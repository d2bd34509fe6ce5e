"""The spool of a box takes over what an earlier Edge kept."""

from __future__ import annotations

from pathlib import Path

from edge.app.spool import spool_in
from edge.config.store import OutboxConfig
from edge.ops.database import Database
from edge.ops.metrics import Metrics
from edge.sinks.outbox import Outbox
from edge.sinks.outbox_sql import SCHEMA
from tests.parts import make_parcel


def names_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


async def test_what_waited_in_the_outbox_of_an_earlier_edge_goes_on_waiting(tmp_path: Path) -> None:
    old = Database(tmp_path / "outbox.db", SCHEMA, name="outbox")
    before = Outbox(old, OutboxConfig(), Metrics())
    await before.open()
    await old.do(lambda connection: connection.execute("PRAGMA application_id=0"))
    await before.put(make_parcel(1))
    await before.close()

    after = Outbox(spool_in(tmp_path), OutboxConfig(), Metrics())
    await after.open()
    assert after.stats().waiting == 1
    assert not await after.put(make_parcel(1))
    await after.close()
    assert names_in(tmp_path) == {"outbox.db.lock", "spool.db", "spool.db.lock"}
