"""Commands to a box in a process of its own: over HTTP and its socket, across kill -9."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.box import BoxProcess, until
from tests.journeys.conftest import MakeBox

TOML = """
[sources.gate]
kind = "scene"
fps = 2
width = 320
height = 180
[detect]
engine = "builtin"
[store]
kind = "folder"
path = "{out}"
"""
SCENE: dict[str, Any] = {"kind": "scene", "fps": 2, "width": 320, "height": 180}


def command(
    box: BoxProcess, verb: str, key: str = "", wait: int = 20, **args: Any
) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", "Prefer": f"wait={wait}"}
    headers |= {"Idempotency-Key": key} if key else {}
    request = urllib.request.Request(
        f"http://127.0.0.1:{box.port}/v1/commands/{verb}",
        data=json.dumps(args).encode(),
        headers=headers,
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["error"]


def ctl(box: BoxProcess, *words: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "edge", "ctl", *words, "--json", "--config", str(box.config)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, json.loads(done.stdout)


def written(box: BoxProcess) -> list[str]:
    entries = command(box, "audit.recent")[1]["data"]["entries"]
    return [f"{one['id']} {one['outcome']}" for one in entries]


@pytest.fixture
def box(make_box: MakeBox, tmp_path: Path) -> BoxProcess:
    box = make_box(TOML.format(out=tmp_path / "out"))
    box.start()
    return box


def test_the_same_verbs_come_by_http_and_by_the_socket(box: BoxProcess) -> None:
    assert command(box, "ping")[1]["data"]["site"] == ctl(box, "ping")[1]["data"]["site"]
    code, reply = ctl(box, "source.add", "name=yard", "kind=scene", "fps=2", "--id", "one")
    assert (code, reply["status"], reply["repeated"]) == (0, "ok", False)
    status, reply = command(box, "source.add", "one", name="yard", kind="scene", fps=2)
    assert (status, reply["repeated"]) == (200, True), "an id is the same whichever way it comes"
    assert ctl(box, "source.add", "name=yard", "kind=scene")[0] == 1
    assert ctl(box, "source.test", "name=nobody")[1]["error"]["reason"] == "not_found"
    assert ctl(box, "privacy.raise", "method=blur")[1]["error"]["reason"] == "forbidden_remote"
    assert command(box, "privacy.release")[0] == 403
    assert command(box, "no.such")[0] == 501
    found = ctl(box, "audit.recent", "limit=1")[1]["data"]["entries"][0]
    assert (found["channel"], found["verb"]) == ("http", "no.such")
    mode = (box.state / "control.sock").stat().st_mode
    assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o600)
    assert ctl(box, "audit.recent", "limit=3")[1]["data"]["entries"][-1]["who"] or os.getuid() == 0


def test_a_long_one_is_202_and_can_be_asked_for(box: BoxProcess) -> None:
    command(box, "source.add", name="dead", kind="camera", url="rtsp://127.0.0.1:9/a")
    status, reply = command(box, "source.test", "long", wait=0, name="dead", seconds=2)
    assert (status, reply["status"]) == (202, "accepted")
    assert box.get("/v1/commands/long")[0] == 202
    until("it has ended", lambda: box.get("/v1/commands/long")[0] == 503)
    assert box.get("/v1/commands/nobody")[0] == 404


def test_kill_nine_in_the_middle_makes_once_of_twice(box: BoxProcess) -> None:
    assert command(box, "source.add", "add", name="yard", **SCENE)[0] == 200
    command(box, "source.add", name="dead", kind="camera", url="rtsp://127.0.0.1:9/a")
    sent = threading.Thread(
        name="sender", target=lambda: _lost(box, "source.test", "test", name="dead", seconds=30)
    )
    sent.start()
    until("it is under way", lambda: "test begun" in written(box))
    box.kill()
    sent.join(30)
    box.start()
    status, reply = command(box, "source.add", "add", name="yard", **SCENE)
    assert (status, reply["status"], reply["repeated"]) == (200, "ok", True)
    assert box.source("yard")["state"] == "", "it took effect once, before the cut"
    assert box.get("/v1/commands/test")[0] == 500, "nobody knows how it ended"
    status, reply = command(box, "source.test", "test", name="dead", seconds=30)
    assert (status, reply["code"]) == (404, "not_found"), "it is harmless, so it is done again"
    whole = ctl(box, "audit.verify")[1]["data"]
    assert whole["whole"] is True


def test_another_model_looks_and_its_threshold_goes_down_only(
    make_box: MakeBox, tmp_path: Path
) -> None:
    box = make_box(TOML.format(out=tmp_path / "out").replace("builtin", "onnx"))
    box.start()
    (one,) = ctl(box, "model.ls")[1]["data"]["models"]
    assert (one["serving"], one["fault"]) == (True, "")
    used = ctl(box, "model.use", f"model={one['id']}")[1]["data"]
    assert used == {"engine": "onnx", "model": one["id"], "safe_mode": False}
    assert ctl(box, "privacy.raise", "threshold=0.9")[1]["error"]["reason"] == "forbidden_remote"
    assert ctl(box, "privacy.raise", "threshold=0.1")[1]["data"]["threshold"] == 0.1
    assert ctl(box, "privacy.raise", "threshold=0.2")[1]["error"]["reason"] == "forbidden_remote"
    box.stop()
    box.start()
    assert ctl(box, "privacy.raise", "threshold=0.2")[1]["error"]["reason"] == "forbidden_remote"


def test_a_restart_is_a_clean_stop(box: BoxProcess) -> None:
    assert ctl(box, "service.restart")[1]["status"] == "ok"
    assert box.process is not None
    assert box.process.wait(30) == 0, "Restart=always starts it again after that"
    assert not (box.state / "control.sock").exists()


def _lost(box: BoxProcess, verb: str, key: str, **args: Any) -> None:
    try:
        command(box, verb, key, **args)
    except (OSError, ValueError):
        return
