"""A box that is commanded and configured over a real broker, and comes back by itself."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from Crypto.PublicKey import ECC

from edge.control.commands.signed import sign
from tests.journeys.box import BoxProcess, until
from tests.journeys.cloud import Cloud, envelope, service_manager
from tests.journeys.conftest import MakeBox
from tests.servers.mosquitto import Mosquitto, mosquitto

__all__ = ["mosquitto"]

TOML = """
[sources.gate]
kind = "scene"
fps = 4
width = 320
height = 180
[detect]
engine = "builtin"
[store]
kind = "folder"
path = "{out}"
[mqtt]
url = "mqtt://127.0.0.1:{port}"
retry_max = "1s"
[control]
probation = "{probation}"
{more}
"""
SCENE: dict[str, Any] = {"kind": "scene", "fps": 2, "width": 320, "height": 180}
Make = Callable[..., BoxProcess]


def node_of(box: BoxProcess) -> str:
    about = box.status()["box"]
    return f"edge/v1/{about['site']}/{about['node']}"


@pytest.fixture
def make(make_box: MakeBox, mosquitto: Mosquitto, tmp_path: Path) -> Make:
    def made(probation: str = "8s", more: str = "") -> BoxProcess:
        out = tmp_path / "out"
        return make_box(TOML.format(out=out, port=mosquitto.port, probation=probation, more=more))

    return made


@pytest.fixture
def at(mosquitto: Mosquitto) -> Iterator[Callable[[BoxProcess], Cloud]]:
    clouds: list[Cloud] = []

    def made(box: BoxProcess) -> Cloud:
        until("it runs", lambda: box.status().get("box"))
        clouds.append(Cloud(mosquitto, node_of(box)))
        until("the box reports", lambda: clouds[-1].reported()["state"])
        return clouds[-1]

    yield made
    for cloud in clouds:
        cloud.close()


At = Callable[[BoxProcess], Cloud]


def test_a_session_from_afar(make: Make, at: At) -> None:
    box = make()
    box.start()
    cloud = at(box)
    assert cloud.ask("ping")["data"]["site"] == "site"
    assert cloud.ask("status.get")["data"]["facts"]["safe"]["safe_mode"] is True
    assert cloud.ask("source.add", key="add", name="yard", **SCENE)["status"] == "ok"
    assert cloud.ask("source.test", name="yard", seconds=30)["status"] == "ok"
    assert cloud.ask("source.disable", name="yard")["data"]["state"] == "disabled"
    assert cloud.ask("privacy.raise", method="fill")["data"]["sources"][""]["method"] == "fill"
    assert cloud.ask("privacy.raise", method="cells")["code"] == "forbidden_remote"
    assert cloud.ask("dlq.list")["data"]["letters"] == []
    assert cloud.ask("no.such")["code"] == "unsupported"
    cloud.command("source.add", key="add", name="yard", **SCENE)
    until("the repeat is answered", lambda: len(cloud.replies("add")) == 2)
    assert [one["repeated"] for one in cloud.replies("add")] == [False, True]


def want(cloud: Cloud, name: str, **patch: Any) -> None:
    """Ask for a configuration as a retained message."""
    body = json.dumps({"id": name, "patch": patch}).encode()
    cloud.send(f"{cloud.base}/config/desired", body, retain=True)


def test_a_configuration_that_works_stays_and_can_be_taken_back(make: Make, at: At) -> None:
    box = make()
    with service_manager(box) as codes:
        cloud = at(box)
        file = cloud.reported()
        assert (file["state"], file["file"]) == ("file", True)
        want(cloud, "louder", log={"level": "debug"}, sources={"yard": SCENE})
        assert cloud.comes("probation")["id"] == "louder"
        applied = cloud.comes("applied")
        assert (applied["id"], applied["file"], codes) == ("louder", False, [])
        assert cloud.ask("config.get", section="log")["data"]["facts"]["log"]["level"] == "debug"
        assert box.source("yard")["state"]
        reply = cloud.ask("config.apply", key="two", patch={"detect": {"workers": 2}})
        assert (reply["status"], reply["data"]["restart"]) == ("ok", ["detect.workers"])
        until("it was started again", lambda: codes == [0])
        until("it stays", lambda: cloud.reported()["id"] != "louder")
        assert cloud.comes("applied")["digest"] == reply["data"]["digest"]
        assert cloud.ask("config.rollback")["data"]["digest"] == applied["digest"]
        until("it is back", lambda: cloud.comes("applied")["digest"] == applied["digest"])
        assert box.source("yard")["state"], "what a restart keeps is the configuration"
        want(cloud, "louder", log={"level": "debug"}, sources={"yard": SCENE})
        time.sleep(1)
        assert cloud.reported()["digest"] == applied["digest"], "the same wish is taken up once"
        box.write(box.config.read_text().split("false\n", 1)[1] + "\n[log]\nlevel = 'warning'\n")
        box.reload()
        assert cloud.comes("superseded")["file"] is True
        assert box.source("yard")["state"] == "", "the file on the box has the last word"


BROKEN: dict[str, dict[str, Any]] = {
    "a broker that is not there": {"mqtt": {"url": "mqtt://127.0.0.1:9"}},
    "a store that is a file": {"store": {"path": "/dev/null/out"}},
    "a camera that is not there": {
        "sources": {"gate": {"kind": "camera", "url": "rtsp://127.0.0.1:9/a", "fps": 4,
                             "width": None, "height": None}}
    },
}  # fmt: skip


@pytest.mark.parametrize("broken", list(BROKEN))
def test_a_configuration_that_breaks_the_box_is_gone_by_itself(
    make: Make, at: At, broken: str
) -> None:
    box = make("5s")
    with service_manager(box):
        cloud = at(box)
        file = cloud.reported()["digest"]
        until("the gate is seen", lambda: box.source("gate")["state"] == "streaming")
        until("the store is up", lambda: box.status().get("sending", {}).get("up"))
        want(cloud, "broken", **BROKEN[broken])
        report = cloud.comes("rolled_back")
        assert (report["id"], report["digest"], report["file"]) == ("broken", file, True)
        assert report["reason"]
        until("all is as before", lambda: cloud.ask("ping")["status"] == "ok")
        until("the gate is seen again", lambda: box.source("gate")["state"] == "streaming")
        until("the store is up again", lambda: box.status().get("sending", {}).get("up"))
        time.sleep(2)
        assert cloud.reported()["state"] == "rolled_back", "it is not tried again"


def _reached(codes: list[int], number: int) -> bool:
    return len(codes) == number


def test_a_box_that_dies_of_a_configuration_comes_back(make: Make, at: At) -> None:
    box = make("60s")
    with service_manager(box) as codes:
        cloud = at(box)
        file = cloud.reported()["digest"]
        want(cloud, "deadly", mqtt={"url": "mqtt://127.0.0.1:9"})
        cloud.comes("probation")
        until("it was started with it", lambda: codes == [0])
        for starts in range(1, 4):
            until("it runs", lambda: box.get("/healthz")[0] == 200)
            assert cloud.reported()["state"] == "probation"
            box.kill()
            until("it is started again", partial(_reached, codes, 1 + starts))
        report = cloud.comes("rolled_back")
        assert (report["digest"], "3 starts" in report["reason"]) == (file, True)
        want(cloud, "port", web={"port": cloud.broker.port})
        until("it could not even start", lambda: 75 in codes)
        until("it says so", lambda: cloud.reported()["id"] == "port")
        report = cloud.comes("rolled_back")
        assert (report["digest"], 3 in codes, 78 in codes) == (file, False, False)


def test_what_is_wrong_with_a_configuration_is_told_all_at_once(make: Make, at: At) -> None:
    box = make()
    box.start()
    cloud = at(box)
    want(cloud, "wrong", log={"level": "loud"}, wob={}, store={"kind": "nowhere"})
    report = cloud.comes("rejected")
    assert {"log.level", "wob", "store.kind"} <= {one["path"] for one in report["faults"]}
    assert report["file"] is True
    reply = cloud.ask("config.apply", patch={"privacy": {"method": "blur"}})
    assert (reply["code"], "privacy.method" in reply["message"]) == ("forbidden_remote", True)
    for patch in (
        {"control": {"keys": {}, "window": "1h"}},
        {"mqtt": None},
        {"box": {"state": "/"}},
        {"tensorrt": {"library_path": "/tmp"}},
        {"models": {"path": "/tmp"}},
    ):
        assert cloud.ask("config.apply", patch=patch)["code"] == "forbidden_remote"
    assert cloud.ask("config.apply", patch={"log": {}}, base="0" * 64)["code"] == "conflict"
    assert cloud.ask("config.apply", toml="[store")["code"] == "bad_request"
    assert cloud.ask("config.rollback")["code"] == "precondition_failed"
    assert (
        cloud.ask("config.apply", patch={"log": {"level": "info"}})["data"]["state"] == "probation"
    )
    assert cloud.ask("config.apply", patch={"log": {"level": "debug"}})["code"] == "conflict"


def test_what_a_view_covers_stays_covered_under_another_name(
    make: Make, at: At, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    corner = [[0, 0], [0.5, 0], [0, 0.5]]
    view = {"kind": "folder", "path": str(tmp_path / "in"), "mode": "replay"}
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in view.items())
    box = make(more=f"[sources.door]\n{lines}\nprivacy.blackout = {json.dumps([corner])}\n")
    box.start()
    cloud = at(box)
    assert cloud.ask("source.remove", name="door")["status"] == "ok"
    other = {**view, "path": f"{tmp_path}/in/"}
    assert cloud.ask("source.add", name="door2", **other)["code"] == "forbidden_remote"
    reply = cloud.ask("config.apply", patch={"sources": {"door": None, "door2": other}})
    assert reply["code"] == "forbidden_remote"
    assert "sources.door2.privacy.blackout" in reply["message"]
    own: dict[str, Any] = {"privacy": {"blackout": [corner]}}
    assert cloud.ask("source.add", name="door2", **other, **own)["status"] == "ok"
    assert cloud.ask("source.add", name="yard", **SCENE)["status"] == "ok"


def test_what_comes_again_after_kill_nine_took_effect_once(make: Make, at: At) -> None:
    box = make()
    box.start()
    cloud = at(box)
    names = [f"yard{number}" for number in range(3)]
    for number, name in enumerate(names):
        cloud.command("source.add", key=name, name=name, **SCENE)
        time.sleep(0.008 * number)
        box.kill()
        box.start()
    for name in names:
        until(f"{name} is answered", partial(cloud.last, name))
        entries = cloud.ask("audit.recent", limit=200)["data"]["entries"]
        begun = [one for one in entries if (one["id"], one["outcome"]) == (name, "begun")]
        assert len(begun) == 1
    cloud.send(f"{cloud.base}/cmd/sync.pause", envelope("stays"), retain=True)
    until("it is refused", lambda: cloud.last("stays"))
    assert cloud.last("stays")["code"] == "bad_request"
    assert cloud.ask("spool.stats")["data"]["facts"]["paused"] is False


def test_where_commands_must_be_signed_a_configuration_must_be_too(make: Make, at: At) -> None:
    key = ECC.generate(curve="Ed25519")
    public = base64.b64encode(key.public_key().export_key(format="raw")).decode()
    box = make(more=f'[control.mqtt]\nsigned = true\n[control.keys.ops]\npublic = "{public}"\n')
    box.start()
    cloud = at(box)
    assert cloud.ask("sync.pause")["code"] == "forbidden_remote"
    assert cloud.ask("ping")["status"] == "ok"
    want(cloud, "unsigned", log={"level": "debug"})
    assert "must be signed" in cloud.comes("rejected")["reason"]
    site_node = cloud.base.removeprefix("edge/v1/")

    def signed(name: str, level: str) -> bytes:
        inner = envelope(
            name, verb="config.apply", to=site_node, args={"patch": {"log": {"level": level}}}
        )
        return json.dumps(sign(key.seed, "ops", inner)).encode()

    old = signed("old", "warning")
    time.sleep(1.1)
    desired = f"{cloud.base}/config/desired"
    cloud.send(desired, signed("new", "debug"), retain=True)
    assert cloud.comes("applied")["id"] == "new"
    cloud.send(desired, old, retain=True)
    assert "newer" in cloud.comes("rejected")["reason"]


def test_a_group_is_told_at_once_and_each_box_answers(
    mosquitto: Mosquitto, models: Path, tmp_path: Path, at: At
) -> None:
    boxes = []
    for name in ("north", "south"):
        home = tmp_path / name
        home.mkdir()
        box = BoxProcess(home, models, "")
        box.config.write_text(
            f'[box]\nsite = "yard"\nnode = "{name}"\nstate = "{home}/state"\n'
            f"[web]\nport = {box.port}\n"
            + TOML.format(out=home / "out", port=mosquitto.port, probation="8s", more="")
        )
        boxes.append(box)
    try:
        for box in boxes:
            box.start()
        clouds = [at(box) for box in boxes]
        key = clouds[0].command("sync.pause", node="_all")
        for box, cloud in zip(boxes, clouds, strict=True):
            reply = until("each answers", partial(cloud.last, key))
            assert (reply["status"], reply["data"]["paused"]) == ("ok", True)
            assert box.status()["sending"]
    finally:
        for box in boxes:
            box.close()


def edge(box: BoxProcess, *words: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "edge", *words, "--json", "--config", str(box.config)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, json.loads(done.stdout)


def test_on_the_box_itself_a_file_is_tried_and_taken_back(make: Make, tmp_path: Path) -> None:
    box = make("5s")
    with service_manager(box) as codes:
        until("the gate is seen", lambda: box.source("gate")["state"] == "streaming")
        wanted = tmp_path / "wanted.toml"
        text = box.config.read_text()
        wanted.write_text(text.replace("fps = 4", "fps = 3") + "[detect]\nworkers = 2\n")
        code, told = edge(box, "config", "apply", str(wanted))
        assert (code, told["error"]["reason"]) == (1, "bad_request"), "a table stands there twice"
        wanted.write_text(text.replace('engine = "builtin"', 'engine = "builtin"\nworkers = 2'))
        code, told = edge(box, "config", "apply", str(wanted))
        assert (code, told["state"], codes) == (0, "applied", [0])
        assert edge(box, "config", "show")[1]["detect"]["workers"] == 2
        assert edge(box, "config", "show", "--file")[1]["detect"]["workers"] == 0
        assert any("is in force" in one["text"] for one in box.status()["notices"])
        wanted.write_text(text.replace(f'path = "{tmp_path / "out"}"', 'path = "/dev/null/out"'))
        code, told = edge(box, "config", "apply", str(wanted))
        assert (code, told["error"]["reason"]) == (1, "rolled_back")
        until("it is started as before", lambda: len(codes) == 3 and box.get("/readyz")[0] == 200)
        code, told = edge(box, "config", "rollback")
        assert (code, told["state"], told["file"]) == (0, "applied", True)
