"""Overflow: one subscriber stands by for the others, and they stand in for one that is away."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bus.absent import LONGER, Absent
from edge.bus.delivery_spec import DeliverySpec
from edge.bus.subscribers import Load, Subscriber, Subscribers
from edge.config.handlers import AnnotateConfig, ClassifyConfig
from edge.config.secret import Secret
from edge.config.store import FolderStoreConfig
from edge.errors import PartFailed, Rejected
from edge.event import PICTURE_CLASSIFIED, PICTURE_REDACTED, WireEvent
from edge.ops.metrics import Metrics
from edge.sinks.folder import FolderStore
from edge.sinks.pictures import Pictures
from edge.sinks.vision import Annotate
from edge.stages.classify import Classify
from edge.stages.pool import PicturePool
from tests.bus.rig import FAST, Sink, event, opened, trigger
from tests.parts import make_parcel, until
from tests.servers.vision_api import KEY, VisionApi, vision_api
from tests.sinks.test_pictures import redacted
from tests.stages.engines import colours

__all__ = ["vision_api"]

LOCAL: dict[str, Any] = {"ref": "local", "weight": 3}
REMOTE: dict[str, Any] = {"ref": "remote", "overflowAt": 10}
ENDLESS = {"delivery": {**FAST}}


def both(**spec: Any) -> dict[str, Any]:
    return {"both": trigger(subscribers=[LOCAL, REMOTE], **{"concurrency": 4, **spec})}


def stand_by(weights: dict[str, int], at: int, weight: int) -> Subscribers:
    each = [Subscriber(name=name, key=name, handler=None, weight=n) for name, n in weights.items()]
    relief = Subscriber(name="relief", key="relief", handler=None, weight=weight, overflow_at=at)
    return Subscribers([*each, relief], "event")


weights = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 20), min_size=1)


@settings(max_examples=50, deadline=None)
@given(
    weights=weights,
    at=st.integers(1, 50),
    weight=st.integers(1, 20),
    waiting=st.integers(0, 100),
    concurrency=st.integers(1, 16),
    busy=st.lists(st.sampled_from(["a", "b", "c", "d", "relief"]), max_size=16),
    away=st.sets(st.sampled_from(["a", "b", "c", "d", "relief"])),
)
def test_who_stands_by_takes_only_what_is_too_much_or_has_nobody_else(
    weights: dict[str, int],
    at: int,
    weight: int,
    waiting: int,
    concurrency: int,
    busy: list[str],
    away: set[str],
) -> None:
    load = Load(waiting=waiting, busy=busy, concurrency=concurrency, away=away)
    got = stand_by(weights, at, weight).choose(event(1), load).name
    there = set(weights) - away
    assert got not in away or away >= {*weights, "relief"}
    if got == "relief":
        assert waiting >= at or not there
    elif there:
        # what does not overflow stays where it would be without anybody standing by
        plain = Subscribers(
            [Subscriber(name=n, key=n, handler=None, weight=weights[n]) for n in there], "event"
        )
        assert got == plain.choose(event(1)).name


async def test_a_short_queue_stays_local_and_a_long_one_overflows(tmp_path: Path) -> None:
    async def slow(_: WireEvent) -> None:
        await asyncio.sleep(0.02)

    local, remote = Sink(slow), Sink(slow)
    handlers = {"local": local, "remote": remote}
    async with opened(tmp_path / "s.db", handlers, both(), config=ENDLESS) as bus:
        for n in range(5):
            await bus.broker.accept([event(f"calm {n}")])
        await bus.ended()
        assert (len(local.got), len(remote.got)) == (5, 0)
        await bus.broker.accept([event(n) for n in range(100)])
        await bus.ended()
    assert max((local.counts + remote.counts).values()) == 1
    assert len(local.got) + len(remote.got) == 105
    # three of four places are the local one's, until fewer than ten wait
    assert local.most <= 4
    assert 15 <= len(remote.got) <= 35
    assert {str(n) for n in range(95, 100)} <= set(local.ids), "the last ones are not too much"


async def test_while_the_remote_is_offline_the_local_one_gets_everything(tmp_path: Path) -> None:
    offline = True

    async def answer(_: WireEvent) -> None:
        if offline:
            raise PartFailed("no route to host")

    async def slow(_: WireEvent) -> None:
        await asyncio.sleep(0.005)

    local, remote = Sink(slow), Sink(answer)
    handlers = {"local": local, "remote": remote}
    async with opened(tmp_path / "s.db", handlers, both(), config=ENDLESS) as bus:
        await bus.broker.accept([event(n) for n in range(100)])
        await bus.ended()
        assert len(local.counts) == 100, "nothing waits for who does not answer"
        assert 1 <= len(remote.got) < 30, "it is asked now and then"
        assert not await bus.letters()
        offline = False
        before = len(remote.got)
        await asyncio.sleep(0.5)
        await bus.broker.accept([event(n) for n in range(100, 200)])
        await bus.ended()
        assert len(remote.got) > before + 5


async def test_while_the_local_one_is_broken_the_remote_gets_even_a_short_queue(
    tmp_path: Path,
) -> None:
    async def broken(_: WireEvent) -> None:
        raise PartFailed("the model is gone")

    local, remote = Sink(broken), Sink()
    handlers = {"local": local, "remote": remote}
    async with opened(tmp_path / "s.db", handlers, both(), config=ENDLESS) as bus:
        for n in range(5):
            await bus.broker.accept([event(n)])
        await bus.ended()
        assert len(remote.got) == 5


async def test_where_nobody_answers_the_trigger_holds_and_goes_on_later(tmp_path: Path) -> None:
    shut = True

    async def answer(_: WireEvent) -> None:
        if shut:
            raise PartFailed("down")

    local, remote = Sink(answer), Sink(answer)
    handlers = {"local": local, "remote": remote}
    async with opened(tmp_path / "s.db", handlers, both(), config=ENDLESS) as bus:
        await bus.broker.accept([event(n) for n in range(50)])
        await until(lambda: bus.status("both").reason == "holding")
        await asyncio.sleep(0.3)
        assert len(local.got) + len(remote.got) < 40, "they are probed, not hammered"
        shut = False
        await bus.ended()
        done = set(local.ids) | set(remote.ids)
        assert done == {str(n) for n in range(50)}
        assert not await bus.letters()


async def test_with_few_tries_the_next_one_goes_to_who_answers(tmp_path: Path) -> None:
    async def broken(_: WireEvent) -> None:
        raise PartFailed("down")

    local, remote = Sink(broken), Sink()
    delivery = {"retry": 2, **FAST, "backoffDelay": "PT0.2S"}
    handlers = {"local": local, "remote": remote}
    spec = both(delivery=delivery)
    async with opened(tmp_path / "s.db", handlers, spec) as bus:
        await bus.broker.accept([event(1)])
        await bus.ended()
        assert (len(local.got), len(remote.got), await bus.letters()) == (1, 1, [])


def test_somebody_must_always_take_a_share() -> None:
    from edge.bus.triggers import compile_plan
    from edge.config.bus import DeliveryConfig

    spec = trigger(subscribers=[{"ref": "a", "overflowAt": 1}, {"ref": "b", "weight": 0}])
    with pytest.raises(Rejected, match="without overflowAt"):
        compile_plan("it", spec, "config", DeliveryConfig())


def test_what_was_under_way_when_somebody_left_makes_the_absence_no_longer() -> None:
    now = 100.0
    absent = Absent(lambda: now)
    spec = DeliverySpec()
    assert absent.fail("a", spec, 99.0)
    for _ in range(20):
        assert not absent.fail("a", spec, 99.5)
    assert list(absent.keys()) == ["a"]
    now += LONGER * spec.wait(1) + 0.01
    assert list(absent.keys()) == []
    absent.begin("a", 5.0)
    assert list(absent.keys()) == ["a"], "one try at a time"
    assert absent.answered("a")
    assert not absent.answered("a")


class Split:
    """A real model and a stand-in service that share redacted pictures of a real store."""

    def __init__(self, place: Path, service: VisionApi) -> None:
        self.store = FolderStore(FolderStoreConfig(kind="folder", path=str(place / "out")))
        self.pool, self.said = PicturePool(1, limit=10), Counter[str]()
        pictures = Pictures(self._nothing_waits, self.store)
        model = str(colours.write(place))
        config = ClassifyConfig(kind="classify", model=model, sees="redacted")
        self.local = Classify(config, self.pool, Metrics(), max_pixels=10**6, redacted=pictures)
        api = AnnotateConfig(kind="annotate", uri=service.url, api_key=Secret(KEY))
        self.remote = Annotate(api, pictures)

    async def _nothing_waits(self, _: str) -> None:
        return None

    async def put(self, many: int) -> list[WireEvent]:
        body = cv2.imencode(".jpg", colours.picture(255, 0, 0, 20, 10))[1].tobytes()
        parcels = [make_parcel(n, body=body) for n in range(many)]
        await self.store.open()
        for parcel in parcels:
            await self.store.put(parcel)
        return [redacted(parcel) for parcel in parcels]

    async def note(self, reply: WireEvent) -> None:
        best = json.loads(reply.data or b"")["labels"][0]["label"]
        self.said[f"{reply.type == PICTURE_CLASSIFIED} {best}"] += 1

    async def close(self) -> None:
        self.pool.close()
        await self.remote.close()
        await self.store.close()


async def test_redacted_pictures_are_split_between_a_local_model_and_a_vision_service(
    tmp_path: Path, vision_api: VisionApi
) -> None:
    split = Split(tmp_path, vision_api)
    events = await split.put(40)
    handlers = {"local": split.local, "remote": split.remote, "note": Sink(split.note)}
    triggers = {
        "label": trigger(
            filters=[{"exact": {"type": PICTURE_REDACTED}}],
            concurrency=4,
            subscribers=[{"ref": "local"}, {"ref": "remote", "overflowAt": 5}],
        ),
        "note": trigger("note", filters=[{"not": {"exact": {"type": PICTURE_REDACTED}}}]),
    }
    async with opened(tmp_path / "s.db", handlers, triggers, config=ENDLESS) as bus:
        await bus.broker.accept(events)
        await bus.ended()
        assert not await bus.letters()
    await split.close()
    assert set(split.said) == {"True red", "False Dög"}
    assert sum(split.said.values()) == 40
    assert split.said["False Dög"] == len(vision_api.asked) >= 5
