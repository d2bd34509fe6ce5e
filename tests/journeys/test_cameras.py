"""Two real RTSP cameras, a real object store; a camera dies and returns, then the store does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.journeys.box import BoxProcess, detail, pixels, until
from tests.journeys.conftest import MakeBox
from tests.journeys.test_store_shut import stored_messages
from tests.places import shared
from tests.servers.rgw import Rgw
from tests.servers.rtsp import RtspServer, StartRtsp

PASSWORD = "hush-hush"


@pytest.mark.timeout(240)
def test_a_camera_and_then_the_store_die_and_return_and_nothing_is_lost_or_shown(
    make_box: MakeBox, rgw: Rgw, bucket: str, start_rtsp: StartRtsp
) -> None:
    login = f"viewer:{PASSWORD}"
    hall = start_rtsp(shared("data/seq-dev/worker_zone.mp4"), login=login)
    door = start_rtsp(shared("data/seq-dev/one_by_one_a.mp4"), login=login)
    cameras = "".join(
        f'[sources.{name}]\nkind = "camera"\nurl = "{server.url(login=login)}"\n'
        'fps = 5\nstall_after = "2s"\n'
        for name, server in (("hall", hall), ("door", door))
    )
    box = make_box(
        f'{cameras}[outbox]\nretry_max = "2s"\n[store]\nkind = "s3"\n'
        f'endpoint = "{rgw.endpoint}"\nbucket = "{bucket}"\n'
        f'access_key = "{rgw.access_key}"\nsecret_key = "{rgw.secret_key}"\n'
    )
    box.start()
    until("both stream", lambda: all(shown(box.source(name)) for name in ("hall", "door")))
    the_door_dies_and_returns(box, door)
    the_hall_hangs_and_returns(box, hall)
    the_store_dies_and_returns(box, rgw)

    pages = ("/", "/v1/status", "/v1/sources", "/metrics")
    seen = b"".join(box.get(page)[1] for page in pages)
    for name in ("hall", "door"):
        box.post("/v1/commands/source.disable", json.dumps({"name": name}).encode())
    redacted = box.come_to_rest()
    stored = stored_messages(rgw.client(), bucket)
    assert box.stop() == 0

    assert len(stored) == len({one["id"] for one in stored}) == redacted
    assert {one["data"]["source"] for one in stored} == {"hall", "door"}
    seen += box.log.read_bytes()
    assert PASSWORD.encode() not in seen
    assert b"viewer:" not in seen
    people = [one for one in stored if one["data"]["people"]]
    assert people, "somebody walked through"
    for one in people[:20]:
        check_smooth(rgw, bucket, one)


def the_door_dies_and_returns(box: BoxProcess, door: RtspServer) -> None:
    door.kill()
    until("the door is gone", lambda: box.source("door")["state"] not in ("streaming", ""))
    assert box.source("door")["reason"]
    assert box.source("hall")["state"] == "streaming"
    assert box.get("/healthz")[0] == 200
    door.start()
    until("the door streams again", lambda: box.source("door")["state"] == "streaming")


def the_hall_hangs_and_returns(box: BoxProcess, hall: RtspServer) -> None:
    hall.do("stall", "cam0")
    until("the hang is noticed", lambda: box.metric("edge_source_stalls_total") >= 1)
    hall.do("resume", "cam0")
    until("the hall streams again", lambda: box.source("hall")["state"] == "streaming")


def the_store_dies_and_returns(box: BoxProcess, rgw: Rgw) -> None:
    rgw.kill()
    until("the page says that the store is shut", lambda: not box.status()["sending"]["up"])
    until("parcels wait", lambda: box.status()["sending"]["waiting"] > 10)
    rgw.revive()
    until("the store takes parcels again", lambda: box.status()["sending"]["up"])


def check_smooth(rgw: Rgw, bucket: str, one: dict[str, Any]) -> None:
    """Every person in a stored picture is smooth colour."""
    reply = rgw.client().get_object(bucket_name=bucket, object_name=one["data"]["picture"]["key"])
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
