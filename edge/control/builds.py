"""The building of engines: one at a time, in a child process, with what people see of it.

Nothing here waits for the builder but ``over``: the box goes on looking with another engine. A
failed build changes nothing but what ``now`` says.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from edge.config.tensorrt import TensorRTConfig
from edge.control.build_child import BuildChild, child_command, child_environment
from edge.engine_status import Build, Plan
from edge.errors import EdgeError, PartFailed, Rejected

log = logging.getLogger(__name__)

_ANEW = "edge engine build; by itself it is built at the next start"


class PlanCache(Protocol):
    """The plans, as far as building needs them. All of it may block for a moment."""

    def find(self, key: str) -> Plan | None:
        """Return what is known of a plan."""
        ...

    def fresh(self, key: str) -> Path:
        """Return where a plan of this key may be written."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Keep other processes from building. Raises Rejected: ``busy``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to build."""

    #: of the plan
    key: str
    #: id of the model
    model: str
    #: the engine form, serialised
    graph: bytes
    #: what the child is asked, without the paths of graph and plan (``BuildRequest``)
    request: Mapping[str, Any]
    #: takes over the plan: where it lies, seconds, the builder's last words. Blocks; PartFailed
    keep: Callable[[Path, float, str], Plan]


class Builds:
    """Builds engines.

    Args:
        config: ``[tensorrt]``.
        plans: where they are kept.
        changed: told on the loop whenever there is something new to show.
        command: how the child is started, and where; None: this program.

    """

    def __init__(
        self,
        config: TensorRTConfig,
        plans: PlanCache,
        *,
        changed: Callable[[Build], None] = lambda _: None,
        command: tuple[Sequence[str], Path] | None = None,
    ) -> None:
        self._config = config
        self._plans = plans
        self._changed = changed
        self._command = command or child_command()
        self._now = Build()
        self._began = 0.0
        self._task: asyncio.Task[Build] | None = None
        self._asking = asyncio.Lock()

    @property
    def now(self) -> Build:
        """How the newest building stands."""
        if self._now.state != "running":
            return self._now
        return replace(self._now, seconds=round(time.monotonic() - self._began, 1))

    async def begin(self, order: Order, *, force: bool = False) -> Build:
        """Begin to build, and return at once. Asked for the same twice, it is built once.

        Args:
            order: what to build.
            force: build even if it is there, or was refused.

        Raises:
            Rejected: ``busy``: another one is built; ``refused``: it failed parity or the canary.
            PartFailed: the cache cannot be used.

        """
        async with self._asking:
            if self._task is not None and not self._task.done():
                if self._now.key == order.key:
                    return self.now
                raise Rejected(
                    f"the engine of {self._now.model} is built now",
                    hint="wait until it is done, or cancel it",
                    reason="busy",
                )
            if not force and (there := await self._there(order)) is not None:
                return there
            alone = ExitStack()
            await asyncio.to_thread(alone.enter_context, self._plans.alone())
            self._began = time.monotonic()
            self._say(Build(state="running", model=order.model, key=order.key, phase="starting"))
            task = asyncio.create_task(self._run(order), name=f"building of {order.model}")
            task.add_done_callback(partial(self._ended, alone))
            self._task = task
            return self.now

    async def over(self) -> Build:
        """Wait until nothing is built any more, and return how it ended."""
        if self._task is not None:
            await asyncio.wait({self._task})
        return self.now

    async def cancel(self) -> bool:
        """Kill the builder; False if nothing is built now. What was there before stays."""
        task = self._task
        if task is None or task.done():
            return False
        task.cancel()
        await asyncio.wait({task})
        return self._now.state == "cancelled"

    async def close(self) -> None:
        """Stop building, and see that nothing of it stays behind."""
        await self.cancel()

    async def _there(self, order: Order) -> Build | None:
        plan = await asyncio.to_thread(self._plans.find, order.key)
        if plan is None:
            return None
        if plan.state == "refused":
            raise Rejected(
                f"the engine of {order.model} was built before and is not used: {plan.why}",
                hint="edge engine build --force builds it again",
                reason="refused",
            )
        self._say(
            Build(state="done", model=order.model, key=order.key, share=1.0, seconds=plan.seconds)
        )
        return self._now

    async def _run(self, order: Order) -> Build:
        """Build, and return how it ended."""
        try:
            plan = await self._made(order)
        except EdgeError as error:
            log.warning("%s is not built: %s. %s", order.model, error, error.hint)
            if error.reason == "builder_crashed":
                # What it recalls of earlier buildings may be what it stumbled over.
                await asyncio.to_thread(_forget, order.request.get("timing_cache", ""))
            return replace(self._now, state="failed", reason=str(error), hint=error.hint)
        log.info("engine of %s is built, in %.0f s: %s", order.model, plan.seconds, plan.key)
        return replace(self._now, state="done", phase="", share=1.0)

    def _ended(self, alone: ExitStack, task: asyncio.Task[Build]) -> None:
        """Say how it ended, whatever ended it: a task that was never begun has no ``finally``."""
        alone.close()
        if task.cancelled():
            end = replace(self._now, state="cancelled", reason="it was cancelled", hint=_ANEW)
        elif (bug := task.exception()) is not None:
            log.error("the building of %s failed by a bug", self._now.model, exc_info=bug)
            end = replace(
                self._now, state="failed", reason="a bug in Edge: see the log", hint=_ANEW
            )
        else:
            end = task.result()
        self._say(replace(end, seconds=self.now.seconds))

    async def _made(self, order: Order) -> Plan:
        config = self._config
        into = await asyncio.to_thread(self._plans.fresh, order.key)
        graph = into.with_suffix(".onnx")
        child = BuildChild(
            self._command,
            child_environment(config.device),
            memory=config.build_memory,
            timeout=config.build_timeout,
            heard=self._heard,
        )
        try:
            await asyncio.to_thread(_write, graph, order.graph)
            log.info("building the engine of %s", order.model)
            built = await child.run({**order.request, "onnx": str(graph), "plan": str(into)})
            return await asyncio.to_thread(order.keep, into, built.seconds, built.words)
        finally:
            graph.unlink(missing_ok=True)
            into.unlink(missing_ok=True)

    def _heard(self, phase: str, share: float | None) -> None:
        self._say(replace(self._now, phase=phase, share=share))

    def _say(self, build: Build) -> None:
        self._now = build
        self._changed(self.now)


def _write(path: Path, body: bytes) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(body)
    except OSError as error:
        raise PartFailed(
            f"the graph for the builder cannot be written to {path.parent}: {error.strerror}",
            hint="is there room, and may Edge write there?",
            reason="not_writable",
        ) from error


def _forget(path: str) -> None:
    if path:
        Path(path).unlink(missing_ok=True)
