"""SIGTERM: what was accepted is finished or kept; a second start finishes the rest."""

from __future__ import annotations

import json
from pathlib import Path

from tests.journeys.box import message, pictures, until
from tests.journeys.conftest import MakeBox
from tests.places import shared


def test_sigterm_finishes_what_was_uploaded_and_ends_with_zero(
    make_box: MakeBox, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    box = make_box(f'[store]\nkind = "folder"\npath = "{store}"\n')
    uploads = sorted(shared("data/people-dev/images").iterdir())[:12]
    box.start()
    jobs = []
    for path in uploads:
        status, job = box.post("/v1/images", path.read_bytes())
        assert status == 202
        jobs.append(job["id"])
    # Those that the path has taken are finished; those in the queue are told that it stops.
    assert box.stop() == 0
    done = {message(picture)["id"].split(".")[0] for picture in pictures(store)}
    assert len(done) == len(pictures(store)) > 0
    assert done <= {job.split(".")[0] for job in jobs}


def test_a_job_can_be_followed_to_its_redacted_picture(make_box: MakeBox, tmp_path: Path) -> None:
    box = make_box(f'[store]\nkind = "folder"\npath = "{tmp_path / "store"}"\n')
    box.start()
    original = shared("data/odd/exif_gps_private.jpg").read_bytes()
    status, job = box.post("/v1/images", original)
    assert status == 202
    code, body = box.get(f"/v1/jobs/{job['id']}?wait=20")
    assert (code, json.loads(body)["state"]) == (200, "done")
    code, picture = box.get(f"/v1/jobs/{job['id']}/image")
    assert code == 200
    assert picture.startswith(b"\xff\xd8")
    assert b"GPS" not in picture
    # The same picture again is the same job, and makes nothing new.
    assert box.post("/v1/images", original)[1]["id"] == job["id"]
    until("it is stored", lambda: len(pictures(tmp_path / "store")) == 1)
    assert box.stop() == 0


def test_sighup_adds_and_removes_sources_while_the_others_go_on(
    make_box: MakeBox, tmp_path: Path
) -> None:
    scene = 'kind = "scene"\nfps = 5\nwidth = 320\nheight = 180\n'
    store = f'[store]\nkind = "folder"\npath = "{tmp_path / "store"}"\n'
    box = make_box(f"[sources.one]\n{scene}[sources.two]\n{scene}{store}")
    box.start()
    until("both stream", lambda: all(box.source(name)["fps"] > 0 for name in ("one", "two")))
    before = box.source("one")["counts"]

    box.write(f"[sources.one]\n{scene}[sources.three]\n{scene}{store}")
    assert box.process is not None
    box.process.send_signal(1)
    until("three streams", lambda: box.source("three").get("fps", 0) > 0)
    names = {one["name"] for one in box.status()["seeing"]}
    assert names == {"one", "three"}
    after = box.source("one")["counts"]
    assert sum(after.values()) > sum(before.values()), "the untouched source never stopped"

    box.write("[sources.one]\nkind = 'scenes'\n" + store)
    box.process.send_signal(1)
    until("the log says why it was refused", lambda: "not reloaded" in box.log.read_text())
    (notice,) = box.status()["notices"]
    assert "old one" in notice["text"]
    assert "sources.one.kind" in notice["hint"]
    assert {one["name"] for one in box.status()["seeing"]} == {"one", "three"}
    assert box.stop() == 0
