"""``edge bucket`` at a stand-in for MinIO, and at what cannot be told: words, and no change."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from edge.cli.bucket_work import usual_url
from edge.cli.main import main
from edge.config.sources import BucketConfig
from edge.config.web import WebConfig
from edge.errors import Rejected
from edge.sources.buckets.setup import Wanted
from edge.sources.buckets.setup_minio import commands
from tests.places import free_port
from tests.servers.minio_bucket import MinioBucket, minio_bucket

Printed = pytest.CaptureFixture[str]
ARN = "arn:minio:sqs::edge_yard:webhook"
CREATED = "<Event>s3:ObjectCreated:*</Event>"


@pytest.fixture
def minio() -> Iterator[MinioBucket]:
    with minio_bucket() as server:
        yield server


class Desk:
    def __init__(self, path: Path, minio: MinioBucket, printed: Printed) -> None:
        self.path, self.minio, self._printed = path, minio, printed
        self.port = free_port()

    def write(self, **keys: str) -> None:
        given = {"via": "hook", "token": "T0ken", "prefix": "in ü/", **keys}
        lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in given.items())
        self.path.write_text(
            f'[box]\nstate = "{self.path.parent}/state"\n[web]\nport = {self.port}\n'
            f'[sources.yard]\nkind = "bucket"\nendpoint = "{self.minio.endpoint}"\n'
            f'bucket = "frames"\naccess_key = "AK"\nsecret_key = "the-Secret"\n{lines}\n'
            f'[store]\nkind = "folder"\npath = "{self.path.parent}/out"\n'
        )

    def say(self, *words: str) -> tuple[int, dict[str, Any]]:
        code = main(["bucket", *words, "--json", "--config", str(self.path)])
        said = self._printed.readouterr().out
        for secret in ("T0ken", "the-Secret", "br0ker"):
            assert secret not in said
        return code, json.loads(said)["sources"][0]


@pytest.fixture
def desk(tmp_path: Path, minio: MinioBucket, capsys: Printed) -> Desk:
    desk = Desk(tmp_path / "edge.toml", minio, capsys)
    desk.write()
    return desk


def last(said: dict[str, Any]) -> tuple[str, str]:
    finding = said["findings"][-1]
    return finding["state"], finding["text"]


def test_the_lines_for_a_webhook_can_be_run_as_they_are(desk: Desk) -> None:
    code, said = desk.say("setup", "--url", "http://box:8080")
    assert code == 4, "nothing is notified yet"
    lines = [shlex.split(line) for line in said["todo"]]
    assert lines == [
        ["mc", "alias", "set", "edge", desk.minio.endpoint, "$MINIO_ADMIN", "$MINIO_PASSWORD"],
        ["mc", "mb", "--ignore-existing", "edge/frames"],
        [
            *("mc", "admin", "config", "set", "edge", "notify_webhook:edge_yard"),
            *("endpoint=http://box:8080/hooks/s3", "auth_token=$EDGE_TOKEN"),
            *("queue_dir=/var/lib/minio/edge-events", "queue_limit=100000"),
        ],
        ["mc", "admin", "service", "restart", "edge"],
        [
            *("mc", "event", "add", "--ignore-existing", "edge/frames", ARN),
            *("--event", "put", "--prefix", "in ü/"),
        ],
    ]
    assert "EDGE_TOKEN: what sources.yard.token is" in said["variables"]
    assert desk.minio.writes == []


def test_what_was_run_is_seen(desk: Desk) -> None:
    desk.minio.queues.append((ARN, CREATED))
    assert desk.say("setup", "--url", "http://box:8080")[0] == 0
    assert desk.say("check")[0] == 0
    _, said = desk.say("list")
    assert said["notifications"][0]["to"] == ARN
    assert said["server"] == "minio"
    assert desk.minio.writes == []


@pytest.mark.parametrize(
    ("arn", "inner", "wrong"),
    [
        ("arn:minio:sqs::other:webhook", CREATED, "expected …:edge_yard:webhook"),
        (ARN, "<Event>s3:ObjectRemoved:*</Event>", "expected s3:ObjectCreated:*"),
        (
            ARN,
            CREATED + "<Filter><S3Key><FilterRule><Name>suffix</Name><Value>.jpg</Value>"
            "</FilterRule></S3Key></Filter>",
            "keeps pictures back",
        ),
        (
            ARN,
            CREATED + "<Filter><S3Key><FilterRule><Name>prefix</Name><Value>cam</Value>"
            "</FilterRule></S3Key></Filter>",
            "expected no prefix but 'in ü/'",
        ),
    ],
)
def test_a_notification_that_is_wrong_is_named(
    desk: Desk, arn: str, inner: str, wrong: str
) -> None:
    desk.minio.queues.append((arn, inner))
    code, said = desk.say("check")
    assert code == 1
    assert wrong in last(said)[1]
    code, said = desk.say("check", "--probe")
    assert (code, last(said)[0]) == (1, "note"), "a probe would tell no more"
    assert desk.minio.writes == []


@pytest.mark.parametrize(("apart", "state"), [(300, "warn"), (4000, "fail"), (-4000, "fail")])
def test_a_clock_that_is_off_is_named(desk: Desk, apart: int, state: str) -> None:
    desk.minio.queues.append((ARN, CREATED))
    desk.minio.date = format_datetime(datetime.now(UTC) + timedelta(seconds=apart), usegmt=True)
    _, said = desk.say("check")
    (clock,) = [one for one in said["findings"] if one["what"] == "clock"]
    assert clock["state"] == state
    assert "NTP" in clock["hint"]


def test_a_key_that_lists_and_does_not_read_is_named(desk: Desk) -> None:
    desk.minio.queues.append((ARN, CREATED))
    desk.minio.keys.add("in ü/a.jpg")
    assert desk.say("check")[0] == 0
    desk.minio.readable = False
    code, said = desk.say("check")
    assert code == 1
    (key,) = [one for one in said["findings"] if one["what"] == "key"]
    assert "not read" in key["text"]
    assert "s3:GetObject" in key["hint"]


def test_a_missing_bucket_is_not_made_at_a_minio(desk: Desk) -> None:
    desk.minio.bucket = "another"
    code, said = desk.say("setup", "--url", "http://box:8080")
    assert code == 4
    assert said["findings"][0]["state"] == "fail"
    assert "mc mb --ignore-existing edge/frames" in said["todo"]
    assert desk.minio.writes == []


def test_listening_is_tried_and_probed(desk: Desk) -> None:
    desk.write(via="listen")
    code, said = desk.say("setup")
    assert (code, last(said)[0]) == (0, "ok")
    code, said = desk.say("check", "--probe")
    assert (code, last(said)[0]) == (0, "ok"), said
    assert "to this command" in last(said)[1]
    ((_, key),) = desk.minio.writes
    assert key.startswith("in ü/edge-probe-")
    assert desk.minio.keys == set(), "the probe is gone again"


def test_a_server_that_streams_nothing_is_no_minio(desk: Desk) -> None:
    desk.write(via="listen")
    desk.minio.server = "nginx"
    code, said = desk.say("check")
    assert code == 1
    assert "does not know Listen" in last(said)[1]


def test_a_server_that_does_not_say_what_it_is_can_be_named(desk: Desk) -> None:
    desk.minio.server = "nginx"
    code, said = desk.say("check")
    assert code == 1
    assert "does not say what it is" in last(said)[1]
    assert "--server" in said["findings"][-1]["hint"]
    desk.minio.queues.append((ARN, CREATED))
    assert desk.say("check", "--server", "minio")[0] == 0
    code, said = desk.say("setup", "--server", "aws", "--url", "https://box")
    assert code == 0
    assert any("https://box/hooks/s3" in line for line in said["todo"])
    # taken for a Ceph, it answers what no Ceph does
    code, said = desk.say("setup", "--server", "rgw")
    assert code == 4
    assert "MethodNotAllowed" in last(said)[1]
    assert "is this a Ceph RGW?" in said["findings"][-1]["hint"]


def test_the_lines_for_a_broker_name_it_without_its_login(desk: Desk) -> None:
    broker = "mqtts://edge:br0ker@mq.site:8883"
    desk.write(via="mqtt", broker=broker, topic="frames/new", region="eu-1")
    code, said = desk.say("setup")
    assert code == 4
    (line,) = [line for line in said["todo"] if "notify_mqtt" in line]
    words = shlex.split(line)
    assert {"broker=ssl://mq.site:8883", "topic=frames/new", "qos=1"} <= set(words)
    assert {"username=$MQTT_USER", "password=$MQTT_PASSWORD"} <= set(words)
    assert any("arn:minio:sqs:eu-1:edge_yard:mqtt" in one for one in said["todo"])


def test_without_an_address_nothing_is_made_up() -> None:
    config = BucketConfig.model_validate(
        {
            "kind": "bucket",
            "endpoint": "http://10.0.0.9:9000",
            "bucket": "frames",
            "access_key": "a",
            "secret_key": "b",
        }
    )
    with pytest.raises(Rejected, match=r"how does .* reach this box") as raised:
        commands(Wanted(name="yard", config=config))
    assert "--url" in raised.value.hint


@pytest.mark.parametrize(
    ("web", "endpoint", "expected"),
    [
        ({}, "http://127.0.0.1:9000", "http://127.0.0.1:8080"),
        ({}, "http://localhost:9000", "http://127.0.0.1:8080"),
        ({"host": "10.1.2.3"}, "http://10.0.0.9:9000", "http://10.1.2.3:8080"),
        ({"host": "fd00::7", "port": 80}, "http://10.0.0.9:9000", "http://[fd00::7]:80"),
        ({"host": "::"}, "http://127.0.0.1", "http://[::1]:8080"),
        ({"host": "localhost"}, "http://10.0.0.9", ""),
        ({"port": 0}, "http://127.0.0.1:9000", ""),
    ],
)
def test_how_a_server_reaches_the_box_where_nobody_says(
    web: dict[str, Any], endpoint: str, expected: str
) -> None:
    assert usual_url(WebConfig(**web), endpoint) == expected
