"""Pictures that are broken, rare or hostile go through the whole box; it stays alive and closed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.journeys.box import check_covered, message, pictures, pixels, traces, until
from tests.journeys.conftest import MakeBox
from tests.places import shared

VIDEOS = {".mp4", ".ts", ".avi"}
SECRET_PLACE = b"GPS"


@pytest.mark.timeout(240)
def test_every_odd_picture_ends_redacted_or_named_and_the_box_goes_on(
    make_box: MakeBox, tmp_path: Path
) -> None:
    drop, store = tmp_path / "drop", tmp_path / "store"
    drop.mkdir()
    odd = [path for path in sorted(shared("data/odd").iterdir()) if path.suffix not in VIDEOS]
    for path in odd:
        shutil.copy(path, drop / path.name)
    box = make_box(
        f'[sources.drop]\nkind = "folder"\npath = "{drop}"\nsettle = "50ms"\n'
        f'[store]\nkind = "folder"\npath = "{store}"\n'
    )
    box.start()
    ends = [f"edge_pictures_{end}_total" for end in ("redacted", "rejected", "withheld")]
    until("every picture has an end", lambda: sum(map(box.metric, ends)) >= len(odd), seconds=120)
    # It still works for a picture that is not poisoned.
    good = shared("data/people-dev/images/coco_000000001268.jpg")
    shutil.copy(good, drop / "good.jpg")
    until(
        "the good one is stored", lambda: any(subject(one) == "good.jpg" for one in pictures(store))
    )
    assert box.metric("edge_bugs_total") == 0
    assert box.process is not None
    assert peak_megabytes(box.process.pid) < 1024
    assert box.stop() == 0

    stored = {subject(one): one for one in pictures(store)}
    check_covered(pixels(stored["good.jpg"]), pixels(good), message(stored["good.jpg"]))
    for number in range(1, 9):
        upright = pixels(stored[f"exif_orientation_{number}.jpg"])
        assert upright.shape == (360, 480, 3)
    for name in ("exif_gps_private.jpg", "exif_embedded_thumbnail.jpg"):
        assert SECRET_PLACE not in stored[name].read_bytes()
    for name in ("bomb_16000x12000_rgb.png", "text_named_jpg.jpg", "truncated_half.jpg"):
        assert name not in stored
    assert list(traces([good.read_bytes()], store, box.state)) == []


def subject(picture: Path) -> str:
    return str(message(picture)["subject"]) if picture.with_suffix(".json").exists() else ""


def peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
