"""Commands over a real broker: what is answered where, what is refused, what comes twice."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from Crypto.PublicKey import ECC
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.control.commands.envelope import MOST_BYTES
from edge.control.commands.over_mqtt import CommandsOverMqtt, Rules, may_answer
from edge.control.commands.reply_mqtt import MOST, Answers, Where, wanted_topic
from edge.control.commands.signed import sign
from edge.ops.mqtt_types import Message, Properties
from edge.topics import Topics
from tests.control.commands.conftest import SCENE, Commanded, running
from tests.ops.mqtt_parts import Life, settings_for, until
from tests.ops.mqtt_parts import running as linked
from tests.servers.mosquitto import Mosquitto, mosquitto

__all__ = ["mosquitto"]

TOPICS = Topics(site="yard", node="north")
RULES = Rules()
REPLY = "edge/v1/ops/reply/7"


def envelope(key: str = "c-1", *, seconds: float = 60, **more: Any) -> bytes:
    now = datetime.now(UTC).timestamp()
    times = {name: _iso(now + at) for name, at in (("issued", 0), ("expires", seconds))}
    return json.dumps({"id": key, **times, **more}).encode()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@dataclass
class Afar:
    """A box with commands over a link of its own, and somebody at the broker."""

    it: Commanded
    box: Life
    cloud: Life
    commands: CommandsOverMqtt

    async def send(self, topic: str, body: bytes, *, retain: bool = False, **said: Any) -> None:
        properties = Properties(**said)
        await self.cloud.link.deliver(topic, body, retain=retain, properties=properties)

    async def command(self, verb: str, body: bytes, **how: Any) -> None:
        await self.send(TOPICS.command(verb), body, **how)

    def on(self, topic: str) -> list[Message]:
        return [one for one in self.cloud.heard if one.topic == topic]

    async def answer(self, topic: str, number: int = 1) -> Any:
        """Wait for so many answers on a topic; return the newest."""
        await until(lambda: len(self.on(topic)) >= number)
        return json.loads(self.on(topic)[number - 1].payload)

    async def audit(self) -> list[dict[str, Any]]:
        return await self.it.box.commands.ledger.recent(500)


@contextlib.asynccontextmanager
async def afar(
    home: Path, broker: Mosquitto, *, version: str = "5", rules: Rules = RULES, **sections: Any
) -> AsyncIterator[Afar]:
    settings = settings_for(broker, version=version, client_id="north")
    async with (
        running(home, **sections) as it,
        linked(settings) as box,
        linked(settings_for(broker, client_id="cloud")) as cloud,
    ):
        commands = CommandsOverMqtt(box.link, TOPICS, it.box.commands.executor, rules=rules)
        commands.subscribe()
        sends = asyncio.create_task(commands.run(), name="answers")
        cloud.link.subscribe("edge/#", cloud.take)
        await asyncio.gather(box.up(), cloud.up())
        await asyncio.sleep(0.1)
        yield Afar(it, box, cloud, commands)
        sends.cancel()
        await asyncio.wait([sends])


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_an_answer_goes_to_a_topic_with_the_commands_id(
    tmp_path: Path, mosquitto: Mosquitto, version: str
) -> None:
    async with afar(tmp_path, mosquitto, version=version) as it:
        await it.command("ping", envelope())
        reply = await it.answer(TOPICS.reply("c-1"))
        assert (reply["status"], reply["data"]["node"]) == ("ok", "north")
        to = envelope("c-2", reply_to=REPLY)
        await it.command("ping", to)
        assert (await it.answer(REPLY))["id"] == "c-2"


async def test_an_answer_goes_where_the_sender_listens_with_what_it_sent_along(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with afar(tmp_path, mosquitto) as it:
        said = {"response_topic": REPLY, "correlation": b"\x00\x01", "user": (("who", "ada"),)}
        await it.command("ping", envelope(), **said)
        assert (await it.answer(REPLY))["status"] == "ok"
        answer = it.on(REPLY)[0]
        assert answer.properties.correlation == b"\x00\x01"
        assert answer.properties.content_type == "application/json"
        assert (await it.audit())[0]["who"] == "ada"
        await it.command("ping", b"{nonsense", **said)
        assert (await it.answer(REPLY, 2))["code"] == "bad_request"


@pytest.mark.parametrize(
    "topic",
    [
        "edge/v1/yard/north/status",
        "edge/v1/yard/other/cmd/service.restart",
        "edge/v1/yard/reply",
        "edge/v1/yard/reply/cmd/x",
        "edge/v1x/reply/1",
        "bank/reply/1",
        "$SYS/reply/1",
        "edge/v1/reply/\ud800",
        "edge/v1/reply/#",
        "edge/v1/reply/" + "x" * 600,
    ],
)
def test_an_answer_goes_nowhere_else(topic: str) -> None:
    assert not may_answer(topic, "edge/v1", ())


def test_an_answer_goes_where_the_operator_says() -> None:
    assert may_answer("bank/x", "edge/v1", ["bank/"])
    assert may_answer(REPLY, "edge/v1", [])
    assert may_answer(TOPICS.reply("a"), TOPICS.prefix, [])


async def test_an_answer_that_may_not_go_there_goes_to_the_boxs_own_topic(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with afar(tmp_path, mosquitto) as it:
        await it.command("ping", envelope(), response_topic=TOPICS.status)
        assert (await it.answer(TOPICS.reply("c-1")))["status"] == "ok"
        assert not it.on(TOPICS.status)
        assert it.commands.counts["reply topics refused"] == 1


async def test_what_comes_twice_takes_effect_once(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with afar(tmp_path, mosquitto) as it:
        body = envelope("add", args={"name": "yard", **SCENE})
        for _ in range(3):
            await it.command("source.add", body)
        last = await it.answer(TOPICS.reply("add"), 3)
        assert (last["status"], last["repeated"]) == ("ok", True)
        begun = [one for one in await it.audit() if one["outcome"] == "begun"]
        assert len(begun) == 1


async def test_a_retained_command_is_refused_and_cleared(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with afar(tmp_path, mosquitto) as it:
        await it.command("sync.pause", envelope(), retain=True)
        reply = await it.answer(TOPICS.reply("c-1"))
        assert (reply["code"], it.it.box.commands.sync.paused) == ("bad_request", False)
        await until(lambda: it.on(TOPICS.command("sync.pause"))[-1].payload == b"")
        async with linked(settings_for(mosquitto, client_id="late")) as late:
            late.link.subscribe("edge/v1/yard/north/cmd/#", late.take)
            await late.up()
            await asyncio.sleep(0.3)
            assert not late.heard


async def test_what_is_old_unknown_or_no_command_is_told(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with afar(tmp_path, mosquitto) as it:
        await it.command("sync.pause", envelope("old", seconds=-10))
        assert (await it.answer(TOPICS.reply("old")))["status"] == "expired"
        await it.command("fly", envelope("fly"))
        assert (await it.answer(TOPICS.reply("fly")))["code"] == "unsupported"
        await it.command("sync.pause", b'{"id": "never", "args": {}}')
        assert "expires" in (await it.answer(TOPICS.reply("never")))["message"]
        await it.command("ping", envelope("other", verb="sync.pause"), response_topic=REPLY)
        assert (await it.answer(REPLY))["code"] == "bad_request"
        await it.command("ping", b"[" * MOST_BYTES * 2, response_topic=REPLY)
        assert "bytes" in (await it.answer(REPLY, 2))["message"]
        await it.command("ping", b"{")
        await until(lambda: it.commands.counts["unanswered"] == 1)
        assert (await it.audit())[0]["outcome"] == "refused", "only the audit log has it"
        assert not it.it.box.commands.sync.paused


async def test_a_long_command_is_accepted_told_of_and_answered(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with afar(tmp_path, mosquitto) as it:
        url = "rtsp://127.0.0.1:9/a"
        await it.it.does("source.add", name="dead", kind="camera", url=url)
        await it.command("source.test", envelope("t", args={"name": "dead", "seconds": 2}))
        await it.command("ping", envelope("p"))
        await it.answer(TOPICS.reply("p"))
        topic = TOPICS.reply("t")
        await until(lambda: it.on(topic) and b'"error"' in it.on(topic)[-1].payload)
        said = [json.loads(one.payload)["status"] for one in it.on(topic)]
        assert (said[-1], "accepted" in said) == ("error", True)


async def test_a_group_is_answered_within_a_spread_of_time(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with afar(tmp_path, mosquitto, rules=Rules(spread=1.0)) as it:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(8):
            await it.send(TOPICS.site_command("ping"), envelope(f"g-{number}"))
        for number in range(8):
            await it.answer(TOPICS.reply(f"g-{number}"))
        assert loop.time() - began > 0.3
        await it.send(TOPICS.site_command("source.test"), envelope("s", args={"name": "gate"}))
        assert "one box at a time" in (await it.answer(TOPICS.reply("s")))["message"]


async def test_where_commands_must_be_signed_others_are_refused(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    key = ECC.generate(curve="Ed25519")
    public = base64.b64encode(key.public_key().export_key(format="raw")).decode()
    control = {"mqtt": {"signed": True}, "keys": {"ops": {"public": public}}}
    async with afar(tmp_path, mosquitto, control=control) as it:
        await it.command("sync.pause", envelope("no"))
        assert (await it.answer(TOPICS.reply("no")))["code"] == "forbidden_remote"
        body = envelope("yes", verb="sync.pause", to="yard/north", reply_to=REPLY)
        await it.command("sync.pause", json.dumps(sign(key.seed, "ops", body)).encode())
        assert (await it.answer(REPLY))["status"] == "ok"
        assert it.it.box.commands.sync.paused


async def test_a_flood_is_answered_in_bounded_memory_and_the_box_goes_on(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with afar(tmp_path, mosquitto, rules=Rules(a_second=100)) as it:
        sent = [
            it.cloud.link.deliver(TOPICS.command("sync.pause"), b"x" * 70_000) for _ in range(300)
        ]
        await asyncio.gather(*sent)
        await it.command("ping", envelope("after"))
        assert (await it.answer(TOPICS.reply("after")))["status"] == "ok"
        refused = [one for one in await it.audit() if one["outcome"] == "refused"]
        assert len(refused) <= 240, "a flood does not fill the audit log"


async def test_an_answer_whose_connection_ended_is_given_again(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with afar(tmp_path, mosquitto) as it:
        await it.cloud.link.close()
        mosquitto.stop()
        sent = it.commands._answers.put(Where(REPLY), b"late", retain=True)
        await asyncio.sleep(0.3)
        assert not sent.done()
        mosquitto.start()
        await asyncio.wait_for(asyncio.shield(sent), 10)
        assert it.commands._answers.counts == {"answers": 1}, "it was given up"
        async with linked(settings_for(mosquitto, client_id="later")) as later:
            later.link.subscribe(REPLY, later.take)
            await until(lambda: [one.payload for one in later.heard] == [b"late"])


async def test_answers_that_nobody_takes_are_bounded(mosquitto: Mosquitto) -> None:
    async with linked(settings_for(mosquitto)) as life:
        answers = Answers(life.link)
        first = answers.put(Where("a"), b"")
        for number in range(MOST):
            answers.put(Where("a"), b"%d" % number)
        assert first.done()
        assert answers.put(Where("a"), b"", last=False).done(), "progress gives way at once"
        assert len(answers._waiting) == MOST


@given(st.one_of(st.binary(max_size=400), st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.text()),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["id", "reply_to", "signed", "args"]) | st.text(), inner
    ),
    max_leaves=20,
).map(lambda value: json.dumps(value).encode())))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_where_an_answer_is_wanted_is_read_from_anything(body: bytes) -> None:
    topic = wanted_topic(body)
    assert isinstance(topic, str)
    may_answer(topic, "edge/v1", ())


async def test_half_a_letter_ends_nothing(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with afar(tmp_path, mosquitto) as it:
        odd = b'{"id": "odd", "verb": "\\ud800", "args": {"name": "\\udfff"}}'
        await it.command("ping", odd, response_topic=REPLY)
        await it.command("fly", odd.replace(b'"verb": "\\ud800", ', b""), response_topic=REPLY)
        await it.command("source.disable", envelope("d", args={"name": "\ud800"}))
        await it.answer(REPLY, 2)
        assert (await it.answer(TOPICS.reply("d")))["code"] == "bad_request"
