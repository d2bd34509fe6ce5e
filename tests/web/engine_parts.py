"""A stand-in for the engines of a box: it keeps the promises of ``Engines``, and builds nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from edge.engine_status import Agreement, Build, EngineOption, EngineStatus, GpuFacts, Plan
from edge.errors import Rejected

KEY = "5d41402abc4b2a76b9719d911017c592aaf4c61ddcc5e8a2dabede0f3b482cd9"
OLD = "7d793037a0760186574b0282f2f435e7aaf4c61ddcc5e8a2dabede0f3b482cd9"
NO_GPU = GpuFacts(
    lacks="There is no NVIDIA driver: libcuda.so.1 is not there",
    hint="install the driver of the GPU",
)
GPU = GpuFacts(
    usable=True,
    device="NVIDIA RTX 4000 Ada",
    capability=(8, 9),
    driver="13.0",
    memory=20 * 2**30,
    library="tensorrt",
    library_version="11.4.0.106",
    pycuda="2026.1",
)
AGREES = Agreement(
    passed=True, text="it agrees", pictures=40, compared=212, found=212, score=0.01, overlap=0.97
)
ONNX = EngineOption(name="onnx", state="serving", why="It is always there", milliseconds=38.2)


def status_of(**facts: Any) -> EngineStatus:
    """Return the engines of a box without a GPU, but for what is given."""
    usual = EngineStatus(
        wanted="auto",
        serving="onnx",
        model="picodet_s_416",
        why="It is the fastest of those that are installed",
        options=(
            ONNX,
            EngineOption(
                name="openvino", state="missing", why="The package openvino is not installed"
            ),
            EngineOption(name="tensorrt", state="missing", why=NO_GPU.lacks),
            EngineOption(name="builtin", state="ready", why="It needs no model"),
        ),
        gpu=NO_GPU,
        canary="3 of 3 drawn people found",
    )
    return replace(usual, **facts)


def with_gpu(**facts: Any) -> EngineStatus:
    """Return the engines of a box whose GPU looks, but for what is given."""
    usual: dict[str, Any] = {
        "serving": "tensorrt",
        "why": "4.1 ms a picture, 9 times as fast as ONNX Runtime",
        "options": (
            EngineOption(
                name="tensorrt",
                state="serving",
                why="The fastest that agrees",
                milliseconds=4.1,
                agreement=AGREES,
            ),
            replace(ONNX, state="ready"),
            EngineOption(name="builtin", state="ready", why="It needs no model"),
        ),
        "plans": (plan(KEY, "serving"), plan(OLD, "last_good")),
        "gpu": GPU,
    }
    return status_of(**{**usual, **facts})


def plan(key: str, state: Any, **facts: Any) -> Plan:
    usual = Plan(
        key=key,
        model="picodet_s_416",
        state=state,
        bytes=9_400_000,
        built_at=datetime(2026, 5, 4, 8, 12, tzinfo=UTC),
        library="tensorrt 11.4.0.106",
        device="NVIDIA RTX 4000 Ada",
        seconds=143.0,
    )
    return replace(usual, **facts)


class MadeUpEngines:
    """Engines that only say what they were told to."""

    def __init__(self, status: EngineStatus | None = None) -> None:
        self.now = status or status_of()
        #: what was asked of them
        self.asked: list[tuple[object, ...]] = []

    def status(self) -> EngineStatus:
        return self.now

    async def build(self, model: str = "", *, force: bool = False) -> Build:
        self.asked.append(("build", model, force))
        gpu = self.now.gpu
        if gpu is None or not gpu.usable:
            message = "there is no GPU here that an engine could be built for"
            raise Rejected(message, hint="edge engine check", reason="no_gpu")
        if self.now.build.state == "running":
            raise Rejected("another engine is being built", hint="wait", reason="busy")
        build = Build(state="running", model=model or self.now.model, key=KEY, phase="parsing")
        self.now = replace(self.now, build=build)
        return build

    async def cancel(self) -> bool:
        self.asked.append(("cancel",))
        running = self.now.build.state == "running"
        if running:
            self.now = replace(self.now, build=replace(self.now.build, state="cancelled"))
        return running

    async def use(self, what: str) -> EngineStatus:
        self.asked.append(("use", what))
        ready = {one.name: one.state in ("ready", "serving") for one in self.now.options}
        ready |= {one.key: one.state != "refused" for one in self.now.plans} | {"auto": True}
        if what not in ready:
            raise Rejected(f"there is no engine {what!r}", hint="edge engine ls", reason="unknown")
        if not ready[what]:
            raise Rejected(f"{what} is not here", hint="install it", reason="missing")
        self.now = replace(self.now, wanted=what, serving=what)
        return self.now
