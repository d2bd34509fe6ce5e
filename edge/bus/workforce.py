"""The workforce: a worker for each trigger in force, hired and dismissed while the box runs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from edge.bus.ending import Ties
from edge.bus.trigger_table import Linker, Table
from edge.bus.triggers import Plan, Trigger, broken_plan, compile_plan
from edge.bus.worker import Worker
from edge.config.bus import TriggerConfig
from edge.contracts import Handler
from edge.errors import Rejected
from edge.traffic import TriggerStatus

log = logging.getLogger(__name__)

Parse = Callable[[Mapping[str, Any]], TriggerConfig]
"""Reads a trigger that was set at run time. Raises Rejected (``bad_trigger``) with every fault."""

STOP_S = 5.0
"""Seconds that the handlers of a removed trigger have to end."""


class Workforce:
    """Keeps ``traffic.Triggers``.

    Args:
        linker: has the handlers.
        parse: reads a trigger set at run time.
        ties: what the workers share.

    """

    def __init__(self, linker: Linker, parse: Parse, ties: Ties) -> None:
        self._linker, self._parse, self._ties = linker, parse, ties
        self._journal, self._delivery = ties.journal, ties.config.delivery
        self._table = Table()
        self._changing = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        #: by the name of their trigger
        self.workers: dict[str, Worker] = {}
        #: enabled triggers; replaced as a whole when one changes
        self.takers: tuple[Trigger, ...] = ()

    async def restore(self) -> None:
        """Bring back the triggers that were set at run time."""
        saved = await self._journal.triggers_saved()
        async with self._changing:
            plans = {
                name: await asyncio.to_thread(self._restored, name, text)
                for name, text in saved.items()
            }
            await self._switch(self._table.with_all("api", plans))

    def start(self, group: asyncio.TaskGroup | None) -> None:
        """Let all workers run in ``group``, and those that come later; None: no more of them."""
        self._group = group
        for worker in self.workers.values():
            self._start(worker)

    async def forget_the_removed(self) -> None:
        """Make dead letters of what waits for triggers that are no more."""
        async with self._changing:
            for name in list(self._journal.stats().waiting):
                if name not in self.workers:
                    await self._journal.forget_trigger(name)

    def triggers(self) -> list[TriggerStatus]:
        """Return all of them, those of the configuration first."""
        return [self.workers[name].status() for name in self._table.in_force()]

    async def set_triggers(self, configs: Mapping[str, TriggerConfig], origin: str) -> None:
        """Set all triggers of one origin (``config`` or ``built-in``).

        What did not change goes on untouched; what waits for a changed one waits for the new one;
        what waits for one that is no more becomes dead letters.

        Raises:
            Rejected: ``bad_trigger`` with every fault of each; nothing was changed.

        """
        async with self._changing:
            old = self._table.plans[origin]
            plans = await asyncio.to_thread(self._compiled, configs, origin, old)
            await self._switch(self._table.with_all(origin, plans))

    async def put_trigger(self, name: str, spec: Mapping[str, Any]) -> TriggerStatus:
        """Set a trigger; it is kept across restarts. Putting the same again wakes one that is gone.

        Raises:
            Rejected: ``bad_trigger`` with every fault, or ``in_config``: the file has one of that
                name.
            TryLater: no room on the disk.

        """
        async with self._changing:
            self._refuse_if_in_config(name)
            plan = await asyncio.to_thread(self._put, name, spec)
            table = self._table.with_one(plan)
            await self._journal.save_trigger(name, json.dumps(spec))
            await self._switch(table)
            return self.workers[name].status()

    async def remove_trigger(self, name: str) -> bool:
        """Remove one; what waits for it becomes dead letters. False where there is none.

        Raises:
            Rejected: ``in_config``.

        """
        async with self._changing:
            self._refuse_if_in_config(name)
            if name not in self._table.plans["api"]:
                return False
            await self._switch(self._table.without("api", name))
            return True

    async def set_handlers(self, handlers: Mapping[str, Handler]) -> None:
        """Link the triggers to other handlers.

        When it returns, nothing uses those that are no longer there: they may be closed.
        """
        async with self._changing:
            old = self._linker.replace(handlers)
            for worker in self.workers.values():
                if self._linker.is_stale(worker.trigger):
                    worker.swap(self._linker.link(worker.trigger.plan))
            self._refresh()
        await asyncio.gather(*(worker.without(old) for worker in self.workers.values()))

    def _refuse_if_in_config(self, name: str) -> None:
        for origin, words in (("config", "in the configuration file"), ("built-in", "built in")):
            if name in self._table.plans[origin]:
                raise Rejected(
                    f"the trigger {name} is {words}",
                    hint=f"change [triggers.{name}] there, or choose another name",
                    reason="in_config",
                )

    def _put(self, name: str, spec: Mapping[str, Any]) -> Plan:
        return compile_plan(name, self._parse(spec), "api", self._delivery, spec)

    def _restored(self, name: str, text: str) -> Plan:
        spec: Mapping[str, Any] = {}
        try:
            spec = json.loads(text)
            return self._put(name, spec)
        except (Rejected, ValueError) as error:
            log.error("a trigger of an earlier run cannot be restored: %s", error)  # noqa: TRY400
            return broken_plan(name, "api", spec, str(error))

    def _compiled(
        self, configs: Mapping[str, TriggerConfig], origin: str, old: Mapping[str, Plan]
    ) -> dict[str, Plan]:
        plans, faults = {}, []
        for name, config in configs.items():
            if name in old and old[name].config == config:
                plans[name] = old[name]
                continue
            try:
                plans[name] = compile_plan(name, config, origin, self._delivery)
            except Rejected as error:
                faults.append(str(error))
        if faults:
            raise Rejected("\n".join(faults), reason="bad_trigger")
        return plans

    async def _switch(self, table: Table) -> None:
        """Let the triggers be those of ``table``. The lock is held."""
        wanted = table.in_force()
        linked = {
            name: self._linker.link(plan)
            for name, plan in wanted.items()
            if name not in self.workers or self.workers[name].trigger.plan is not plan
        }
        self._table = table
        for name, trigger in linked.items():
            if name in self.workers:
                self.workers[name].swap(trigger)
            else:
                self.workers[name] = Worker(trigger, self._ties)
                self._start(self.workers[name])
        gone = [self.workers.pop(name) for name in list(self.workers) if name not in wanted]
        self._refresh()
        for worker in gone:
            await self._end(worker)

    def _refresh(self) -> None:
        triggers = [worker.trigger for worker in self.workers.values()]
        self.takers = tuple(trigger for trigger in triggers if trigger.enabled)

    def _start(self, worker: Worker) -> None:
        if self._group is not None:
            task = self._group.create_task(worker.run(), name=f"trigger {worker.name}")
            self._tasks[worker.name] = task

    async def _end(self, worker: Worker) -> None:
        task = self._tasks.pop(worker.name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=STOP_S)
        await self._journal.forget_trigger(worker.name)
        await worker.close()
