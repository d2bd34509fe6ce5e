"""``edge fleet`` and ``edge sim`` with a real mosquitto: what is said, and with which exit code."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from edge.cli.fleet_order import read_key
from edge.cli.main import main
from edge.control.commands.signed import verifies
from tests.cli.fleet_parts import TWO, Cloud, lines, run, simulated, url
from tests.places import ROOT, free_port, need
from tests.servers.mosquitto import Mosquitto, idle_mosquitto, mosquitto

__all__ = ["idle_mosquitto", "mosquitto"]


def test_a_fleet_is_seen_commanded_and_gone(
    mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = ("--broker", url(mosquitto))
    with simulated(mosquitto, 6, *TWO, "--keep") as process:
        assert main(["fleet", "status", *broker, "--json"]) == 0
        boxes = lines(capsys)
        assert [(box["site"], box["node"]) for box in boxes[:2]] == [
            ("sim-001", "box-00001"),
            ("sim-001", "box-00003"),
        ]
        assert {(box["state"], box["fine"], box["sources_up"]) for box in boxes} == {
            ("online", True, 2)
        }
        assert main(["fleet", "send", "all", "ping", *broker, "--json"]) == 0
        replies = lines(capsys)
        assert {(one["site"], one["node"]) for one in replies} == {
            (box["site"], box["node"]) for box in boxes
        }
        assert {one["status"] for one in replies} == {"ok"}
        assert all(one["data"]["node"] == one["node"] for one in replies)
        # a simulated box carries out nothing else, and says so as a real one would
        words = ["fleet", "send", "sim-002/box-00002", "log.level", "level=debug"]
        assert main([*words, *broker, "--json"]) == 1
        assert [one["code"] for one in lines(capsys)] == ["forbidden_remote"]
        assert main(["fleet", "send", "sim-002", "ping", "--group", *broker]) == 0
        assert "3 boxes: 3 ok" in capsys.readouterr().out
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert main(["fleet", "status", *broker]) == 1
    assert "6 boxes: 6 stopped" in capsys.readouterr().out
    assert main(["fleet", "send", "all", "ping", *broker, "--json"]) == 1
    assert {one["status"] for one in lines(capsys)} == {"away"}
    assert main(["fleet", "send", "all", "ping", *broker, "--json", "--offline"]) == 0
    assert {one["status"] for one in lines(capsys)} == {"queued"}


def test_a_box_that_is_cut_off_is_offline_and_one_that_says_goodbye_is_stopped(
    mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = ("--broker", url(mosquitto))
    with simulated(mosquitto, 2, *TWO, "--keep") as process:
        process.kill()
        process.wait(10)
    assert main(["fleet", "status", *broker, "--json"]) == 1
    assert {box["state"] for box in lines(capsys)} == {"offline"}
    assert run("sim", "--boxes", "2", *TWO, *broker, "--keep", "--duration", "2s").returncode == 0
    assert main(["fleet", "status", *broker, "--json"]) == 1
    assert {box["state"] for box in lines(capsys)} == {"stopped"}


@pytest.mark.parametrize(
    "command", [["fleet", "status"], ["fleet", "send", "all", "ping"], ["sim"]]
)
def test_a_broker_that_is_out_of_reach_is_exit_code_4(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    assert main([*command, "--broker", f"mqtt://127.0.0.1:{free_port()}"]) == 4
    assert time.monotonic() - began < 5
    assert "nobody listens there" in capsys.readouterr().err


def test_a_broker_of_old_is_asked_in_its_own_version(
    mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud = Cloud(mosquitto)
    cloud.say("edge/v1/a/b/status", {"state": "online", "session": 1, "at": "2026-11-20T10:00:00Z"})
    cloud.close()
    assert main(["fleet", "status", "--broker", url(mosquitto), "--mqtt", "3.1.1", "--json"]) == 1
    assert [box["state"] for box in lines(capsys)] == ["stale"]


def test_the_password_comes_from_a_file_or_the_environment(
    idle_mosquitto: Mosquitto, tmp_path: Path
) -> None:
    idle_mosquitto.let_in(ops="se cret")
    idle_mosquitto.start()
    cloud = Cloud(idle_mosquitto, user="ops", password="se cret")
    cloud.say("edge/v1/a/b/status", {"state": "stopped"})
    cloud.close()
    status = ("fleet", "status", "--json")
    file = tmp_path / "password"
    file.write_text("se cret\n")
    where = url(idle_mosquitto)
    by_file = run(*status, "--broker", where, "--user", "ops", "--password-file", str(file))
    assert by_file.returncode == 1, by_file.stdout
    assert '"state": "stopped"' in by_file.stdout
    environment = {
        "EDGE_BROKER": where, "EDGE_BROKER_USER": "ops", "EDGE_BROKER_PASSWORD": "se cret",
    }  # fmt: skip
    assert '"state": "stopped"' in run(*status, **environment).stdout
    wrong = run(*status, **{**environment, "EDGE_BROKER_PASSWORD": "other"})
    assert wrong.returncode == 4
    assert "other" not in wrong.stdout + wrong.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["all", "source.disable", "name=c1"], "say --yes, or name a site"),
        (["all", "privacy.raise", "method=fill"], "say --yes, or name a site"),
        (["all", "privacy.release"], "for the box itself"),
        (["all", "no.such"], "no verb no.such"),
        (["a", "source.test"], "name"),
        (["a", "source.test", "name=c", "--group"], "one box at a time"),
        (["a/b", "ping", "--group"], "all boxes of a site"),
        (["a", "ping", "--id", "ä"], "1 to 128 letters"),
        (["a", "ping", "--timeout", "5"], "expected a duration"),
        (["a", "ping", "--ca-file", "LICENSE"], "for mqtts:// and wss:// only"),
        (["a", "ping", "--broker", "http://x"], "expected mqtt://"),
        (["a", "ping", "--prefix", "a/+"], "no + or #"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fleet", "send", "--broker", f"mqtt://127.0.0.1:{free_port()}", *words]) == 2
    assert told in capsys.readouterr().err


def test_a_box_that_nobody_knows_is_not_sent_to(
    mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fleet", "send", "north/gate", "ping", "--broker", url(mosquitto)]) == 1
    assert "no box is known: north/gate" in capsys.readouterr().err


@contextlib.contextmanager
def odd_box(broker: Mosquitto, answers: Sequence[Any]) -> Iterator[list[dict[str, Any]]]:
    """A box that is online and answers whatever it is told to; yields the commands it got."""
    got: list[dict[str, Any]] = []
    cloud = Cloud(broker, "edge/v1/a/b/cmd/+")

    def answer(_: object, __: object, message: paho.MQTTMessage) -> None:
        command = json.loads(message.payload)
        got.append(command)
        inner = json.loads(base64.b64decode(command["signed"])) if "signed" in command else command
        for one in answers:
            body = {"id": inner["id"], "data": {}, **one} if isinstance(one, dict) else one
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            cloud.client.publish(f"edge/v1/a/b/reply/{inner['id']}", body, 1)

    cloud.client.on_message = answer
    cloud.say("edge/v1/a/b/status", {"state": "online"})
    try:
        yield got
    finally:
        cloud.close()


def send(broker: Mosquitto, *words: str) -> int:
    return main(["fleet", "send", "a", *words, "--broker", url(broker), "--json"])


def test_the_last_answer_counts_and_nonsense_does_not(
    mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    nonsense = [b"\xff", b"[]", {"id": "other", "status": "ok"}, {"status": ["ok"]}]
    last = {"status": "error", "code": "busy", "message": "\x1b[31mno", "data": {"a": "\x9b"}}
    with odd_box(mosquitto, [*nonsense, {"status": "accepted"}, last, {"status": "ok"}]) as got:
        assert send(mosquitto, "ping") == 1
    printed = capsys.readouterr().out
    assert printed.rstrip("\n").isprintable()
    reply = json.loads(printed)
    assert (reply["status"], reply["code"], reply["message"]) == ("error", "busy", "[31mno")
    assert got[0]["verb"] == "ping"
    assert got[0]["issued"] < got[0]["expires"]


def test_a_box_that_does_not_end_is_told_of_after_the_timeout(
    mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    with odd_box(mosquitto, []):
        assert send(mosquitto, "ping", "--timeout", "300ms") == 1
    assert lines(capsys)[0]["status"] == "no_reply"
    with odd_box(mosquitto, [{"status": "accepted"}, {"status": "progress", "message": "half"}]):
        assert send(mosquitto, "ping", "--timeout", "300ms") == 1
    assert lines(capsys)[0]["message"] == "half"


def test_a_command_is_signed_with_a_key_of_openssl(
    mosquitto: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    openssl, key = need("openssl", "openssl"), tmp_path / "ops.pem"
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    public = subprocess.run(
        [openssl, "pkey", "-in", key, "-pubout", "-outform", "DER"], check=True, capture_output=True
    ).stdout[-32:]
    with odd_box(mosquitto, [{"status": "ok"}]) as got:
        assert send(mosquitto, "ping", "--sign", str(key)) == 0
    body = base64.b64decode(got[0]["signed"])
    assert got[0]["key"] == "ops"
    assert verifies(base64.b64encode(public).decode(), body, base64.b64decode(got[0]["signature"]))
    assert json.loads(body)["to"] == "a/b"
    assert repr(read_key(key, "x")) == "Key(name='x')"
    key.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert main(["fleet", "send", "a", "ping", "--broker", url(mosquitto), "--sign", str(key)]) == 1
    assert "expected an Ed25519 private key" in capsys.readouterr().err


def test_watching_says_what_changes(mosquitto: Mosquitto) -> None:
    cloud = Cloud(mosquitto)
    cloud.say("edge/v1/a/b/status", {"state": "online"})
    command = [sys.executable, "-m", "edge", "fleet", "status", "--watch", "--json"]
    with subprocess.Popen(
        [*command, "--broker", url(mosquitto)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["state"] == "online"
            cloud.say("edge/v1/a/b/status", {"state": "online"})
            cloud.say("edge/v1/a/b/status", {"state": "offline"})
            assert json.loads(process.stdout.readline())["state"] == "offline"
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
    cloud.close()


def test_more_than_a_broker_queues_for_a_client_is_seen_whole(mosquitto: Mosquitto) -> None:
    # mosquitto keeps 1,000 messages of QoS 1 for a client and throws the others away
    from edge.cli.fleet_boxes import Fleet
    from edge.cli.fleet_broker import Broker, opened
    from edge.cli.fleet_look import Look
    from edge.ops.mqtt_types import read_url

    cloud = Cloud(mosquitto)
    for number in range(2500):
        cloud.client.publish(f"edge/v1/a/b{number}/status", b'{"state": "stopped"}', 1, True)
    cloud.say("edge/v1/a/last/status", {"state": "stopped"})
    cloud.close()

    async def look() -> int:
        fleet = Fleet("edge/v1")
        settings, _ = read_url(url(mosquitto), client_id="")
        async with opened(Broker(settings=settings), subscribe_qos=0) as link:
            assert await Look(link, fleet, fleet.filters()).all(20)
        return len(fleet.boxes())

    assert asyncio.run(look()) == 2501
