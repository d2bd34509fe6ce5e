"""The store is away for long: pictures give way to newer ones, and each that did is told of."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from edge.app.upstream import OURS
from edge.messages.published import TOMBSTONE
from edge.topics import Topics
from tests.journeys.box import BoxProcess, until
from tests.journeys.conftest import MakeBox
from tests.journeys.test_upstream import strict
from tests.ops.mqtt_parts import until as until_async
from tests.servers.mosquitto import Mosquitto, idle_mosquitto, mosquitto
from tests.sinks.upstream.presence_parts import watching

__all__ = ["idle_mosquitto", "mosquitto"]

TOML = """
[sources.gate]
kind = "scene"
fps = 10
width = 320
height = 180
[detect]
engine = "builtin"
[outbox]
max_bytes = "400KiB"
when_full = "evict"
retry_max = "1s"
[store]
kind = "folder"
path = "{out}"
[mqtt]
url = "mqtt://127.0.0.1:{port}"
"""


def metric(box: BoxProcess, name: str) -> float:
    lines = box.get("/metrics")[1].decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


async def test_pictures_that_gave_way_are_told_of_and_the_sum_is_exact(
    mosquitto: Mosquitto, make_box: MakeBox, tmp_path: Path
) -> None:
    out, away = tmp_path / "out", tmp_path / "away"
    box = make_box(TOML.format(out=out, port=mosquitto.port))
    text = box.config.read_text()
    box.config.write_text(text.replace("[box]\n", '[box]\nsite = "site"\nnode = "box"\n', 1))
    topics = Topics(site="site", node="box")

    def shut() -> None:
        box.start()
        until("the store has some", lambda: metric(box, "edge_parcels_stored_total") > 2)
        out.rename(away)
        out.write_text("no folder")
        until("many gave way", lambda: metric(box, "edge_parcels_evicted_total") > 40, 60)
        box.post("/v1/commands/source.disable", b'{"name": "gate"}')
        out.unlink()
        away.rename(out)
        until("nothing waits", lambda: metric(box, "edge_outbox_parcels") == 0)

    async with watching(mosquitto) as watcher:
        await asyncio.to_thread(shut)

        def told() -> list[dict[str, Any]]:
            return [one["data"] for one in watcher.values(topics.loss)]

        gone = metric(box, "edge_parcels_evicted_total")
        kept = metric(box, "edge_parcels_stored_total")
        await until_async(lambda: sum(one["count"] for one in told()) >= gone, 30)
        await until_async(lambda: len(watcher.values(topics.result("gate"))) >= kept, 30)
        assert {(one["class"], one["source"], one["reason"]) for one in told()} == {
            ("picture", "gate", "bytes")
        }
        assert sum(one["count"] for one in told()) == gone
        assert len(watcher.values(topics.result("gate"))) == kept
        assert len(await asyncio.to_thread(lambda: list(out.rglob("*.jpg")))) == kept
        for one in watcher.values(topics.loss):
            said = {name: value for name, value in one.items() if name not in OURS}
            assert [error.message for error in strict(TOMBSTONE.schema()).iter_errors(said)] == []
    assert await asyncio.to_thread(box.stop) == 0
