"""A source that comes back under its old name with a stricter policy gets the stricter policy."""

from __future__ import annotations

import json
from pathlib import Path

from tests.journeys.box import pictures, pixels, until
from tests.journeys.conftest import MakeBox

SCENE = {"name": "site", "kind": "scene", "fps": 5, "width": 320, "height": 180}
LEFT_HALF = [[[0, 0], [0.5, 0], [0.5, 1], [0, 1]]]


def test_a_blackout_that_is_added_while_it_runs_holds_from_the_next_picture_on(
    make_box: MakeBox, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    box = make_box(
        '[sources.site]\nkind = "scene"\nfps = 5\nwidth = 320\nheight = 180\n'
        f'[store]\nkind = "folder"\npath = "{store}"\n'
    )
    box.start()
    until("pictures are stored", lambda: len(pictures(store)) > 2)
    assert box.post("/v1/commands/source.remove", b'{"name": "site"}')[0] == 200
    box.come_to_rest()
    before = set(pictures(store))
    assert all(pixels(picture)[:, :150].mean() > 20 for picture in before)

    stricter = {**SCENE, "privacy": {"blackout": LEFT_HALF}}
    assert box.post("/v1/commands/source.add", json.dumps(stricter).encode())[0] == 200
    until("pictures are stored again", lambda: len(pictures(store)) > len(before) + 2)
    assert box.stop() == 0
    for picture in set(pictures(store)) - before:
        assert pixels(picture)[:, :150].mean() < 2, picture
