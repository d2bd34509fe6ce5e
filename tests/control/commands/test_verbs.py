"""Every verb, against a real box in this process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import shutil
import socket
import zipfile
from pathlib import Path

import aiohttp
import pytest

from edge import __version__
from edge.control.commands.effects import EFFECTS
from edge.control.commands.table import VERBS
from edge.ops.backoff import Backoff
from tests.bus.rig import event
from tests.control.commands.conftest import SCENE, Commanded, running
from tests.parts import until


def test_every_verb_has_an_effect_and_no_effect_is_without_a_verb() -> None:
    assert {*EFFECTS, "audit.recent", "audit.verify"} == set(VERBS)


async def test_it_says_which_box_it_is_and_how_it_is(commanded: Commanded) -> None:
    about = await commanded.does("ping", "mqtt")
    assert (about["site"], about["node"], about["version"]) == ("yard", "north", __version__)
    status = await commanded.does("status.get")
    assert status["facts"]["safe"]["safe_mode"] is True
    json.dumps(status)
    spool = (await commanded.does("spool.stats"))["facts"]
    assert spool["disk"]["free"] > 0
    assert spool["paused"] is False


async def test_a_source_comes_is_seen_rests_and_goes(commanded: Commanded) -> None:
    added = await commanded.does("source.add", name="yard", **SCENE)
    assert added["name"] == "yard"
    tested = await commanded.does("source.test", name="yard", seconds=20)
    assert tested["size"] == [320, 180]
    assert await commanded.fails("source.add", name="yard", **SCENE) == "conflict"
    assert (await commanded.does("source.disable", name="yard"))["state"] == "disabled"
    assert await commanded.fails("source.test", name="yard") == "precondition_failed"
    await commanded.does("source.enable", name="yard")
    assert (await commanded.does("source.remove", name="yard"))["state"] == "removed"
    for verb in ("enable", "disable", "remove", "snapshot", "test"):
        assert await commanded.fails(f"source.{verb}", name="yard") == "not_found"


async def test_a_source_that_brings_nothing_says_why(commanded: Commanded) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"rtsp://user:hush@127.0.0.1:{nobody.getsockname()[1]}/a"
        await commanded.does("source.add", name="dead", kind="camera", url=url)
        reply = await commanded.say("source.test", name="dead", seconds=1.5)
    assert reply.code == "dependency_down"
    assert "no picture of dead within 1.5 s" in reply.message
    audit = await commanded.does("audit.recent")
    assert "hush" not in json.dumps([reply.json(), audit])


async def test_a_source_with_faults_is_refused_without_its_password(commanded: Commanded) -> None:
    url = "rtsp://u:hush@h/1"
    reply = await commanded.say("source.add", name="x", kind="camera", url=url, fps=-1, pace="x")
    assert reply.code == "bad_request"
    assert "fps" in reply.message
    assert "hush" not in repr(reply)
    assert await commanded.fails("source.add", name="x") == "bad_request"
    assert await commanded.fails("source.add", name="", **SCENE) == "bad_request"


async def test_a_snapshot_names_the_redacted_picture_in_the_store(
    commanded: Commanded, tmp_path: Path
) -> None:
    async def taken() -> bool:
        return (await commanded.say("source.snapshot", name="gate")).status == "ok"

    for _ in range(300):
        if await taken():
            break
        await until(lambda: commanded.box.live.latest("gate") is not None, 30)
    found = await commanded.does("source.snapshot", name="gate")
    path = tmp_path / "out" / found["key"]
    await until(path.exists, 20)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == found["sha256"]


async def test_delivery_pauses_goes_on_and_is_hurried(commanded: Commanded, tmp_path: Path) -> None:
    def stored() -> int:
        return len(list((tmp_path / "out").rglob("*.jpg")))

    box = commanded.box
    await until(lambda: box.forwarder.status()["last_success"] is not None, 30)
    paused = await commanded.does("sync.pause")
    assert (paused["paused"], paused["until"]) == (True, None)
    before = stored()
    await until(lambda: box.outbox.stats().waiting > 2, 30)
    assert stored() <= before + 1
    assert "the store" not in " ".join(box.beats.stale())
    assert await commanded.fails("sync.now") == "precondition_failed"
    assert (await commanded.does("sync.resume"))["paused"] is False
    await until(lambda: box.outbox.stats().waiting == 0, 30)
    await commanded.does("sync.now")
    assert (await commanded.does("sync.pause", seconds=0.3))["until"]
    await until(lambda: not box.commands.sync.paused, 30)
    await until(lambda: box.outbox.stats().waiting == 0, 30)


async def test_a_shut_store_is_tried_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # by itself it would be tried in an hour
    monkeypatch.setattr("edge.ops.supervise.Backoff", lambda *_: Backoff(3600.0, 3600.0))
    (tmp_path / "out").write_text("a file, where a folder should be")
    async with running(tmp_path) as it:
        box = it.box
        await until(lambda: box.forwarder.status()["state"] == "shut", 30)
        await it.does("sync.pause")
        await it.does("sync.resume")
        (tmp_path / "out").unlink()
        await asyncio.sleep(0.5)
        assert box.forwarder.status()["state"] == "shut"
        await it.does("sync.now")
        await until(lambda: box.forwarder.status()["state"] == "up", 30)


async def test_dead_letters_are_listed_replayed_and_dropped(tmp_path: Path) -> None:
    triggers = {
        "sink": {
            "filters": [{"exact": {"type": "x"}}],
            "subscriber": {"uri": "http://127.0.0.1:9/in"},
            "delivery": {"retry": 0, "timeout": "PT2S"},
        }
    }
    async with running(tmp_path, triggers=triggers) as it:
        await it.box.bus.broker.accept([event(n, type="x") for n in range(3)])
        await until(lambda: it.box.bus.journal.stats().letters == 3, 20)
        page = await it.does("dlq.list", limit=2)
        assert len(page["letters"]) == 2
        rest = await it.does("dlq.list", after=page["next"])
        assert (len(rest["letters"]), rest["next"]) == (1, None)
        assert await it.fails("dlq.drop") == "bad_request"
        one = page["letters"][0]["id"]
        assert (await it.does("dlq.drop", ids=[one]))["count"] == 1
        assert (await it.does("dlq.replay", trigger="sink"))["count"] == 2
        await until(lambda: it.box.bus.journal.stats().letters == 2, 20)
        assert (await it.does("dlq.drop", all=True))["count"] == 2


async def test_the_configuration_is_shown_without_secrets_and_checked(tmp_path: Path) -> None:
    async with running(tmp_path, web={"port": 0, "token": "hush-hush"}) as it:
        facts = (await it.does("config.get"))["facts"]
        assert facts["box"]["site"] == "yard"
        assert "hush-hush" not in json.dumps(facts)
        only = (await it.does("config.get", section="log"))["facts"]
        assert set(only) == {"log"}
        assert await it.fails("config.get", section="lag") == "not_found"
        good = f'[store]\nkind = "folder"\npath = "{tmp_path}/out"\n[web]\nport = 1\n'
        found = await it.does("config.validate", toml=good)
        assert (found["ok"], "web.port" in found["restart"]) == (True, True)
        found = await it.does("config.validate", toml="[store]\nkind = 'nowhere'\n[wob]\n")
        assert not found["ok"]
        assert {"store.kind", "wob"} <= {fault["path"] for fault in found["faults"]}


async def test_models_are_listed_and_what_is_missing_is_said(commanded: Commanded) -> None:
    assert (await commanded.does("model.ls"))["models"] == []
    assert await commanded.fails("model.use", model="picodet_s_416") == "precondition_failed"
    assert await commanded.fails("model.pull", model="nothing_like_it") == "dependency_down"


async def test_what_the_box_cannot_do_yet_says_so(commanded: Commanded) -> None:
    for verb, args in (
        ("config.apply", {"toml": "a"}),
        ("config.rollback", {}),
        ("engine.rebuild", {}),
    ):
        assert await commanded.fails(verb, **args) == "unsupported"


async def test_safe_mode_lets_no_known_person_out(commanded: Commanded) -> None:
    found = await commanded.does("privacy.selftest")
    assert found["passed"]
    assert found["safe_mode"]
    assert found["people"] == found["covered"] + found["withheld"] > 20


async def test_the_newest_commands_are_on_the_page(commanded: Commanded) -> None:
    await commanded.does("log.level", level="debug")
    await commanded.fails("config.rollback")
    facts = (await commanded.does("status.get"))["facts"]
    told = [(one["verb"], one["outcome"], one["code"]) for one in facts["commands"]]
    assert told[:2] == [("config.rollback", "error", "unsupported"), ("log.level", "ok", "")]


async def test_a_bundle_says_how_the_box_is_without_secrets(tmp_path: Path) -> None:
    async with running(tmp_path, web={"port": 0, "token": "hush-hush"}) as it:
        await it.fails("source.add", name="x", kind="camera", url="rtsp://u:hush-hush@h/", fps=-1)
        made = [await it.does("bundle.create", "mqtt") for _ in range(5)]
        folder = tmp_path / "state" / "bundles"
        assert [str(one) for one in sorted(folder.iterdir())] == [one["path"] for one in made[2:]]
        newest = max(folder.iterdir())
        body = newest.read_bytes()
        assert hashlib.sha256(body).hexdigest() == made[-1]["sha256"]
        assert newest.stat().st_mode & 0o077 == 0
        with zipfile.ZipFile(newest) as bundle:
            parts = {name: bundle.read(name) for name in bundle.namelist()}
        assert b"edge_" in parts["metrics.txt"]
        assert json.loads(parts["status.json"])["box"]["site"] == "yard"
        assert not any(b"hush-hush" in part for part in parts.values())
        shutil.rmtree(folder)
        folder.write_text("a file, where a folder should be")
        assert await it.fails("bundle.create") == "dependency_down"


async def test_the_log_gets_louder(commanded: Commanded) -> None:
    house, root = logging.getLogger("edge"), logging.getLogger()
    before, handlers = house.level, root.handlers[:]
    try:
        await commanded.does("log.level", level="debug")
        assert house.level == logging.DEBUG
        assert await commanded.fails("log.level", level="loud") == "bad_request"
    finally:
        house.setLevel(before)
        root.handlers[:] = handlers


async def test_a_restart_is_answered_and_then_the_box_stops(commanded: Commanded) -> None:
    reply = await commanded.say("service.restart", key="again")
    assert reply.status == "ok"
    await until(commanded.box._stopping.is_set, 30)


# -- privacy


async def test_privacy_is_raised_at_once_and_across_restarts(tmp_path: Path) -> None:
    async with running(tmp_path, privacy={"method": "blur"}) as it:
        assert it.box.policy_for("gate").method == "blur"
        await it.does("privacy.raise", "mqtt", method="fill", margin={"top": 0.5})
        policy = it.box.policy_for("gate")
        assert (policy.method, policy.margin.top, policy.margin.left) == ("fill", 0.5, 0.1)
        polygon = [[0, 0], [0.5, 0], [0.5, 0.5]]
        await it.does("privacy.raise", "mqtt", source="gate", blackout=[polygon])
        assert await it.fails("privacy.raise", "mqtt", method="cells") == "forbidden_remote"
        assert await it.fails("privacy.raise", source="nobody", method="fill") == "not_found"
        for args in ({}, {"blackout": [polygon]}, {"source": "gate", "threshold": 0.1}):
            assert await it.fails("privacy.raise", **args) == "bad_request"
    async with running(tmp_path, privacy={"method": "blur"}) as it:
        policy = it.box.policy_for("gate")
        assert (policy.method, len(policy.blackout)) == ("fill", 1)
        for channel in ("mqtt", "http"):
            assert await it.fails("privacy.release", channel) == "forbidden_remote"
        await it.does("privacy.release")
        assert it.box.policy_for("gate").method == "blur"
        assert it.box.policy_for("gate").blackout == ()


@pytest.mark.parametrize(
    "privacy", [{"method": "blur"}, {"margin": {"top": 0.0}}, {"blackout": []}, {}]
)
async def test_a_source_that_is_put_back_is_covered_as_the_file_says_at_least(
    tmp_path: Path, privacy: dict[str, object]
) -> None:
    own = {"method": "cells", "blackout": [[[0, 0], [1, 0], [1, 1]]]}
    gate = {**SCENE, "privacy": own}
    async with running(tmp_path, sources={"gate": gate}) as it:
        await it.does("source.remove", name="gate")
        less = {**SCENE, "privacy": privacy}
        assert await it.fails("source.add", "mqtt", name="gate", **less) == "forbidden_remote"
        await it.does("source.add", "mqtt", name="gate", **gate)
        assert len(it.box.policy_for("gate").blackout) == 1


# -- engines


async def test_what_is_asked_of_the_engines_is_in_the_audit_log_whichever_way(
    commanded: Commanded,
) -> None:
    assert (await commanded.does("engine.cancel", "mqtt"))["cancelled"] is False
    page = commanded.box.page.rstrip("/")
    async with aiohttp.ClientSession() as client:
        for path, order, status, code in (
            ("/v1/engines/build", {}, 409, "no_gpu"),
            ("/v1/engines/cancel", None, 200, ""),
            ("/v1/engines/use", {"engine": "abacus"}, 404, "unknown"),
            ("/v1/engines/use", {"engine": "builtin"}, 403, "forbidden_remote"),
        ):
            async with client.post(page + path, json=order) as answer:
                assert answer.status == status
                told = await answer.json()
                assert told.get("error", {"code": ""})["code"] == code
        async with client.post(page + "/engines", data={"do": "cancel"}) as answer:
            assert answer.status == 200
    entries = (await commanded.does("audit.recent", limit=50))["entries"]
    told = [
        (one["verb"], one["channel"], one["outcome"])
        for one in reversed(entries)
        if one["verb"].startswith("engine.") and one["outcome"] != "begun"
    ]
    assert told == [
        ("engine.cancel", "mqtt", "ok"),
        ("engine.build", "http", "error"),
        ("engine.cancel", "http", "ok"),
        ("engine.use", "http", "error"),
        ("engine.use", "http", "refused"),
        ("engine.cancel", "http", "ok"),
    ]


async def test_nobody_far_away_puts_a_box_into_safe_mode(commanded: Commanded) -> None:
    for channel in ("mqtt", "http"):
        code = await commanded.fails("engine.use", channel, engine="builtin")
        assert code == "forbidden_remote"
    served = await commanded.does("engine.use", engine="builtin")
    assert served == {"engine": "builtin", "model": "motion", "safe_mode": True}


async def test_a_way_that_may_not_operate_may_not_steer_the_engines(tmp_path: Path) -> None:
    async with running(tmp_path, control={"http": {"deny": ["operate", "engine.use"]}}) as it:
        page = it.box.page.rstrip("/")
        async with aiohttp.ClientSession() as client:
            for path, order in (("build", {}), ("cancel", None), ("use", {"engine": "auto"})):
                async with client.post(f"{page}/v1/engines/{path}", json=order) as answer:
                    assert answer.status == 403
