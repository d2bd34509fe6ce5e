"""What people are told of the engines: how each is now, and why this one looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge.app.engine_contest import Contest
from edge.app.engine_ways import TensorRT
from edge.control.engines import REFERENCE, EngineChoice
from edge.engine_status import EngineOption
from edge.stages.engines.holder import EngineHolder

_TRIED_NOW = "it is built, and is tried beside ONNX Runtime now"


class Told:
    """Says how the engines are. Cheap, and never blocks.

    Args:
        choice: what is wanted.
        holder: what serves.
        contest: how each engine did.
        gpu: the engine that is built; None: there is none.
        down: says why no engine is up, as far as that is known.

    """

    def __init__(
        self,
        choice: EngineChoice,
        holder: EngineHolder,
        contest: Contest,
        gpu: Callable[[], TensorRT | None],
        down: Callable[[], str],
    ) -> None:
        self._choice, self._holder, self._contest = choice, holder, contest
        self._gpu, self._down = gpu, down

    def options(self, serving: str) -> list[EngineOption]:
        """Return every engine that could look, with what happened since it was considered."""
        info = self._holder.info
        return [
            *(self._up_to_date(one, serving) for one in self._contest.options.values()),
            EngineOption(
                name=REFERENCE,
                state="serving" if serving == REFERENCE else "ready",
                why="every other engine is measured against it",
                milliseconds=self._contest.pace,
            ),
            EngineOption(
                name="builtin",
                state="serving" if serving == "builtin" else "ready",
                why="safe mode: it covers what moves and needs no model"
                if info is None or not info.safe_mode
                else self._choice.missing or "it is wanted",
            ),
        ]

    def trying(self) -> bool:
        """Tell whether what was built last is tried, or will be in a moment."""
        gpu, info = self._gpu(), self._holder.info
        if gpu is None or info is None or info.safe_mode or not self._holder.up:
            return False  # nothing is tried there
        build = gpu.build_status()
        untried = gpu.built > gpu.tried and build.model == self._choice.model
        return untried and build.state != "running"

    def why(self, serving: str) -> str:
        """Say why this engine serves."""
        if not serving:
            return self._down() or "the first one is being opened"
        if serving == "builtin":
            return self._choice.missing or "the configuration asks for safe mode"
        wanted = self._choice.wanted
        if wanted == serving:
            return "it is asked for by its name"
        said = [
            f"{one.name}: {one.why}"
            for one in self._contest.options.values()
            if one.name != serving and one.state != "missing" and wanted in {"auto", one.name}
        ]
        if serving != REFERENCE:
            said.insert(0, "the fastest here that agrees with ONNX Runtime")
        return "; ".join(said) or "nothing else that could look is installed"

    def _up_to_date(self, option: EngineOption, serving: str) -> EngineOption:
        gpu, shown = self._gpu(), option
        if gpu is None or option.name != gpu.name:
            return replace(option, state="serving") if option.name == serving else option
        build = gpu.build_status()
        if build.state == "running":
            shown = replace(option, state="building", why="it is being built", hint="")
        elif self.trying():
            shown = replace(option, state="building", why=_TRIED_NOW, hint="")
        elif option.state == "building":
            shown = replace(option, state="to_build", why=build.reason, hint=build.hint)
        if option.name == serving:
            news = f"; built anew: {shown.why}" if shown is not option else ""
            return replace(option, state="serving", why=f"{option.why}{news}")
        return shown
