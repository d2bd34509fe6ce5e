"""The contest of engines: which could look on this box, how each did, and which is the best.

Each engine beside ONNX Runtime is tried once with a model: canary, parity, pace. What came of it
is remembered, so that the next start opens the best one at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edge.app.engine_ways import Way, machine
from edge.app.gpu_faults import GpuFaults
from edge.catalog.installed import Installed
from edge.contracts import Engine
from edge.control.engine_memory import Memory
from edge.control.engine_trials import Trial, read, trial, trial_key, written
from edge.control.engines import REFERENCE, EngineChoice
from edge.detections import EngineInfo
from edge.engine_status import Agreement, EngineOption
from edge.errors import GpuLost, PartFailed, Rejected

log = logging.getLogger(__name__)

CRASHES = 3
"""An engine under which the process ended as often, one start after the other, is not opened."""
AGAIN = "look_again"
"""Reason of an error that says nothing of an engine: it has to be built, or tried, anew."""
_FAULTY = "the GPU failed"
_FAULTY_HINT = (
    "look for Xid in the kernel's log (dmesg); within an hour it is tried again by itself"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """Why an engine does not serve in this run."""

    why: str
    hint: str = ""


class Contest:
    """Tries engines, and says which is best.

    Args:
        choice: opens them.
        ways: the engines beside ONNX Runtime.
        memory: keeps what came of trials.
        faults: of the GPU.
        agree: compares the reference with an engine. Blocks.
        hands: threads that carry pictures on this box.
        more: those that it has besides while the GPU looks.

    """

    def __init__(
        self,
        choice: EngineChoice,
        ways: Mapping[str, Way],
        memory: Memory,
        faults: GpuFaults,
        agree: Callable[[Engine, Engine], Agreement],
        *,
        hands: int,
        more: int = 0,
    ) -> None:
        self._choice = choice
        self.ways = ways
        self._memory = memory
        self._faults = faults
        self._agree = agree
        self._hands, self._more = hands, more
        #: engines that do not serve in this run
        self.refused: dict[str, _Refusal] = {}
        self.options: dict[str, EngineOption] = {}
        #: opened since the process is known to survive them
        self._open: set[str] = set()
        #: of the newest that were opened
        self._identities: list[tuple[EngineInfo, str]] = []
        #: milliseconds that ONNX Runtime takes, as measured beside another engine
        self.pace: float | None = None
        #: another process builds an engine for this box, and nobody says when it is done
        self._built_elsewhere = False

    def opened(self, way: Way) -> Callable[[Installed, float | None], Engine]:
        """Return how an engine is opened; that it was is on disk before anything native runs.

        A library that takes the process down with it would do so at every start. ``survived``
        forgets it.
        """

        def open_it(installed: Installed, threshold: float | None) -> Engine:
            self._memory.keep(_mark(way.name), {"starts": self._starts(way.name) + 1})
            self._open.add(way.name)
            identity, engine = way.identity(installed), None
            try:
                engine = way.open(installed, threshold)
            except PartFailed as error:
                if isinstance(error, GpuLost) or not way.renew(identity, error):
                    raise
                raise PartFailed(str(error), hint=error.hint, reason=AGAIN) from error
            if way.identity(installed) != identity:
                engine.close()
                raise PartFailed("it was built anew meanwhile", reason=AGAIN)
            self._identities = [*self._identities[-15:], (engine.info, identity)]
            return engine

        return open_it

    def admit(self, engine: Engine, installed: Installed) -> None:
        """See that this very build was found to agree, at this threshold. Blocks.

        Raises:
            PartFailed: it was not, so it does not serve.

        """
        way, identity = self.ways[engine.info.name], self.identity_of(engine.info)
        one = self._remembered(way, installed, identity)
        if one is None or not one.agreement.passed:
            raise PartFailed(
                f"this {way.name} engine was not compared with ONNX Runtime yet",
                hint="it is, while ONNX Runtime looks",
                reason=AGAIN,
            )

    def survived(self) -> None:
        """Forget which engines were opened: nothing came of it. Blocks."""
        while self._open:
            self._memory.forget(_mark(self._open.pop()))

    def forgive(self, name: str) -> None:
        """Let an engine be tried again that was refused in this run. Blocks."""
        self.refused.pop(name, None)
        self._memory.forget(_mark(name))

    def _starts(self, name: str) -> int:
        starts = (self._memory.get(_mark(name)) or {}).get("starts")
        return starts if isinstance(starts, int) else 0

    def look(self) -> None:
        """Say of each engine whether it could look on this box. Blocks for a moment."""
        for way in self.ways.values():
            untried = EngineOption(name=way.name, state="ready", why="it was not tried yet")
            self.options[way.name] = self.why_not(way) or untried

    async def consider(self, installed: Installed) -> None:
        """Try every engine that was not tried yet with a model. Raises GpuLost, PartFailed."""
        for way in self.ways.values():
            self.options[way.name] = await self._considered(way, installed)

    def best(self, installed: Installed) -> str:
        """Return the engine that was found best for a model. Blocks."""
        wanted = self._choice.wanted
        found = [
            (one.milliseconds / one.reference, way.name)
            for way in self._candidates(wanted)
            if (one := self._tried(way, installed)) is not None
            and (one.worth_it or (wanted == way.name and one.agreement.passed))
        ]
        return min(found)[1] if found else REFERENCE

    def _candidates(self, wanted: str) -> Sequence[Way]:
        if wanted == "auto":
            return list(self.ways.values())
        return [way for way in self.ways.values() if way.name == wanted]

    def _tried(self, way: Way, installed: Installed) -> Trial | None:
        if self.why_not(way) is not None:
            return None
        return self._remembered(way, installed, way.identity(installed))

    def _remembered(self, way: Way, installed: Installed, identity: str) -> Trial | None:
        return read(
            self._memory.get(self._trial_key(way, installed, identity)) if identity else None
        )

    def why_not(self, way: Way) -> EngineOption | None:
        """Say why an engine cannot look at all now; None: it can. Blocks."""
        lack = way.lacks()
        if lack is not None:
            return EngineOption(name=way.name, state="missing", why=lack[0], hint=lack[1])
        if way.on_gpu and self._faults.too_many:
            why = f"{_FAULTY} {self._faults.recent()} times within an hour"
            self.refused[way.name] = _Refusal(why=why, hint=_FAULTY_HINT)
        elif (gone := self.refused.get(way.name)) and gone.why.startswith(_FAULTY):
            del self.refused[way.name]
        if way.name not in self._open and self._starts(way.name) >= CRASHES:
            why = f"Edge ended {CRASHES} times without a word after it was opened"
            self.refused[way.name] = _Refusal(why=why, hint=f"edge engine use {way.name} tries it")
        refused = self.refused.get(way.name)
        if refused is not None:
            return EngineOption(name=way.name, state="refused", why=refused.why, hint=refused.hint)
        return None

    def _trial_key(self, way: Way, installed: Installed, identity: str) -> str:
        return trial_key(
            installed.digest,
            self._choice.threshold,
            way.name,
            identity,
            machine(),
            str(self._hands + (self._more if way.on_gpu else 0)),
        )

    def identity_of(self, info: EngineInfo) -> str:
        """Return which build an engine is; empty where that is not known."""
        return next((one for known, one in self._identities if known is info), "")

    def outdated(self, info: EngineInfo, installed: Installed) -> bool:
        """Whether what serves is an older build of the engine that ought to. Blocks."""
        way = self.ways.get(info.name)
        return way is not None and self.identity_of(info) != way.identity(installed)

    async def _considered(self, way: Way, installed: Installed) -> EngineOption:
        """Return how an engine is, after it was tried if it could be."""
        option = await asyncio.to_thread(self.why_not, way)
        if option is not None:
            return option
        if way not in self._candidates(self._choice.wanted):
            why = f"engine = {self._choice.wanted} asks for another one"
            return EngineOption(name=way.name, state="ready", why=why)
        identity = await asyncio.to_thread(way.identity, installed)
        if not identity:
            return await self._to_build(way, installed)
        one = await asyncio.to_thread(self._remembered, way, installed, identity)
        if one is None:
            try:
                one = await asyncio.to_thread(self._try, way, installed)
            except PartFailed as error:
                return await self._failed(way, installed, identity, error)
            key = self._trial_key(way, installed, identity)
            await asyncio.to_thread(self._memory.keep, key, written(one))
        self.pace = one.reference
        said = one.agreement.text
        if not one.agreement.passed and await asyncio.to_thread(way.refuse, identity, said):
            return await self._considered(way, installed)  # one that served before is back
        return _option_of(way, one, asked=self._choice.wanted == way.name)

    async def _failed(
        self, way: Way, installed: Installed, identity: str, error: PartFailed
    ) -> EngineOption:
        if isinstance(error, GpuLost):
            raise error
        again = error.reason == AGAIN
        if error.reason == "canary":
            again = await asyncio.to_thread(way.refuse, identity, str(error))
            error.hint = _instead(way)
        if again:
            return await self._considered(way, installed)
        self.could_not(way.name, error)
        return EngineOption(name=way.name, state="refused", why=str(error), hint=error.hint)

    async def _to_build(self, way: Way, installed: Installed) -> EngineOption:
        self._built_elsewhere = False
        try:
            begun = await way.build(installed, force=False)
        except (Rejected, PartFailed) as error:
            self._built_elsewhere = error.reason == "busy"
            state: Literal["refused", "to_build"] = "to_build"
            if error.reason == "refused":
                state = "refused"
            return EngineOption(name=way.name, state=state, why=str(error), hint=error.hint)
        if begun.state == "running":
            return EngineOption(name=way.name, state="building", why="it is being built")
        why = begun.reason or "it has to be built first"
        hint = begun.hint or "edge engine build"
        return EngineOption(name=way.name, state="to_build", why=why, hint=hint)

    def _try(self, way: Way, installed: Installed) -> Trial:
        """Try an engine beside ONNX Runtime. Blocks for seconds."""
        log.info("engine %s is tried beside ONNX Runtime", way.name)
        with (
            contextlib.closing(self._choice.reference(installed)) as reference,
            contextlib.closing(self._choice.other(way.name, installed)) as engine,
        ):
            more = self._more if way.on_gpu else 0
            return trial(engine, reference, self._agree, hands=self._hands, more=more)

    def could_not(self, name: str, error: PartFailed) -> None:
        """Let an engine serve no more in this run, unless it only has to be tried anew."""
        if error.reason == AGAIN:
            return
        self.refused[name] = _Refusal(why=str(error), hint=error.hint)

    def again(self) -> bool:
        """Whether to look again: after faults of the GPU, or for what another process builds."""
        faulty = any(one.why.startswith(_FAULTY) for one in self.refused.values())
        return self._built_elsewhere or (faulty and not self._faults.too_many)


def _mark(name: str) -> str:
    return f"opened {name}"


def _instead(way: Way) -> str:
    """Say what to do about an engine that sees other people than ONNX Runtime does."""
    if way.on_gpu:
        return "another engine looks; edge engine build --force builds it again"
    return "another engine looks; another version of this one's library may see as much"


def _option_of(way: Way, one: Trial, *, asked: bool) -> EngineOption:
    hint = ""
    if not one.agreement.passed:
        why = f"it does not agree with ONNX Runtime: {one.agreement.text}"
        hint = _instead(way)
    else:
        why = f"{one.milliseconds:.1f} ms a picture, ONNX Runtime {one.reference:.1f} ms"
        if not one.worth_it and not asked:
            why += ": not enough faster to take over"
    return EngineOption(
        name=way.name,
        state="ready" if one.agreement.passed else "refused",
        why=why,
        hint=hint,
        milliseconds=one.milliseconds,
        agreement=one.agreement,
    )
