"""The executor: one effect an id, across repeats, restarts and cuts; who may; what is written."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from Crypto.PublicKey import ECC
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config.control import ControlConfig
from edge.control.commands.audit import A_MINUTE, shown
from edge.control.commands.envelope import MOST_BYTES, Failed, Reply, command_of, read_object
from edge.control.commands.judge import Judge
from edge.control.commands.ledger import verified
from edge.control.commands.permissions import Caller
from edge.control.commands.signed import sign
from edge.errors import Fatal
from tests.control.commands.conftest import SCENE, Commanded, running
from tests.parts import until

MQTT = Caller(channel="mqtt", who="broker", queued=True)
LOCAL = Caller(channel="local", who="a test")
LATER = "2999-01-01T00:00:00Z"


def soon(seconds: float = 600) -> str:
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() + seconds, UTC).isoformat()


def body(verb: str = "ping", **envelope: Any) -> bytes:
    given = {"id": "c-1", "verb": verb, "issued": soon(0), "expires": soon(), **envelope}
    return json.dumps(given).encode()


async def tell(it: Commanded, raw: bytes, caller: Caller = MQTT, **how: Any) -> Reply:
    return await it.box.commands.executor.handle(raw, caller, **how)


async def entries(it: Commanded) -> list[dict[str, Any]]:
    return await it.box.commands.ledger.recent(500)


# -- once


async def test_the_same_command_takes_effect_once_and_is_answered_each_time(
    commanded: Commanded,
) -> None:
    raw = body("source.add", args={"name": "yard", **SCENE})
    first = await tell(commanded, raw)
    assert (first.status, first.repeated) == ("ok", False)
    again = await asyncio.gather(*(tell(commanded, raw) for _ in range(5)))
    assert {(one.status, one.repeated, one.at) for one in again} == {("ok", True, first.at)}
    other = await tell(commanded, body("source.remove", args={"name": "yard"}))
    assert other.code == "conflict", "an id belongs to one command"
    assert "yard" in commanded.box.sources.configs


async def test_a_failure_is_remembered_as_well(commanded: Commanded) -> None:
    raw = body("source.remove", args={"name": "yard"})
    assert (await tell(commanded, raw)).code == "not_found"
    await commanded.does("source.add", name="yard", **SCENE)
    assert (await tell(commanded, raw)).code == "not_found"
    assert "yard" in commanded.box.sources.configs


async def test_many_that_come_at_once_with_one_id_are_one(commanded: Commanded) -> None:
    raw = body("source.add", args={"name": "yard", **SCENE})
    replies = await asyncio.gather(*(tell(commanded, raw) for _ in range(20)))
    assert {one.status for one in replies} <= {"ok", "accepted"}
    begun = [one for one in await entries(commanded) if one["outcome"] == "begun"]
    assert len(begun) == 1


async def test_a_reply_survives_a_restart(tmp_path: Path) -> None:
    raw = body("source.add", args={"name": "yard", **SCENE})
    async with running(tmp_path) as it:
        first = await tell(it, raw)
    async with running(tmp_path) as it:
        again = await tell(it, raw)
        assert (again.status, again.repeated, again.at) == ("ok", True, first.at)
        assert "yard" not in it.box.sources.configs, "its effect was until the restart"
        polled = await it.box.commands.executor.reply_of("c-1")
        assert polled is not None
        assert polled.status == "ok"
        assert await it.box.commands.executor.reply_of("nobody") is None


async def test_what_was_begun_when_the_box_died_is_done_again_or_told_of_as_unknown(
    tmp_path: Path,
) -> None:
    add = body("source.add", id="add", args={"name": "yard", **SCENE})
    pause = body("sync.pause", id="pause")
    async with running(tmp_path) as it:
        await tell(it, add)
        await tell(it, pause)
    with sqlite3.connect(tmp_path / "state" / "spool.db") as spool:
        spool.execute("UPDATE command SET state = 'begun', reply = ''")
    async with running(tmp_path) as it:
        unknown = await tell(it, add)
        assert (unknown.code, "unknown outcome" in unknown.message) == ("internal", True)
        assert "yard" not in it.box.sources.configs
        assert (await tell(it, add)).code == "internal"
        assert (await tell(it, pause)).status == "ok"
        assert it.box.commands.sync.paused


async def test_a_long_one_goes_on_behind_its_answer_and_tells(commanded: Commanded) -> None:
    await commanded.does("source.add", name="dead", kind="camera", url="rtsp://127.0.0.1:9/a")
    told: list[Reply] = []
    raw = body("source.test", args={"name": "dead", "seconds": 1})
    reply = await tell(commanded, raw, say=told.append, wait=0.05)
    assert reply.status == "accepted"
    busy = await tell(commanded, body("source.test", id="c-2", args={"name": "gate"}))
    assert busy.code == "busy"
    polled = await commanded.box.commands.executor.reply_of("c-1")
    assert polled is not None
    assert polled.status in ("accepted", "progress")
    await until(lambda: bool(told) and told[-1].status != "progress", 30)
    assert (told[-1].status, told[-1].code) == ("error", "dependency_down")
    assert (await tell(commanded, raw)).code == "dependency_down"


# -- what is refused


async def test_what_is_retained_expired_or_for_another_box_is_not_carried_out(
    commanded: Commanded,
) -> None:
    retained = Caller(channel="mqtt", retained=True, queued=True)
    assert (await tell(commanded, body("sync.pause"), retained)).code == "bad_request"
    late = await tell(commanded, body("sync.pause", expires=soon(-1)))
    assert (late.status, late.code) == ("expired", "")
    for wrong in ({"to": "yard/south"}, {"expires": LATER}, {"expires": "tomorrow"}, {"id": "a b"}):
        assert (await tell(commanded, body("sync.pause", **wrong))).code == "bad_request"
    bare = json.dumps({"id": "x", "verb": "sync.pause"}).encode()
    assert (await tell(commanded, bare)).code == "bad_request", "what may have waited must expire"
    assert (await tell(commanded, body("no.such"))).code == "unsupported"
    assert (await tell(commanded, body("sync.pause", args={"hours": 3}))).code == "bad_request"
    assert not commanded.box.commands.sync.paused
    assert (await tell(commanded, body("sync.pause", to="yard/north"))).status == "ok"


async def test_a_group_may_be_asked_but_not_given_sources(commanded: Commanded) -> None:
    group = Caller(channel="mqtt", group=True, queued=True)
    assert (await tell(commanded, body("ping", to="yard/_all"), group)).data["node"] == "north"
    raw = body("source.add", args={"name": "yard", **SCENE})
    assert (await tell(commanded, raw, group)).code == "bad_request"


@settings(max_examples=300, deadline=None)
@given(
    raw=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["id", "verb", "args", "expires", "to", "x"]), inner)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_comes_is_read_or_refused(raw: bytes) -> None:
    code = ""
    try:
        command = command_of(read_object(raw))
    except Failed as error:
        code = error.code
    assert code == "bad_request" or (command.id and command.verb)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b"{" + b" " * MOST_BYTES + b"}",
        b'{"id": "a", "id": "b", "verb": "ping"}',
        b'{"id": "a", "verb": "ping", "args": {"x": NaN}}',
        b'{"id": "a", "verb": "ping", "args": {"x": ' + b"9" * 10_000 + b"}}",
        b"\xff\xfe",
        b'{"id": "\\ud800", "verb": "ping"}',
    ],
)
async def test_what_is_made_to_break_a_reader_is_refused(commanded: Commanded, raw: bytes) -> None:
    assert (await tell(commanded, raw)).code == "bad_request"


# -- who may


async def test_a_way_in_allows_classes_and_verbs(tmp_path: Path) -> None:
    control = {"mqtt": {"allow": ["read", "sync.pause"], "deny": ["status.get"]}}
    async with running(tmp_path, control=control) as it:
        assert (await tell(it, body("ping"))).status == "ok"
        assert (await tell(it, body("sync.pause"))).status == "ok"
        for verb in ("status.get", "sync.resume", "service.restart"):
            assert (await tell(it, body(verb, id=verb))).code == "forbidden_remote"
        assert (await it.does("sync.resume"))["paused"] is False


def test_a_verb_that_is_misspelt_in_the_configuration_is_found_at_the_start() -> None:
    config = ControlConfig.model_validate({"mqtt": {"deny": ["servce.restart"]}})
    with pytest.raises(Fatal, match="servce"):
        Judge(config, "yard/north", lambda: 0.0)


async def test_signed_commands_are_for_this_box_new_and_once(tmp_path: Path) -> None:
    key = ECC.generate(curve="Ed25519")
    public = base64.b64encode(key.public_key().export_key(format="raw")).decode()
    keys = {"ops": {"public": public, "allow": ["read", "operate"]}}
    control = {"mqtt": {"signed": True}, "keys": keys}
    async with running(tmp_path, control=control) as it:

        async def code(raw: bytes, **changed: str) -> str:
            signed = {**sign(key.seed, "ops", raw), **changed}
            reply = await tell(it, json.dumps(signed).encode())
            return reply.code or reply.status

        good = body("sync.pause", to="yard/north")
        assert (await tell(it, good)).code == "forbidden_remote", "it is not signed"
        assert (await tell(it, body("ping"))).status == "ok"
        assert await code(good, key="other") == "forbidden_remote"
        other = sign(key.seed, "ops", body("sync.resume", to="yard/north"))
        assert await code(good, signature=other["signature"]) == "forbidden_remote"
        assert await code(good, signature="%") == "bad_request"
        for wrong in ({"to": ""}, {"issued": soon(-3600)}, {"issued": soon(3600)}):
            raw = body("sync.pause", **{"to": "yard/north", "id": "w", **wrong})
            assert await code(raw) == "forbidden_remote"
        assert await code(body("sync.pause", to="yard/south")) == "bad_request"
        change = body("source.remove", id="ch", to="yard/north", args={"name": "gate"})
        assert await code(change) == "forbidden_remote", "the key is not good for that"
        assert await code(good) == "ok"
        assert (await it.does("spool.stats"))["facts"]["paused"] is True
        await it.does("sync.resume")
        assert await code(good) == "ok"
        assert (await it.does("spool.stats"))["facts"]["paused"] is False, "a copy does nothing"
        assert any(one["key"] == "ops" for one in await entries(it))


# -- the audit log


async def test_every_command_is_written_down_with_who_and_how(commanded: Commanded) -> None:
    url = "rtsp://u:hush@h/1"
    await tell(commanded, body("ping"))
    await tell(commanded, body("source.add", args={"name": "x", "kind": "camera", "url": url}))
    await tell(commanded, b"nonsense", LOCAL)
    written = await entries(commanded)
    told = [(one["verb"], one["channel"], one["outcome"]) for one in reversed(written)]
    assert told == [
        ("ping", "mqtt", "ok"),
        ("source.add", "mqtt", "begun"),
        ("source.add", "mqtt", "ok"),
        ("", "local", "refused"),
    ]
    assert "hush" not in json.dumps(written)
    assert (await commanded.does("audit.verify"))["whole"] is True


async def test_a_flood_does_not_push_out_what_happened(commanded: Commanded) -> None:
    for number in range(A_MINUTE + 30):
        await tell(commanded, b"%d" % number)
    await commanded.does("sync.pause")
    written = await entries(commanded)
    assert len(written) <= A_MINUTE * 2 + 2
    assert {one["outcome"] for one in written} == {"refused", "begun", "ok"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE audit SET entry = replace(entry, 'sync.', 'sink.') WHERE n = 3", "3 was"),
        ("UPDATE audit SET at = at + 1 WHERE n = 2", "2 was"),
        ("DELETE FROM audit WHERE n = 3", "3 is gone"),
        ("UPDATE audit SET n = 10 WHERE n = 4", "gone"),
        ("UPDATE audit SET previous = digest WHERE n = 4", "4 does not"),
        ("DELETE FROM audit WHERE n = 1", ""),
        ("", ""),
    ],
)
async def test_what_is_changed_in_the_audit_log_is_seen(
    tmp_path: Path, change: str, fault: str
) -> None:
    async with running(tmp_path) as it:
        await it.does("sync.pause")
        await it.does("sync.resume")
        head = (await entries(it))[0]["digest"]
    with sqlite3.connect(tmp_path / "state" / "spool.db") as spool:
        spool.execute(change or "SELECT 1")
        found = verified(spool)
    assert found.whole == (not fault)
    assert fault in found.fault
    if not fault:
        assert found.head == head


async def test_a_log_that_is_long_gives_up_its_beginning_and_still_verifies(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, control={"audit_rows": 100}) as it:
        for number in range(60):
            await it.does(
                "log.level" if number == 0 else "sync.pause",
                **({"level": "info"} if number == 0 else {}),
            )
        found = await it.does("audit.verify")
        assert (found["whole"], found["entries"]) == (True, 100)


def test_secrets_and_long_texts_are_not_written_down() -> None:
    given = {
        "password": "p", "access_key": "k", "name": "gate", "url": "rtsp://u:p@h", "count": 3,
        "toml": "x" * 1000, "deep": [{"token": "t"}],
    }  # fmt: skip
    found = shown(given)
    assert (found["password"], found["access_key"], found["deep"]) == (
        "***",
        "***",
        [{"token": "***"}],
    )
    assert (found["name"], found["url"], found["count"]) == ("gate", "rtsp://***@h", 3)
    assert found["toml"].startswith("1000 characters, sha256 ")
