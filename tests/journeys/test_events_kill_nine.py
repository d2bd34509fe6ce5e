from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from edge.traffic import LetterQuery, Trace
from tests.journeys.bus_lives import LIVES_A_FOLDER, Bus, divides, event
from tests.places import ROOT

LIVES = 1000
ROOTS = ("flaky", "parcel", "picky", "reply")


async def what_became_of(file: Path, names: list[str]) -> dict[str, list[Trace]]:
    bus = Bus(file)
    await bus.outbox.open()
    found = {name: await bus.journal.traces(name) for name in names}
    letters = Counter(one.attributes["id"] for one in await bus.journal.letters(LetterQuery()))
    # some were accepted in the moment of a kill: nobody was told, and they end all the same
    assert {name for name in letters if name in found} == {
        name for name in names if divides(5, event(name))
    }
    assert set(letters.values()) == {1}
    assert bus.journal.stats().events == 0
    await bus.outbox.close()
    return found


def check_one(name: str, traces: list[Trace]) -> None:
    roots = [trace for trace in traces if trace.attributes["type"] == "t.root"]
    assert len(roots) == 1, name
    states = {one.trigger: one.state for one in roots[0].passages}
    assert sorted(one.trigger for one in roots[0].passages) == list(ROOTS)
    expected = "dead" if divides(5, event(name)) else "done"
    assert states == {**dict.fromkeys(ROOTS, "done"), "picky": expected}
    (reply,) = roots[0].replies
    assert [(one.trigger, one.state) for one in reply.passages] == [("end", "done")]


@pytest.mark.timeout(300)
def test_a_bus_that_is_killed_a_thousand_times_ends_every_event_exactly_once(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "tests.journeys.bus_lives", str(tmp_path), str(LIVES), "7"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    files = sorted(tmp_path.glob("*/spool.db"))
    assert len(files) == LIVES // LIVES_A_FOLDER
    seen = 0
    for file in files:
        names = sorted(set(file.with_suffix(".accepted").read_text().split()))
        seen += len(names)
        for name, traces in asyncio.run(what_became_of(file, names)).items():
            check_one(name, traces)
        with sqlite3.connect(file) as rows:
            parcels = dict(rows.execute("SELECT event_id, count(*) FROM parcel GROUP BY 1"))
        assert all(parcels.get(name) == 1 for name in names)
        assert set(parcels.values()) == {1}
    assert seen > LIVES, "too little was accepted to tell anything"
