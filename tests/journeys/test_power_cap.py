"""A box whose GPU takes too much power: fewer live frames, every upload, and the page says why."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from tests.journeys.box import until
from tests.journeys.conftest import MakeBox
from tests.ops.nvml import build


def test_live_frames_give_way_to_the_cap_and_uploads_never_do(
    make_box: MakeBox, tmp_path: Path
) -> None:
    library = tmp_path / "nvml"
    library.mkdir()
    said = tmp_path / "said"
    said.write_text("-3 90000\n")  # no count of energy, 90 W
    box = make_box(
        '[sources.site]\nkind = "scene"\nfps = 10\nwidth = 320\nheight = 180\n'
        f'[store]\nkind = "folder"\npath = "{tmp_path / "store"}"\n'
        "[energy]\npower_cap = 60\nleast_fps = 1\n"
    )
    box.start(LD_LIBRARY_PATH=str(build(library)), FAKE_NVML=str(said))
    until("frames are left out", lambda: box.status()["energy"]["share"] < 1)

    energy = box.status()["energy"]
    assert energy["capped"] > 0
    (gpu,) = [zone for zone in energy["zones"] if zone["name"] == "gpu0"]
    assert abs(gpu["watts"] - 90) < 1
    assert box.metric("edge_energy_joules_total") > 90
    assert "60 W: to keep to it" in box.get("/")[1].decode()

    written, body = cv2.imencode(".jpg", np.full((90, 160, 3), 120, np.uint8))
    assert written
    jobs = [box.post("/v1/images", body.tobytes() + bytes([n]))[1]["id"] for n in range(20)]

    def ended() -> bool:
        states = [json.loads(box.get(f"/v1/jobs/{job}")[1])["state"] for job in jobs]
        return set(states) == {"done"}

    until("every upload is redacted", ended)
    lines = box.get("/metrics")[1].decode().splitlines()
    capped = [line for line in lines if 'reason="power"' in line]
    assert [line for line in capped if 'source="site"' in line] == capped
    assert box.stop() == 0
