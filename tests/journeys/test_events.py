"""Events through a real box: in over HTTP, sorted, out to a sink that is shut for a while."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.box import BoxProcess, message, pictures, traces, until
from tests.journeys.conftest import MakeBox
from tests.journeys.sink import EventSink
from tests.places import shared

SCENE = '[sources.site]\nkind = "scene"\nfps = 5\nwidth = 320\nheight = 180\n'
SORTED = r"""
[handlers.cameras]
kind = "route"
[[handlers.cameras.rules]]
subject = '^(?P<camera>cam\d+)/'
set_type = "seen.{camera}"
[triggers.sort]
filters = [{ exact = { type = "raw" } }]
subscriber = { ref = "cameras" }
order = "ordered"
"""


@pytest.fixture
def sink() -> Iterator[EventSink]:
    sink = EventSink()
    yield sink
    sink.shut()


def store_in(folder: Path) -> str:
    return f'[detect]\nengine = "builtin"\n[store]\nkind = "folder"\npath = "{folder}"\n'


def post(box: BoxProcess, number: int) -> int:
    """Send one event; return the status, 0 where nobody answered."""
    event = {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": "/test",
        "type": "raw",
        "subject": f"cam{number % 7}/{number}.jpg",
        "partitionkey": f"cam{number % 7}",
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{box.port}/v1/events",
        data=json.dumps(event).encode(),
        headers={"Content-Type": "application/cloudevents+json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def waiting(box: BoxProcess) -> float:
    return box.metric("edge_bus_waiting_events")


def test_results_reach_a_sink_that_the_environment_names_though_it_is_shut_and_the_box_killed(
    make_box: MakeBox, tmp_path: Path, sink: EventSink
) -> None:
    store = tmp_path / "store"
    box = make_box(SCENE + store_in(store))
    box.start(K_SINK=sink.url, K_CE_OVERRIDES='{"extensions": {"site": "north"}}')
    until("results wait", lambda: waiting(box) > 5)
    status = box.status()
    assert status["sending"]["events"] > 5
    assert "edge trigger show k_sink" in {one["hint"] for one in status["overall"]["reasons"]}
    assert b"Events waiting" in box.get("/")[1]
    box.kill()
    sink.open()
    box.start(K_SINK=sink.url)
    until("the first results are there", lambda: len(sink.ids) > 10)
    sink.shut()
    until("results wait again", lambda: waiting(box) > 5)
    sink.open()
    disabled, _ = box.post("/v1/commands/source.disable", b'{"name": "site"}')
    assert disabled == 200
    box.come_to_rest()
    until("nothing waits", lambda: waiting(box) == 0)
    stored = {message(picture)["id"] for picture in pictures(store)}
    assert sink.ids == stored
    assert {kind for _, kind in sink.got} == {"io.edge.picture.redacted.v1"}
    # a try whose answer the kill swallowed comes again, under its own id: no other does
    assert len(sink.got) - len(sink.ids) <= 8
    assert box.stop() == 0


def test_what_was_accepted_is_sorted_and_sent_though_the_box_is_killed_and_reloaded(
    make_box: MakeBox, tmp_path: Path, sink: EventSink
) -> None:
    config = store_in(tmp_path / "store") + SORTED
    out = (
        '[triggers.out]\nfilters = [{ prefix = { type = "seen." } }]\n'
        f'subscriber = {{ uri = "{sink.url}" }}\norder = "ordered"\n'
    )
    box = make_box(config + out)
    box.start()
    accepted: set[str] = set()
    for number in range(300):
        if number in (100, 200):
            box.kill()
            box.start()
        if post(box, number) == 202:
            accepted.add(f"e{number}")
        assert post(box, number // 2) == 202, "sent twice is taken once"
    assert len(accepted) == 300
    assert waiting(box) == 300, "sorted, and waiting for the sink"
    sink.open()
    until("all are sent", lambda: waiting(box) == 0)
    assert sink.ids == accepted
    by_camera: dict[str, list[int]] = {}
    for name, kind in sink.got:
        by_camera.setdefault(kind, []).append(int(name[1:]))
    assert all(numbers == sorted(numbers) for numbers in by_camera.values())
    assert len(by_camera) == 7

    box.write(config)  # the trigger goes
    box.reload()
    until("the trigger is gone", lambda: "out" not in names(box))
    assert post(box, 1000) == 202
    trace = until("it ended", lambda: ended(box, "e1000")) or {}
    (reply,) = trace["passages"][0]["replies"]
    assert reply == "e1000", "sorted, and wanted by nobody"
    assert "e1000" not in sink.ids


def names(box: BoxProcess) -> list[str]:
    return [one["name"] for one in json.loads(box.get("/v1/triggers")[1])["triggers"]]


def ended(box: BoxProcess, event_id: str) -> dict[str, Any] | None:
    status, body = box.get(f"/v1/events/{event_id}")
    found: list[dict[str, Any]] = json.loads(body)["traces"] if status == 200 else []
    return found[0] if found and found[0]["ended_at"] else None


def test_a_raw_picture_that_is_sent_as_an_event_or_a_notification_is_written_nowhere(
    make_box: MakeBox, tmp_path: Path
) -> None:
    box = make_box(store_in(tmp_path / "store") + SORTED)
    box.start()
    picture = shared("data/photos/beagle.jpg").read_bytes()
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/camera", "ce-type": "raw"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{box.port}/v1/events", data=picture, headers=headers
    )
    request.add_header("Content-Type", "application/octet-stream")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    with refused.value as answer:
        assert json.loads(answer.read())["error"]["code"] == "raw_picture"
    box.post_raw("/hooks/s3", picture)
    assert box.stop() == 0
    assert list(traces([picture], tmp_path)) == []
