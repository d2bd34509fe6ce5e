"""Uploads that rest on a bucket of a real Ceph RGW: nothing that was answered with 202 is lost."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.box import BoxProcess, check_covered, pixels, traces, until
from tests.journeys.conftest import MakeBox
from tests.places import shared
from tests.servers.rgw import Rgw


def config(rgw: Rgw, bucket: str, *, after: str = "keep") -> str:
    """Uploads wait in a bucket of which no notification comes; the store is another bucket."""
    keys = f'access_key = "{rgw.access_key}"\nsecret_key = "{rgw.secret_key}"\n'
    return (
        f'[sources.yard]\nkind = "bucket"\nendpoint = "{rgw.endpoint}"\n'
        f'bucket = "{bucket}"\nprefix = "in/"\nsweep_every = "5s"\ntimeout = "5s"\n'
        f'after = "{after}"\n{keys}'
        f'[jobs]\nbucket = "yard"\n'
        f'[store]\nkind = "s3"\nendpoint = "{rgw.endpoint}"\nbucket = "{bucket}-out"\n{keys}'
    )


def names(rgw: Rgw, bucket: str) -> list[str]:
    client = rgw.client()
    if not client.bucket_exists(bucket_name=bucket):
        return []
    found = client.list_objects(bucket_name=bucket, recursive=True)
    return sorted(str(one.object_name) for one in found)


def stored(rgw: Rgw, bucket: str) -> list[str]:
    return [name for name in names(rgw, f"{bucket}-out") if name.endswith(".jpg")]


def job(box: BoxProcess, one: dict[str, Any], wait: int = 0) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(box.get(f"/v1/jobs/{one['id']}?wait={wait}")[1] or b"{}")
    return answer


def ended(box: BoxProcess, one: dict[str, Any]) -> dict[str, Any]:
    until("the job ends", lambda: job(box, one, wait=2).get("state") in ("done", "dead"))
    return job(box, one)


@pytest.fixture
def picture() -> Path:
    return shared("data/people-dev/images/coco_000000001268.jpg")


def test_an_upload_is_done_though_the_box_is_killed_right_after_its_answer(
    make_box: MakeBox, rgw: Rgw, bucket: str, picture: Path
) -> None:
    rgw.client().make_bucket(bucket_name=bucket)
    raw = picture.read_bytes()
    box = make_box(config(rgw, bucket))
    box.start()
    status, first = box.post("/v1/images?name=gate%201.jpg", raw)
    box.kill()
    assert status == 202
    assert names(rgw, bucket) == [f"in/uploads/{first['id']}/gate 1.jpg"]

    box.start()
    done = ended(box, first)
    assert (done["state"], done["content_type"]) == ("done", "image/jpeg")
    code, redacted = box.get(done["links"]["image"])
    assert code == 200
    until("the store has it", lambda: stored(rgw, bucket) == [done["key"]])
    told = rgw.client().get_object(
        bucket_name=f"{bucket}-out", object_name=done["key"].replace(".jpg", ".json")
    )
    facts = json.loads(told.read())
    told.close()
    assert facts["data"]["people"]
    check_covered(pixels(redacted), pixels(raw), facts)

    # the same again, before and after another death: the same job, and nothing more in the store
    assert box.post("/v1/images?name=other.jpg", raw)[1]["id"] == first["id"]
    box.kill()
    box.start()
    code, again = box.post("/v1/images", raw)
    assert (code, again["id"], again["state"]) == (200, first["id"], "done")
    assert hashlib.sha256(box.get(done["links"]["image"])[1]).digest() == (
        hashlib.sha256(redacted).digest()
    )
    box.come_to_rest()  # the sweep saw the original by now
    assert len(stored(rgw, bucket)) == 1
    assert len(names(rgw, bucket)) == 1
    assert list(traces([raw], box.state)) == [], "an original was written to the box's disk"
    assert box.stop() == 0


def test_an_upload_is_refused_while_the_bucket_cannot_be_reached_and_nothing_is_half_done(
    make_box: MakeBox, rgw: Rgw, bucket: str, picture: Path
) -> None:
    rgw.client().make_bucket(bucket_name=bucket)
    box = make_box(config(rgw, bucket))
    box.start()
    rgw.kill()
    status, refused = box.post("/v1/images", picture.read_bytes())
    assert (status, refused["error"]["code"]) == (503, "unreachable")
    assert box.metric("edge_jobs") == 0
    rgw.revive()
    status, one = box.post("/v1/images", picture.read_bytes())
    assert status == 202
    assert ended(box, one)["state"] == "done"
    until("the store has it", lambda: len(stored(rgw, bucket)) == 1)


def test_a_poisoned_upload_is_dead_with_its_reason_and_its_original_stays(
    make_box: MakeBox, rgw: Rgw, bucket: str, picture: Path
) -> None:
    rgw.client().make_bucket(bucket_name=bucket)
    box = make_box(config(rgw, bucket, after="delete_source"))
    box.start()
    _, text = box.post("/v1/images?name=notes.txt", b"no picture at all")
    _, torn = box.post("/v1/images", picture.read_bytes()[:5000])
    dead = [ended(box, text), ended(box, torn)]
    assert [one["state"] for one in dead] == ["dead", "dead"]
    assert dead[0]["reason"] == "not_a_picture"
    assert dead[1]["reason"] == "damaged"
    assert all(one["hint"] for one in dead)
    assert box.get(text["links"]["image"])[0] == 409
    box.kill()
    box.start()
    assert job(box, text)["reason"] == "not_a_picture", "a restart forgot it"
    assert names(rgw, bucket) == sorted(
        [f"in/uploads/{text['id']}/notes.txt.jpg", f"in/uploads/{torn['id']}/upload.jpg"]
    )
    assert names(rgw, f"{bucket}-out") == []
    # it is tried anew when it is sent again
    status, again = box.post("/v1/images?name=notes.txt", b"no picture at all")
    assert (status, again["id"]) == (202, text["id"])
    assert ended(box, again)["reason"] == "not_a_picture"


def test_a_picture_that_lies_in_the_bucket_becomes_a_job(
    make_box: MakeBox, rgw: Rgw, bucket: str, picture: Path
) -> None:
    rgw.client().make_bucket(bucket_name=bucket)
    rgw.client().fput_object(bucket_name=bucket, object_name="in/a+b %.jpg", file_path=str(picture))
    box = make_box(config(rgw, bucket))
    box.start()

    def refer(where: str, key: str) -> tuple[int, dict[str, Any]]:
        return box.post("/v1/images", json.dumps({"bucket": where, "key": key}).encode())

    status, one = refer(bucket, "in/a+b %.jpg")
    assert status == 202
    done = ended(box, one)
    assert done["state"] == "done"
    assert box.get(done["links"]["image"])[0] == 200
    box.come_to_rest()
    assert len(stored(rgw, bucket)) == 1
    for where, key, reason in (
        ("other", "in/a.jpg", "unknown_bucket"),
        (bucket, "out/a.jpg", "unknown_bucket"),
        (bucket, "in/nothing.jpg", "gone"),
        (bucket, "in/../a.jpg", "bad_key"),
        (bucket, "in/\ud800.jpg", "bad_key"),
    ):
        status, refused = refer(where, key)
        assert (status, refused["error"]["code"]) == (422, reason), key
        assert refused["error"]["hint"]
