"""Faults of the GPU are counted over restarts, and a lost one ends the process with 75."""

from __future__ import annotations

from pathlib import Path

from edge.app.gpu_faults import WINDOW, GpuFaults
from edge.cli.main import exit_code
from edge.control.commands.ledger import SCHEMA, Ledger
from edge.errors import GpuLost, PartFailed
from edge.ops.database import Database


def test_a_lost_gpu_has_an_exit_code_of_its_own() -> None:
    assert exit_code(GpuLost("error 700")) == 75
    assert exit_code(PartFailed("anything else")) == 4


class Clock:
    """A clock that a test sets."""

    now = 10_000.0

    def __call__(self) -> float:
        return self.now


async def test_faults_are_counted_over_restarts_and_for_an_hour(tmp_path: Path) -> None:
    clock = Clock()
    spool = Database(tmp_path / "spool.db", [SCHEMA], name="spool")
    await spool.open()
    ledger = Ledger(spool, remember=10, audit_rows=10)
    counts = []
    for _ in range(4):
        faults = GpuFaults(3, clock=clock)
        await faults.open(ledger)
        counts.append((faults.recent(), faults.too_many))
        await faults.note()
        clock.now += 60
    assert counts == [(0, False), (1, False), (2, False), (3, True)]
    clock.now += WINDOW
    assert faults.recent() == 0
    clock.now = 0.0  # the clock was set back: what was long ago is not just now
    assert faults.recent() == 0
    await spool.close()
