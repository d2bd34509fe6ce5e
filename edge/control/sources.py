"""The sources that run now: add, enable, disable, remove, each while everything else goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from edge.config.sources import SourceConfig
from edge.contracts import Picture, Source, SourceStatus
from edge.event import Event, Outcome
from edge.ops.metrics import Metrics
from edge.ops.supervise import Supervisor

log = logging.getLogger(__name__)

Settle = Callable[[Event[Picture], Outcome, str], Awaitable[None]]
Hand = Callable[[Event[Picture], Settle], Awaitable[None]]
"""Gives an event to the bus: ``offer`` or ``accept``."""


class SourceTable:
    """Every configured source by name, and a supervised task for each that is enabled.

    Args:
        build: makes a source from its configuration; called anew each time it is opened.
        offer: takes live frames. accept: takes what must not be lost.
        group: owns the tasks.
        changed: told the name of each source that was added or removed.

    """

    def __init__(
        self,
        build: Callable[[str, SourceConfig], Source],
        *,
        offer: Hand,
        accept: Hand,
        supervisor: Supervisor,
        metrics: Metrics,
        group: asyncio.TaskGroup,
        changed: Callable[[str], None],
    ) -> None:
        self._build = build
        self._offer, self._accept = offer, accept
        self._supervisor = supervisor
        self._metrics = metrics
        self._group = group
        self._changed = changed
        self._configs: dict[str, SourceConfig] = {}
        self._open: dict[str, Source] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def configs(self) -> Mapping[str, SourceConfig]:
        """What each source was configured as."""
        return self._configs

    def add(self, name: str, config: SourceConfig) -> None:
        """Add a source and start it where it is enabled.

        Raises:
            ValueError: there is one of that name.

        """
        if name in self._configs:
            raise ValueError(f"there is a source {name} already")
        self._configs[name] = config
        self._changed(name)
        if config.enabled:
            self._start(name)

    def enable(self, name: str) -> None:
        """Start a source that was disabled. Nothing happens where it runs.

        Raises:
            KeyError: there is none of that name.

        """
        self._configs[name] = self._configs[name].model_copy(update={"enabled": True})
        if name not in self._tasks:
            self._start(name)

    async def disable(self, name: str) -> None:
        """Stop a source but keep its place.

        Raises:
            KeyError: there is none of that name.

        """
        self._configs[name] = self._configs[name].model_copy(update={"enabled": False})
        await self._stop(name)

    async def remove(self, name: str) -> None:
        """Stop a source and forget it.

        Raises:
            KeyError: there is none of that name.

        """
        if name not in self._configs:
            raise KeyError(name)
        await self._stop(name)
        del self._configs[name]
        self._changed(name)
        self._supervisor.parts.pop(f"source {name}", None)

    async def apply(self, wanted: Mapping[str, SourceConfig]) -> None:
        """Make the running sources those of ``wanted``; what did not change is not touched."""
        for name in [name for name in self._configs if wanted.get(name) != self._configs[name]]:
            await self.remove(name)
        for name, config in wanted.items():
            if name not in self._configs:
                self.add(name, config)

    async def shut(self) -> None:
        """Shut every tap. What was handed over is still settled."""
        await asyncio.gather(*(self._stop(name) for name in list(self._tasks)))

    def statuses(self) -> list[SourceStatus]:
        """How each source is, the disabled and the broken ones too."""
        return [self._status(name, config) for name, config in self._configs.items()]

    def _status(self, name: str, config: SourceConfig) -> SourceStatus:
        part = self._supervisor.parts.get(f"source {name}")
        if not config.enabled:
            return SourceStatus(name=name, kind=config.kind, state="disabled")
        if name in self._open:
            return self._open[name].status()
        reason, hint = (part.reason, part.hint) if part else ("", "")
        state = "failed" if reason else "connecting"
        return SourceStatus(name=name, kind=config.kind, state=state, reason=reason, hint=hint)

    def _start(self, name: str) -> None:
        self._tasks[name] = self._group.create_task(self._keep(name), name=f"source {name}")

    async def _stop(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        source = self._open.get(name)
        if source is not None:
            await source.close()
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])
        self._metrics.source_up.labels(name).set(0)

    async def _keep(self, name: str) -> None:
        async def run(up: Callable[[], None]) -> None:
            await self._run(name, up)

        await self._supervisor.keep(f"source {name}", run)

    async def _run(self, name: str, up: Callable[[], None]) -> None:
        source = self._open[name] = self._build(name, self._configs[name])
        hand = self._offer if source.live else self._accept
        failed = True
        try:
            async for event in source.events():
                up()
                await hand(event, source.settle)
                del event  # or the picture would stay in memory until the next one comes
            failed = False
        finally:
            await source.close()
            if failed:
                # A finished source stays, so that the page can say that it is finished.
                self._open.pop(name, None)
