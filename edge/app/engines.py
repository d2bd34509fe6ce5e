"""The engines of a box: which could look, which does and why; builds, swaps, faults of the GPU.

Keeps ``engine_status.Engines``. A box starts with the engine that was found best before, or with
ONNX Runtime; the others are tried beside it while it looks, and take over by a swap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from edge.app.canary import Canary, Shown, memory_in
from edge.app.engine_contest import AGAIN, Contest
from edge.app.engine_told import Told
from edge.app.engine_ways import TensorRT, Way, parity, ways_of
from edge.app.gpu_faults import GpuFaults
from edge.app.hands import hands_of
from edge.app.parts import catalog_of, choose_engine
from edge.catalog.installed import Installed
from edge.config.root import state_directory
from edge.contracts import Engine
from edge.control.engines import REFERENCE
from edge.detections import EngineInfo
from edge.engine_status import Build, EngineOption, EngineStatus, Plan
from edge.errors import Fatal, GpuLost, PartFailed, Rejected
from edge.stages.engines.holder import EngineHolder

if TYPE_CHECKING:
    from edge.app.box import Box

log = logging.getLogger(__name__)

BREAKS = 3
"""An engine other than ONNX Runtime that broke as often serves no more in this run."""
_LOOK_S = 60.0
_NAMES = ("auto", "tensorrt", "openvino", REFERENCE, "builtin")


class BoxEngines:
    """Chooses, swaps and tells.

    Args:
        box: its commands' ledger keeps the faults of the GPU; it is there by ``open``.

    """

    def __init__(self, box: Box) -> None:
        self._box = box
        config = box.config
        state = state_directory(config.box)
        self._catalog = catalog_of(config)
        self._memory = memory_in(state)
        self.canary = Canary(self._memory)
        self.choice = choose_engine(config, check=self._show)
        self.holder = EngineHolder(self.choice.open, box.metrics)
        self.faults = GpuFaults(config.tensorrt.max_faults)
        self.ways: Mapping[str, Way] = ways_of(config, state, self._wake_up)
        hands = hands_of(config.detect)
        self.contest = Contest(
            self.choice,
            self.ways,
            self._memory,
            self.faults,
            parity,
            hands=hands,
            more=hands_of(config.detect, on_gpu=True) - hands,
        )
        for way in self.ways.values():
            self.choice.ways[way.name] = self.contest.opened(way)
        self.choice.best = self.contest.best
        self.choice.admit = self.contest.admit
        self.choice.failed = self.contest.could_not
        self._told = Told(self.choice, self.holder, self.contest, self._gpu, self._down)
        self._breaks: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._changing = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        #: the GPU was lost: the process ends with an exit code of its own
        self.lost: GpuLost | None = None

    # -- life

    async def open(self) -> None:
        """Read what earlier runs left; before the engine.

        Raises:
            Fatal: an engine is demanded by its name that this box cannot have.

        """
        self._loop = asyncio.get_running_loop()
        await self.faults.open(self._box.commands.ledger)
        await asyncio.to_thread(self.contest.look)
        way = self.ways.get(self.choice.wanted)
        lack = None if way is None else await asyncio.to_thread(way.lacks)
        if lack is not None:
            raise Fatal(
                f"engine {self.choice.wanted} cannot look on this box: {lack[0]}",
                hint="; ".join((*filter(None, lack[1:]), 'engine = "auto" takes what there is')),
                reason="no_engine",
            )

    async def keep(self, up: Callable[[], None]) -> None:
        """Keep an engine up; the supervisor runs it.

        Raises:
            PartFailed: it broke, or could not be opened. Fatal: as the opener says.

        """

        def served() -> None:
            up()
            self._wake.set()

        try:
            await self.holder.run(served)
        except GpuLost as error:
            await self.lose(error)
            raise
        except PartFailed as error:
            self._count(error)
            raise

    async def run(self, up: Callable[[], None]) -> None:
        """Try what could look, and let the best one; return never."""
        up()
        while True:
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                await asyncio.to_thread(self.contest.survived)
                if not self.contest.again():
                    continue
            self._wake.clear()
            try:
                async with self._changing:
                    await self._settle()
            except GpuLost as error:
                await self.lose(error)
            except PartFailed as error:
                log.warning("the engines could not be compared: %s. %s", error, error.hint)

    async def close(self) -> None:
        """Stop a builder that runs, and note that nothing went wrong."""
        await asyncio.to_thread(self.contest.survived)
        for way in self.ways.values():
            await way.close()

    def better(self) -> None:
        """A model has come: open it, and find out what runs it best."""
        self.holder.reopen()
        self._wake.set()

    def look_again(self) -> None:
        """Find out what is best now: a model or a threshold is another one."""
        self._wake.set()

    def _wake_up(self) -> None:
        """Look again; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def lose(self, error: GpuLost) -> None:
        """Count a fault of the GPU and stop the box in order; the next start is a new process."""
        if self.lost is not None:
            return
        self.lost = error
        self.contest.could_not("tensorrt", error)  # what is in hand is looked at by the processor
        await self.faults.note()
        log.error(
            "fault %d of the GPU within an hour: %s. %s",
            self.faults.recent(),
            error,
            error.hint or "Edge stops and starts anew",
        )
        self._box.stop()

    def _count(self, error: PartFailed) -> None:
        """Leave alone an engine that breaks again and again."""
        name = "" if self.holder.info is None else self.holder.info.name
        if name not in self.ways:
            return
        self._breaks[name] = self._breaks.get(name, 0) + 1
        if self._breaks[name] >= BREAKS:
            self.contest.could_not(name, error)

    def _show(self, engine: Engine, installed: Installed) -> None:
        """Show an engine the canary. Blocks; raises PartFailed."""
        known = self._catalog.manifests.get(installed.id)
        ships = known is not None and known.sha256 == installed.manifest.sha256
        measured = installed.manifest.threshold if ships else None
        self.canary.check(engine, Shown(digest=installed.digest, measured_threshold=measured))

    # -- choice

    async def _settle(self) -> None:
        """Try what was not tried yet with this model, and let the best one look."""
        info = self.holder.info
        if not self.holder.up or info is None or info.safe_mode:
            return
        installed = await asyncio.to_thread(self._catalog.find, self.choice.model)
        if installed is None:
            return
        gpu = self._gpu()
        built = 0 if gpu is None else gpu.built
        try:
            await self._try(installed, info)
        finally:
            if gpu is not None:
                gpu.tried = built

    async def _try(self, installed: Installed, info: EngineInfo) -> None:
        await self.contest.consider(installed)
        best = await asyncio.to_thread(self.contest.best, installed)
        if best != info.name or await asyncio.to_thread(self.contest.outdated, info, installed):
            await self._swap(best)
        now = self.holder.info or info
        for way in self.ways.values():
            identity = self.contest.identity_of(now) if way.name == now.name else ""
            await asyncio.to_thread(way.serves, identity)

    async def _swap(self, name: str) -> None:
        try:
            with self.choice.attempt(name):
                await self.holder.swap()
        except GpuLost:
            raise
        except PartFailed as error:
            if error.reason == AGAIN:
                self._wake.set()
                return
            self.contest.could_not(name, error)
            option = self.contest.options.get(name, EngineOption(name=name, state="refused"))
            self.contest.options[name] = replace(
                option, state="refused", why=str(error), hint=error.hint
            )

    # -- Engines

    def status(self) -> EngineStatus:
        info = self.holder.info if self.holder.up else None
        serving = "" if info is None else info.name
        gpu = self._gpu()
        return EngineStatus(
            wanted=self.choice.wanted,
            serving=serving,
            model=self.choice.model if info is None else info.model,
            why=self._told.why(serving),
            options=self._told.options(serving),
            build=Build() if gpu is None else gpu.build_status(),
            trying=self._told.trying(),
            plans=() if gpu is None else gpu.plans_shown(),
            gpu=None if gpu is None else gpu.facts,
            encoder=self._box.jpeg.said(),
            canary="" if info is None or info.safe_mode else self.canary.said,
            faults=self.faults.recent(),
        )

    def _down(self) -> str:
        part = self._box.supervisor.parts.get("engine")
        return "" if part is None else "; ".join(filter(None, (part.reason, part.hint)))

    def _gpu(self) -> TensorRT | None:
        way = self.ways.get("tensorrt")
        return way if isinstance(way, TensorRT) else None

    async def build(self, model: str = "", *, force: bool = False) -> Build:
        """Begin to build; see ``engine_status.Engines``."""
        gpu = self._gpu()
        lack = None if gpu is None else await asyncio.to_thread(gpu.lacks)
        if gpu is None or lack is not None:
            words, hint = lack or ("there is no GPU", "")
            reason = "no_library" if gpu is not None and gpu.facts.usable else "no_gpu"
            raise Rejected(words, hint=hint, reason=reason)
        installed = await asyncio.to_thread(self._catalog.find, model or self.choice.model)
        if installed is None:
            raise Rejected(
                f"model {model or self.choice.model} is not installed",
                hint="edge model pull, or edge model import FILE",
                reason="no_model",
            )
        self.contest.refused.pop("tensorrt", None)
        return await gpu.build(installed, force=force, asked=True)

    async def cancel(self) -> bool:
        """Stop the builder; False if nothing is built now."""
        gpu = self._gpu()
        return gpu is not None and await gpu.cancel()

    async def use(self, what: str) -> EngineStatus:
        """Let another engine look; see ``engine_status.Engines``."""
        gpu = self._gpu()
        plans = () if gpu is None else gpu.plans_shown()
        plan = next((plan for plan in plans if plan.key == what), None)
        name = what if plan is None else "tensorrt"
        if name not in _NAMES:
            raise Rejected(
                f"there is no engine {what!r}",
                hint="edge engine ls lists them, and the keys of built ones; auto: the fastest",
                reason="unknown",
            )
        if plan is not None:
            self._must_fit(plan)
        async with self._changing:
            await self._use(name, "" if plan is None else what)
        self._wake.set()
        return self.status()

    async def _use(self, name: str, key: str) -> None:
        way, gpu, info = self.ways.get(name), self._gpu(), self.holder.info
        before, pinned = self.choice.wanted, "" if gpu is None else gpu.pinned
        if way is not None:
            await asyncio.to_thread(self.contest.forgive, name)
            option = await asyncio.to_thread(self.contest.why_not, way)
            if option is not None:
                raise Rejected(option.why, hint=option.hint, reason=option.state)
        self._ask(name, key)
        try:
            if name in {REFERENCE, "builtin"} or info is None or info.safe_mode:
                await self.holder.swap()
            await self._settle()
            self._must_look_or_be_built(name)
        except asyncio.CancelledError:  # it took longer than a command may
            self._ask(before, pinned)
            raise
        except (Rejected, PartFailed) as error:
            self._ask(before, pinned)
            if self.holder.info is not info:
                self.holder.reopen()
            raise Rejected(str(error), hint=error.hint, reason=error.reason) from error

    def _must_fit(self, plan: Plan) -> None:
        """See that a plan may be named. Raises Rejected."""
        if plan.model != self.choice.model:
            raise Rejected(
                f"the engine {plan.key} was built for {plan.model}, and {self.choice.model} looks",
                hint=f"edge ctl model.use model={plan.model}",
                reason="other_model",
            )
        if plan.state == "refused":
            raise Rejected(
                f"the engine {plan.key} is not used: {plan.why}",
                hint="edge engine build --force builds it again",
                reason="refused",
            )

    def _must_look_or_be_built(self, name: str) -> None:
        """See that what was asked for looks, or will once it is built. Raises Rejected."""
        option = self.contest.options.get(name)
        if option is not None and option.state in {"refused", "to_build"}:
            raise Rejected(option.why, hint=option.hint, reason=option.state)

    def _ask(self, name: str, key: str) -> None:
        self.choice.ask(name)
        if (gpu := self._gpu()) is not None:
            gpu.pinned = key
