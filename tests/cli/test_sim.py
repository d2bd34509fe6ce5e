"""``edge sim`` with a real mosquitto: what boxes say, come and go, and what they need."""

from __future__ import annotations

import json
import subprocess
import sys

import jsonschema
import pytest

from edge.cli.sim_plan import Faults, Plan, read_faults
from edge.messages import loss
from edge.messages.json_schema import schema_of
from edge.messages.published import ALL
from tests.cli.fleet_parts import Cloud, run, url, wait_for
from tests.places import ROOT, free_port
from tests.servers.mosquitto import Mosquitto, mosquitto

__all__ = ["mosquitto"]


def test_what_simulated_boxes_say_fits_the_published_schemas(mosquitto: Mosquitto) -> None:
    cloud = Cloud(mosquitto, "edge/v1/#")
    faults = "loss=0.3,duplicate=0.3"
    words = ("--boxes", "3", "--rate", "10", "--broker", url(mosquitto), "--faults", faults)
    done = run("sim", *words, "--duration", "4s", "--json")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: not cloud.heard[-1].payload)
    cloud.close()
    schemas = {one.name: jsonschema.Draft202012Validator(one.schema()) for one in ALL}
    schemas["loss"] = jsonschema.Draft202012Validator(schema_of(loss.Message))
    for name, part in (
        ("status", "/status"), ("info", "/info"), ("health", "/health"),
        ("source-status", "/source/"), ("result", "/result/"), ("loss", "/loss"),
    ):  # fmt: skip
        found = cloud.on(part)
        if name == "status":
            found = [one for one in found if "name" not in one]
        assert found, name
        for message in found:
            schemas[name].validate(message)
    results = cloud.on("/result/")
    assert len({one["id"] for one in results}) < len(results), "some are sent twice"
    assert all(one["historical"] is False for one in results)
    # of each source, whatever was numbered came or is told of as lost
    for source in {one["source"] for one in results}:
        came = {one["seq"] for one in results if one["source"] == source}
        lost = {one["data"]["from_seq"] for one in cloud.on("/loss") if one["source"] == source}
        assert came | lost == set(range(1, max(came | lost) + 1))
        assert not came & lost
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["counts"]["sent twice"] > 0
    assert last["up"] == 3
    kept = {one.topic for one in cloud.heard if one.payload and one.retain} - {
        one.topic for one in cloud.heard if not one.payload
    }
    assert kept == set(), "the broker is left as it was"


def test_simulated_boxes_come_and_go_and_what_they_kept_comes_late(mosquitto: Mosquitto) -> None:
    cloud = Cloud(mosquitto, "edge/v1/+/+/status", "edge/v1/+/+/result/+")
    faults = "offline=0.4,away=1s,reconnect=3s"
    words = ("--boxes", "8", "--rate", "4", "--broker", url(mosquitto), "--faults", faults)
    done = run("sim", *words, "--duration", "8s", "--json", "--historical-after", "1s")
    assert done.returncode == 0, done.stderr
    cloud.close()
    states = [one["state"] for one in cloud.on("/status")]
    assert states.count("offline") >= 8
    assert states.count("online") >= 16
    results = cloud.on("/result/")
    assert any(one["historical"] for one in results)
    for source in {one["source"] for one in results}:
        seqs = [one["seq"] for one in results if one["source"] == source]
        firsts = list(dict.fromkeys(seqs))
        assert firsts == list(range(1, len(firsts) + 1)), "in order, none missing"
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["counts"]["storms"] == 2
    assert last["counts"]["left"] > 0


def test_an_open_file_limit_that_is_too_low_is_said_before_anything_happens() -> None:
    words = f"{sys.executable} -m edge sim --boxes 500 --broker mqtt://127.0.0.1:{free_port()}"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -n 100; exec {words}"], cwd=ROOT, capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "500 boxes need 564 open files, and this process may have 100" in done.stderr
    assert "--boxes 36" in done.stderr


def test_faults_are_read_as_they_are_written() -> None:
    assert read_faults("") == Faults()
    text = "offline=0.05,away=2min, reconnect=5min,loss=0.001,duplicate=0.01"
    found = Faults(offline=0.05, away=120, reconnect=300, loss=0.001, duplicate=0.01)
    assert read_faults(text) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fire=1", "no fault 'fire'"),
        ("loss=1", "expected a share"),
        ("loss=nan", "expected a share"),
        ("away=60", "expected a duration"),
        ("away=0s", "more than nothing"),
    ],
)
def test_other_faults_are_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_faults(text)


def test_boxes_are_spread_over_sites() -> None:
    plan = Plan(boxes=4, sites=2)
    assert [plan.name(number)[0] for number in range(4)] == ["sim-001", "sim-002"] * 2
