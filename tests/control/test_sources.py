from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from edge.config.sources import SceneConfig, SourceConfig
from edge.contracts import Picture, Source, SourceStatus
from edge.control.sources import SourceTable
from edge.errors import PartFailed
from edge.event import Event, Outcome
from edge.ops.metrics import Metrics
from edge.ops.supervise import Supervisor
from tests.stages.parts import a_frame, an_event


class Clockwork:
    """A source that shows a frame every few milliseconds until it is closed."""

    live = True

    def __init__(self, name: str, failures: list[str]) -> None:
        self.name = name
        self._failures = failures
        self._closed = asyncio.Event()
        self.ends: list[tuple[str, Outcome, str]] = []

    async def events(self) -> AsyncIterator[Event[Picture]]:
        if self.name in self._failures:
            self._failures.remove(self.name)
            raise PartFailed("unplugged", hint="plug it in")
        number = 0
        while not self._closed.is_set():
            yield an_event(a_frame(self.name, size=(8, 8)), number)
            number += 1
            await asyncio.sleep(0.002)

    async def settle(self, event: Event[Picture], outcome: Outcome, reason: str = "") -> None:
        self.ends.append((event.id, outcome, reason))

    async def close(self) -> None:
        self._closed.set()

    def status(self) -> SourceStatus:
        return SourceStatus(name=self.name, kind="scene", state="streaming")


class Table:
    """A source table whose frames are counted by source."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.seen: dict[str, int] = {}
        self.failures: list[str] = []
        self.changed: list[str] = []
        self.table = SourceTable(
            self.build,
            offer=self.offer,
            accept=self.offer,
            supervisor=Supervisor(Metrics(), first=0.01, most=0.02),
            metrics=Metrics(),
            group=group,
            changed=self.changed.append,
        )

    def build(self, name: str, config: SourceConfig) -> Source:
        assert config.kind == "scene"
        return Clockwork(name, self.failures)

    async def offer(self, event: Event[Picture], settle: object) -> None:
        assert settle is not None
        self.seen[event.subject] = self.seen.get(event.subject, 0) + 1

    async def moves(self, name: str) -> bool:
        before = self.seen.get(name, 0)
        await asyncio.sleep(0.1)
        return self.seen.get(name, 0) > before

    def state(self, name: str) -> str:
        return next(one.state for one in self.table.statuses() if one.name == name)


SCENE = SceneConfig(kind="scene")


async def test_sources_come_and_go_while_the_others_run() -> None:
    async with asyncio.TaskGroup() as group:
        it = Table(group)
        it.table.add("one", SCENE)
        it.table.add("two", SCENE)
        assert await it.moves("one")
        assert await it.moves("two")
        await it.table.disable("two")
        assert it.state("two") == "disabled"
        assert not await it.moves("two")
        assert await it.moves("one")
        it.table.enable("two")
        assert await it.moves("two")
        await it.table.remove("two")
        assert [one.name for one in it.table.statuses()] == ["one"]
        assert it.changed == ["one", "two", "two"]
        assert not await it.moves("two")
        await it.table.shut()
        assert not await it.moves("one")


async def test_applying_a_configuration_touches_only_what_changed() -> None:
    async with asyncio.TaskGroup() as group:
        it = Table(group)
        it.table.add("same", SCENE)
        it.table.add("gone", SCENE)
        await it.moves("same")
        running = it.table._open["same"]
        await it.table.apply({"same": SCENE, "new": SCENE.model_copy(update={"seed": 7})})
        assert it.table._open["same"] is running
        assert await it.moves("new")
        assert set(it.table.configs) == {"same", "new"}
        await it.table.shut()


async def test_a_source_that_fails_says_why_and_is_opened_anew() -> None:
    async with asyncio.TaskGroup() as group:
        it = Table(group)
        it.failures = ["one"] * 3
        it.table.add("one", SCENE)
        await asyncio.sleep(0.005)
        (status,) = it.table.statuses()
        assert (status.state, status.reason, status.hint) == ("failed", "unplugged", "plug it in")
        await asyncio.sleep(0.2)
        assert await it.moves("one")
        await it.table.shut()
