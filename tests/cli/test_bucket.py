"""``edge bucket`` at a real Ceph RGW: what it makes works, and what is wrong is named."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.cli.main import main
from edge.sources.buckets.link import BucketLink
from edge.sources.buckets.sigv import Keys
from edge.sources.buckets.topics import Topics
from edge.sources.buckets.topics_xml import Notification, Topic
from tests.places import free_port
from tests.servers.push_target import PushTarget, push_target
from tests.servers.rgw import Rgw, bucket, rgw

__all__ = ["bucket", "rgw"]

TOKEN = "T0ken+/é & more"
Printed = pytest.CaptureFixture[str]


@pytest.fixture
def target() -> Iterator[PushTarget]:
    with push_target(TOKEN) as server:
        yield server


class Desk:
    """The command line over one configuration, and the gateway that it is about."""

    def __init__(self, path: Path, rgw: Rgw, bucket: str, printed: Printed) -> None:
        self.path, self.rgw, self.bucket, self._printed = path, rgw, bucket, printed

    def write(self, *, source: str = "", token: str = TOKEN, **keys: str) -> None:
        given = {"access_key": self.rgw.access_key, "secret_key": self.rgw.secret_key, **keys}
        lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in given.items())
        self.path.write_text(
            f'[box]\nstate = "{self.path.parent}/state"\n[web]\nport = {free_port()}\n'
            f'[sources.yard]\nkind = "bucket"\nendpoint = "{self.rgw.endpoint}"\n'
            f'bucket = "{self.bucket}"\ntoken = {json.dumps(token)}\n{lines}\n{source}\n'
            f'[store]\nkind = "s3"\nendpoint = "{self.rgw.endpoint}"\n'
            f'bucket = "{self.bucket}-out"\n'
            f'access_key = "{self.rgw.access_key}"\nsecret_key = "{self.rgw.secret_key}"\n'
        )

    def say(self, *words: str) -> tuple[int, str]:
        code = main(["bucket", *words, "--config", str(self.path)])
        out = self._printed.readouterr()
        said = out.out + out.err
        assert "T0ken" not in said
        assert self.rgw.secret_key not in said
        return code, said

    def states(self, *words: str) -> tuple[int, dict[str, list[tuple[str, str]]]]:
        """Return the exit code, and state and text of all findings by what they are about."""
        code, said = self.say(*words, "--json")
        found: dict[str, list[tuple[str, str]]] = {}
        for one in json.loads(said)["sources"][0]["findings"]:
            assert one["state"] not in {"warn", "fail"} or one["hint"], one
            found.setdefault(one["what"], []).append((one["state"], one["text"]))
        return code, found

    def put(self, key: str) -> None:
        self.rgw.client().put_object(
            bucket_name=self.bucket, object_name=key, data=io.BytesIO(b"x"), length=1
        )

    def topics(self, work: Callable[[Topics], Any]) -> Any:
        """Do something with topics as somebody else."""

        async def run() -> Any:
            keys = Keys(access_key=self.rgw.access_key, secret_key=self.rgw.secret_key)
            link = BucketLink(self.rgw.endpoint, keys)
            try:
                return await work(Topics(link))
            finally:
                await link.close()

        return asyncio.run(run())


@pytest.fixture
def desk(tmp_path: Path, rgw: Rgw, bucket: str, capsys: Printed) -> Iterator[Desk]:
    desk = Desk(tmp_path / "edge.toml", rgw, bucket, capsys)
    desk.write(prefix="in ü/")
    yield desk
    rgw.revive()
    if not rgw.client().bucket_exists(bucket_name=bucket):
        return
    # a persistent queue whose target is gone would be tried for ever
    desk.write()
    main(["bucket", "remove", "yard", "--config", str(desk.path)])


def test_what_setup_makes_pushes_what_is_created_under_the_prefix(
    desk: Desk, target: PushTarget
) -> None:
    code, found = desk.states("setup", "--url", target.url)
    assert code == 0
    assert {what: [state for state, _ in ones] for what, ones in found.items()} == {
        "bucket": ["made"],
        "store": ["made"],
        "hook": ["ok"],
        "topic": ["made"],
        "notification": ["made"],
    }
    for key in ("in ü/a+b.JPG", "elsewhere.jpg", "in ü/c%20.txt"):
        desk.put(key)
    desk.rgw.client().remove_object(bucket_name=desk.bucket, object_name="elsewhere.jpg")
    assert target.keys == ["in ü/a+b.JPG", "in ü/c%20.txt"], "endings are the box's matter"
    assert desk.states("check")[0] == 0


def test_setup_twice_changes_nothing(desk: Desk, target: PushTarget) -> None:
    desk.say("setup", "--url", target.url, "--opaque", "north & south")
    before = desk.topics(lambda topics: topics.all())
    code, found = desk.states("setup")
    assert code == 0
    assert {state for ones in found.values() for state, _ in ones} == {"ok"}
    assert desk.topics(lambda topics: topics.all()) == before
    desk.put("in ü/a.jpg")
    assert [one["opaqueData"] for one in target.records] == ["north & south"]


def test_a_dry_run_makes_nothing(desk: Desk, target: PushTarget) -> None:
    code, found = desk.states("setup", "--url", target.url, "--dry-run")
    assert code == 0
    assert [found[what][0][0] for what in ("bucket", "store", "topic", "notification")] == [
        "would"
    ] * 4
    assert not desk.rgw.client().bucket_exists(bucket_name=desk.bucket)
    assert desk.bucket not in str(desk.topics(lambda topics: topics.all()))


def test_a_changed_address_and_token_take_effect(desk: Desk, target: PushTarget) -> None:
    desk.say("setup", "--url", target.url)
    with push_target("T0ken of today") as other:
        desk.write(prefix="in ü/", token="T0ken of today")
        code, found = desk.states("check")
        assert code == 1
        assert "its token is another" in found["topic"][0][1]
        code, found = desk.states("setup", "--url", other.url)
        assert [found[what][0][0] for what in ("topic", "notification")] == ["made", "made"]
        desk.put("in ü/a.jpg")
        assert (target.keys, other.keys) == ([], ["in ü/a.jpg"])
        assert desk.states("check", "--url", other.url)[0] == 0


def test_a_topic_that_somebody_changed_without_the_notification_is_named_and_mended(
    desk: Desk, target: PushTarget
) -> None:
    desk.say("setup", "--url", target.url)
    name = f"edge-{desk.bucket}-yard"
    with push_target(TOKEN) as other:
        address = f"{other.url}/hooks/s3?token=T0ken%2B%2F%C3%A9%20%26%20more"
        desk.topics(lambda topics: topics.put(Topic(name=name, endpoint=address)))
        code, found = desk.states("check")
        assert code == 1
        assert "changed after the notification" in found["notification"][1][1]
        desk.put("in ü/a.jpg")
        assert (target.keys, other.keys) == (["in ü/a.jpg"], []), "so RGW does it"
        code, found = desk.states("setup")
        assert [found[what][0][0] for what in ("topic", "notification")] == ["ok", "made"]
        desk.put("in ü/b.jpg")
        assert other.keys == ["in ü/b.jpg"]


def test_what_others_have_set_stays(desk: Desk, target: PushTarget) -> None:
    desk.say("setup", "--url", target.url)
    with push_target() as other:

        async def theirs(topics: Topics) -> None:
            topic = await topics.put(Topic(name=f"theirs-{desk.bucket}", endpoint=other.url))
            events = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
            await topics.notify(
                desk.bucket, Notification(id="theirs", arn=topic.arn, events=events)
            )

        desk.topics(theirs)
        assert desk.states("setup")[0] == 0
        code, found = desk.states("check")
        assert code == 0
        assert "radosgw 16.2" in found["others"][0][1], "their removals may end the gateway"
        _, said = desk.say("list")
        assert "* notification edge-yard:" in said
        assert "  notification theirs:" in said
        assert f"topic theirs-{desk.bucket}" in said
        code, found = desk.states("remove", "yard")
        assert code == 0
        assert [found[what][0][0] for what in ("notification", "topic")] == ["removed", "removed"]
        desk.put("in ü/a.jpg")
        assert (target.keys, other.keys) == ([], ["in ü/a.jpg"])
        assert desk.states("remove", "yard")[1]["topic"][0][0] == "ok"

        async def again(topics: Topics) -> None:
            await topics.unnotify(desk.bucket, "theirs")
            await topics.remove(
                f"{(await topics.all())[0].arn.rpartition(':')[0]}:theirs-{desk.bucket}"
            )

        desk.topics(again)


def test_a_topic_that_others_use_stays(desk: Desk, target: PushTarget) -> None:
    desk.say("setup", "--url", target.url)

    async def theirs(topics: Topics) -> None:
        topic = await topics.find(f"edge-{desk.bucket}-yard")
        assert topic is not None
        events = ("s3:ObjectCreated:*",)
        wanted = Notification(id="theirs", arn=topic.arn, events=events)
        await topics.notify(f"{desk.bucket}-out", wanted)

    desk.topics(theirs)
    _, found = desk.states("remove", "yard")
    assert found["topic"][0][0] == "note"
    assert "theirs" in found["topic"][0][1]
    desk.topics(lambda topics: topics.unnotify(f"{desk.bucket}-out", "theirs"))
    assert desk.states("remove", "yard")[1]["topic"][0][0] == "removed"


def test_a_persistent_topic_is_made_only_while_the_box_is_there(
    desk: Desk, target: PushTarget
) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    code, found = desk.states("setup", "--url", away, "--persistent")
    assert code == 4
    assert "not made" in found["topic"][0][1]
    assert desk.topics(lambda topics: topics.find(f"edge-{desk.bucket}-yard")) is None
    code, found = desk.states("setup", "--url", away)
    assert (code, found["hook"][0][0]) == (0, "warn"), "a plain topic only loses what it cannot say"
    code, found = desk.states("setup", "--url", target.url, "--persistent")
    assert code == 0
    assert "128 MiB" in found["topic"][1][1]
    assert desk.states("check")[0] == 0
    code, found = desk.states("setup", "--no-persistent")
    assert "persistent" not in found["topic"][0][1]


def test_a_missing_bucket_notification_or_topic_is_named(desk: Desk, target: PushTarget) -> None:
    code, found = desk.states("check")
    assert code == 1
    assert "NoSuchBucket" in found["bucket"][0][1]
    assert list(found) == ["bucket"], "the rest follows from it"
    desk.rgw.client().make_bucket(bucket_name=desk.bucket)
    code, found = desk.states("check")
    assert code == 1
    assert "none with the Id edge-yard" in found["notification"][0][1]
    desk.say("setup", "--url", target.url)

    async def remove(topics: Topics) -> None:
        topic = await topics.find(f"edge-{desk.bucket}-yard")
        assert topic is not None
        await topics.remove(topic.arn)

    desk.topics(remove)
    code, found = desk.states("check")
    assert code == 1
    assert "is gone" in found["topic"][0][1]
    assert desk.states("setup", "--url", target.url)[0] == 0
    assert desk.states("check")[0] == 0


def test_a_notification_that_keeps_pictures_back_is_named(desk: Desk, target: PushTarget) -> None:
    desk.say("setup", "--url", target.url)

    async def spoil(topics: Topics) -> None:
        topic = await topics.find(f"edge-{desk.bucket}-yard")
        assert topic is not None
        rules = (("prefix", "in ü/cam"), ("suffix", ".jpg"))
        events = ("s3:ObjectCreated:Put", "s3:ObjectRemoved:*")
        wanted = Notification(id="edge-yard", arn=topic.arn, events=events, rules=rules)
        await topics.notify(desk.bucket, wanted)

    desk.topics(spoil)
    code, found = desk.states("check")
    assert code == 1
    text = found["notification"][0][1]
    assert "expected s3:ObjectCreated:*" in text
    assert "'in ü/'" in text
    assert "suffix keeps pictures back" in text
    assert "radosgw 16.2" in found["notification"][1][1]
    assert desk.states("setup")[1]["notification"][0][0] == "made"
    assert desk.states("check")[0] == 0


def test_a_hook_that_turns_the_gateway_away_is_named(desk: Desk, target: PushTarget) -> None:
    desk.say("setup", "--url", target.url)
    target.token = "T0ken of the running box"
    code, found = desk.states("check")
    assert code == 1
    assert found["hook"] == [("fail", f"{target.url}/hooks/s3 answers 401, expected 200")]
    with push_target("T0ken of today") as other:
        desk.say("setup", "--url", other.url)
        assert desk.states("check")[0] == 1
    code, found = desk.states("check", "--url", target.url)
    assert f"expected {target.url}" in found["topic"][0][1]


def test_removals_are_notified_only_on_request_and_with_a_warning(
    desk: Desk, target: PushTarget
) -> None:
    assert desk.say("setup", "--url", target.url, "--removals")[0] == 2
    desk.write(prefix="in ü/", when_removed="erase")
    code, found = desk.states("setup", "--url", target.url, "--removals")
    assert code == 0
    assert found["notification"][1][0] == "warn"
    desk.put("in ü/a.jpg")
    desk.rgw.client().remove_object(bucket_name=desk.bucket, object_name="in ü/a.jpg")
    assert [one["eventName"] for one in target.records] == [
        "ObjectCreated:Put",
        "ObjectRemoved:Delete",
    ]
    desk.say("setup")
    assert desk.states("check")[1].keys() == {"bucket", "key", "notification", "topic", "hook"}


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"access_key": "nobody"}, "InvalidAccessKeyId"),
        ({"secret_key": "wrong"}, "SignatureDoesNotMatch"),
    ],
)
def test_keys_that_are_refused_are_named(desk: Desk, keys: dict[str, str], code: str) -> None:
    desk.write(**keys)
    for verb in ("check", "setup"):
        status, found = desk.states(verb)
        assert status == {"check": 1, "setup": 4}[verb]
        assert code in found["bucket"][0][1]


def test_a_bucket_of_somebody_else_is_named(desk: Desk) -> None:
    access_key, secret_key = desk.rgw.add_user(f"u{desk.bucket[-8:]}")
    desk.rgw.client().make_bucket(bucket_name=desk.bucket)
    desk.write(access_key=access_key, secret_key=secret_key)
    for verb, code in (("check", 1), ("setup", 4)):
        status, found = desk.states(verb)
        assert status == code
        assert found["bucket"][0][0] == "fail"
        assert "AccessDenied" in found["bucket"][0][1]


def test_a_server_that_is_gone_is_named(desk: Desk) -> None:
    desk.rgw.kill()
    code, found = desk.states("setup", "--url", "http://10.0.0.5:8080")
    assert code == 4
    assert "refused" in found["server"][0][1] or "failed" in found["server"][0][1]


def test_wrong_words_are_usage(desk: Desk) -> None:
    assert desk.say("setup", "nobody")[0] == 2
    assert desk.say("setup", "--url", "box:8080")[0] == 2
    assert desk.say("setup", "--url", "http://box:8080/hooks")[0] == 2
    desk.path.write_text('[store]\nkind = "folder"\npath = "/nowhere"\n')
    code, said = desk.say("check")
    assert code == 1
    assert "no source of kind" in said


def test_a_disabled_source_is_set_up_only_by_name(desk: Desk, target: PushTarget) -> None:
    desk.write(source="enabled = false")
    assert desk.say("setup", "--url", target.url)[0] == 1
    assert desk.say("setup", "--url", target.url, "yard")[0] == 0
