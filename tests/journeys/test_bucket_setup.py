"""An integrator with the configuration and the keys: from nothing to the first redacted picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.cli.main import main
from tests.journeys.box import until
from tests.journeys.conftest import MakeBox
from tests.journeys.test_buckets import TOKEN, config, put, stored
from tests.places import free_port, shared
from tests.servers.push_target import push_target
from tests.servers.rgw import Rgw

Printed = pytest.CaptureFixture[str]


def say(printed: Printed, *words: str) -> tuple[int, dict[str, Any]]:
    printed.readouterr()
    code = main(["bucket", *words, "--json"])
    said = printed.readouterr().out
    assert TOKEN not in said
    return code, json.loads(said)["sources"][0]


def test_setup_and_probe_lead_to_the_first_picture(
    make_box: MakeBox, rgw: Rgw, bucket: str, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    # no sweep: what arrives was notified
    toml = config(rgw, bucket).replace('sweep_every = "5s"', 'sweep_every = "0s"')
    box = make_box(toml)
    monkeypatch.setenv("EDGE_CONFIG", str(box.config))
    box.start()
    code, said = say(capsys, "setup")
    assert (code, said["ok"]) == (0, True), said
    file: Path = min(shared("data/people-dev/images").iterdir())
    key = put(rgw, bucket, 1, file)
    until("the picture is redacted", lambda: set(stored(rgw, bucket)) == {key})

    code, said = say(capsys, "check", "--probe")
    assert code == 0, said
    (probe,) = [one for one in said["findings"] if one["what"] == "probe"]
    assert probe["state"] == "ok", probe
    assert "the box redacted it" in probe["text"]
    (name,) = rgw.client().list_objects(bucket_name=bucket, recursive=True)
    assert name.object_name == key, "the probe is gone again"
    assert box.metric("edge_bus_dead_letters") == 0


def test_a_probe_tells_when_no_notification_reaches_this_box(
    make_box: MakeBox, rgw: Rgw, bucket: str, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = make_box(config(rgw, bucket).replace('sweep_every = "5s"', 'sweep_every = "1s"'))
    monkeypatch.setenv("EDGE_CONFIG", str(box.config))
    box.start()
    with push_target(TOKEN) as another_box:
        assert say(capsys, "setup", "--url", another_box.url)[0] == 0
        assert say(capsys, "check")[0] == 0, "it looks right from here"
        code, said = say(capsys, "check", "--probe", "--wait", "6")
        assert code == 1
        assert said["findings"][-1]["what"] == "probe"
        assert "the box's sweep found" in said["findings"][-1]["text"]
        assert "edge bucket setup yard" in said["findings"][-1]["hint"]
        assert len(another_box.keys) == 1

        nobody = f"http://127.0.0.1:{free_port()}"
        code, said = say(capsys, "check", "--probe", "--box", nobody)
        assert code == 1
        assert "box" in said["findings"][-1]["hint"]
    assert not list(rgw.client().list_objects(bucket_name=bucket, recursive=True))
    assert say(capsys, "remove", "yard")[0] == 0
