"""Engines, and a box that tries them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.app.engine_contest import Contest
from edge.app.gpu_faults import GpuFaults
from edge.config.detect import DetectConfig, ModelsConfig
from edge.contracts import Engine
from edge.control.engine_memory import Memory
from edge.control.engines import EngineChoice
from edge.detections import Detections
from edge.engine_status import Agreement, Build
from edge.errors import PartFailed, Rejected
from tests.stages.parts import FixedEngine


class Paced(FixedEngine):
    """Takes its time."""

    def __init__(self, seconds: float, name: str = "onnx") -> None:
        super().__init__()
        self.info = dataclasses.replace(self.info, name=name)
        self._seconds = seconds

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        time.sleep(self._seconds)
        return super().infer(batch, sources)


@dataclass
class Model:
    id: str = "m"
    path: Path = Path("m")
    digest: str = "d" * 64


@dataclass
class FakeWay:
    """An engine that is there, and remembers how often it was opened."""

    name: str = "openvino"
    on_gpu: bool = False
    seconds: float = 0.001
    lack: tuple[str, str] | None = None
    fails: str = ""
    version: str = "1"
    tries: int = 0
    #: the build that served before this one
    before: str = ""
    blind: bool = False
    built: Build = field(default_factory=Build)
    busy: bool = False
    #: told as soon as it was opened
    meanwhile: Callable[[FakeWay], None] | None = None
    opened: list[Paced] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    renewals: list[str] = field(default_factory=list)

    def lacks(self) -> tuple[str, str] | None:
        return self.lack

    def identity(self, model: Any) -> str:  # noqa: ARG002
        return self.version

    def open(self, model: Any, threshold: float | None) -> Engine:  # noqa: ARG002
        engine = self._open()
        self.opened.append(engine)
        return engine

    def _open(self) -> Paced:
        self.tries += 1
        if self.fails:
            raise PartFailed("it does not run", reason=self.fails)
        if self.meanwhile is not None:
            self.meanwhile(self)
        return Paced(self.seconds, self.name)

    async def build(self, model: Any, *, force: bool, asked: bool = False) -> Build:  # noqa: ARG002
        if self.busy:
            raise Rejected("another process builds", reason="busy")
        return self.built

    def refuse(self, identity: str, why: str) -> bool:
        self.refusals.append(f"{identity} {why}")
        if self.before:
            self.version, self.before, self.blind = self.before, "", False
            return True
        return False

    def renew(self, identity: str, error: PartFailed) -> bool:
        self.renewals.append(f"{identity} {error.reason}")
        if len(self.renewals) > 1 or self.built.state == "idle":  # nothing that is built
            return False
        self.version = ""
        return True

    def serves(self, identity: str) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is open."""


class Bench:
    """A contest as one start of a box has it; the next one has the same memory."""

    def __init__(
        self, home: Path, way: FakeWay, *, passed: bool = True, wanted: str = "auto"
    ) -> None:
        self.way, self.faults = way, GpuFaults(3)
        self.agreements = 0

        def agree(_: Engine, __: Engine) -> Agreement:
            self.agreements += 1
            sees = passed and not way.blind
            return Agreement(passed=sees, text="well" if sees else "it loses 3 of 20")

        self.choice = EngineChoice(
            DetectConfig.model_validate({"model": "m", "engine": wanted}),
            ModelsConfig(),
            models=Shelf(),
            onnx=lambda _, __: Paced(0.005),
            builtin=lambda _: FixedEngine(),
        )
        memory = Memory(home / "measured.json")
        ways: Any = {way.name: way}
        self.contest = Contest(self.choice, ways, memory, self.faults, agree, hands=1)
        self.choice.ways[way.name] = self.contest.opened(way)
        self.choice.best = self.contest.best
        self.choice.admit = self.contest.admit
        self.choice.failed = self.contest.could_not

    async def considered(self) -> tuple[str, str, str]:
        await self.contest.consider(Model())  # type: ignore[arg-type]
        option = self.contest.options[self.way.name]
        return option.state, option.why, self.contest.best(Model())  # type: ignore[arg-type]


class Shelf:
    def find(self, model: str) -> Model | None:
        return Model(id=model)

    async def pull(self, model: str, *, timeout: float) -> Model:  # noqa: ASYNC109, ARG002
        return Model(id=model)
