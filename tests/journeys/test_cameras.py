"""Two real RTSP cameras, a real object store; a camera dies and returns, then the store does."""

from __future__ import annotations

import json

import pytest

from tests.journeys.box import detail, pixels, until
from tests.journeys.conftest import MakeBox
from tests.journeys.test_store_shut import stored_messages
from tests.places import shared
from tests.servers.rgw import Rgw
from tests.servers.rtsp import StartRtsp

PASSWORD = "hush-hush"


@pytest.mark.timeout(240)
def test_a_camera_and_then_the_store_die_and_return_and_nothing_is_lost_or_shown(
    make_box: MakeBox, rgw: Rgw, bucket: str, start_rtsp: StartRtsp
) -> None:
    hall = start_rtsp(shared("data/seq-dev/worker_zone.mp4"), login=f"viewer:{PASSWORD}")
    door = start_rtsp(shared("data/seq-dev/one_by_one_a.mp4"), login=f"viewer:{PASSWORD}")
    box = make_box(
        f'[sources.hall]\nkind = "camera"\nurl = "{hall.url(login=f"viewer:{PASSWORD}")}"\n'
        'fps = 5\nstall_after = "2s"\n'
        f'[sources.door]\nkind = "camera"\nurl = "{door.url(login=f"viewer:{PASSWORD}")}"\n'
        'fps = 5\nstall_after = "2s"\n'
        f'[outbox]\nretry_max = "2s"\n[store]\nkind = "s3"\nendpoint = "{rgw.endpoint}"\n'
        f'bucket = "{bucket}"\naccess_key = "{rgw.access_key}"\nsecret_key = "{rgw.secret_key}"\n'
    )
    box.start()
    until("both stream", lambda: all(shown(box.source(name)) for name in ("hall", "door")))

    door.kill()
    until("the page says that the door's camera is gone",
          lambda: box.source("door")["state"] not in ("streaming", ""))  # fmt: skip
    assert box.source("door")["reason"]
    assert box.source("hall")["state"] == "streaming"
    assert box.get("/healthz")[0] == 200
    door.start()
    until("the door's camera streams again", lambda: box.source("door")["state"] == "streaming")

    hall.do("stall", "cam0")
    until("the hang is noticed", lambda: box.metric("edge_source_stalls_total") >= 1)
    hall.do("resume", "cam0")
    until("the hall streams again", lambda: box.source("hall")["state"] == "streaming")

    rgw.kill()
    until("the page says that the store is shut", lambda: not box.status()["sending"]["up"])
    until("parcels wait", lambda: box.status()["sending"]["waiting"] > 10)
    rgw.revive()
    until("the store takes parcels again", lambda: box.status()["sending"]["up"])

    everything = b"".join(
        box.get(path)[1] for path in ("/", "/v1/status", "/v1/sources", "/metrics")
    )
    for name in ("hall", "door"):
        box.post("/v1/commands/source.disable", json.dumps({"name": name}).encode())
    redacted = box.come_to_rest()
    stored = stored_messages(rgw.client(), bucket)
    assert box.stop() == 0

    assert len(stored) == len({one["id"] for one in stored}) == redacted
    assert {one["data"]["source"] for one in stored} == {"hall", "door"}
    seen = everything + box.log.read_bytes()
    assert PASSWORD.encode() not in seen
    assert b"viewer:" not in seen
    people = [one for one in stored if one["data"]["people"]]
    assert people, "somebody walked through"
    for one in people[:20]:
        reply = rgw.client().get_object(
            bucket_name=bucket, object_name=one["data"]["picture"]["key"]
        )
        picture = pixels(reply.read())
        reply.close()
        reply.release_conn()
        for x, y, width, height in (person["box"] for person in one["data"]["people"]):
            inner = picture[y + 8 : y + height - 8, x + 8 : x + width - 8]
            if min(inner.shape[:2]) >= 16:
                assert detail(inner) < 6, one["id"]


def shown(source: dict[str, object]) -> bool:
    """A redacted picture of this source is on the page."""
    return bool(source.get("shown"))
