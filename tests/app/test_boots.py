"""Each start of a box is counted, with how the run before ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge.app.boots import Boots
from edge.app.spool import spool_in
from edge.control.commands.ledger import Ledger


async def started(state: Path, *, ends: bool = True, boot: str = "") -> tuple[int, str]:
    spool = spool_in(state)
    await spool.open()
    ledger = Ledger(spool, remember=60, audit_rows=100)
    if boot:
        before: Any = json.loads(json.dumps(await ledger.kept("boots")))
        await ledger.keep("boots", {**before, "boot": boot})
    boots = Boots(ledger)
    await boots.open()
    if ends:
        await boots.ended()
    await spool.close()
    return boots.number, boots.reason


async def test_starts_are_counted_and_told_apart(tmp_path: Path) -> None:
    assert await started(tmp_path) == (1, "first")
    assert await started(tmp_path, ends=False) == (2, "stopped")
    assert await started(tmp_path, ends=False) == (3, "crashed")
    assert await started(tmp_path, boot="another") == (4, "power_lost")
    assert await started(tmp_path, boot="another") == (5, "rebooted")


async def test_what_cannot_be_read_is_a_first_start(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    await spool.open()
    ledger = Ledger(spool, remember=60, audit_rows=100)
    await ledger.keep("boots", {"number": "many"})
    boots = Boots(ledger)
    await boots.open()
    assert (boots.number, boots.reason) == (1, "first")
    await spool.close()
