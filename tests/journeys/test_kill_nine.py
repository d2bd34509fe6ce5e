"""Promises 1 to 3: ``kill -9`` at any moment loses nothing, doubles nothing, shows nothing."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest

from tests.journeys.box import check_covered, message, pictures, pixels, traces, until
from tests.journeys.conftest import MakeBox
from tests.places import shared

KILLS = 20


@pytest.mark.timeout(300)
def test_a_box_that_is_killed_twenty_times_redacts_every_dropped_picture_exactly_once(
    make_box: MakeBox, tmp_path: Path
) -> None:
    drop, store = tmp_path / "drop", tmp_path / "store"
    drop.mkdir()
    box = make_box(
        f'[sources.drop]\nkind = "folder"\npath = "{drop}"\nsettle = "50ms"\n'
        f'[store]\nkind = "folder"\npath = "{store}"\n'
    )
    originals = sorted(shared("data/people-dev/images").iterdir())[: KILLS * 2]
    chance = random.Random(20)
    for kill in range(KILLS):
        for original in originals[2 * kill : 2 * kill + 2]:
            shutil.copy(original, drop / original.name)
        box.start_only()
        # From before the engine is loaded to well after the store has the pictures.
        time.sleep(chance.uniform(0.3, 2.0))
        box.kill()
        for picture in pictures(store):
            assert pixels(picture).size, f"{picture} is not whole after kill {kill}"

    box.start()
    until("every picture is in the store", lambda: len(pictures(store)) >= len(originals))
    until("the outbox is empty", lambda: box.status()["sending"]["waiting"] == 0)
    time.sleep(1)
    assert box.stop() == 0

    stored = [message(picture) for picture in pictures(store)]
    subjects = [one["subject"] for one in stored]
    assert sorted(subjects) == sorted(original.name for original in originals)
    assert list(traces([path.read_bytes() for path in originals], store, box.state)) == []
    for picture, facts in zip(pictures(store), stored, strict=True):
        check_covered(pixels(picture), pixels(drop / facts["subject"]), facts)
