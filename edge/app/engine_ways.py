"""The engines beside ONNX Runtime that can run a trained model, each behind the same few calls.

What a box does not have is not imported: whether OpenVINO is installed is read from its metadata,
and a GPU is asked for through the driver alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Protocol

from edge.app.plan_order import facts_of, order_of
from edge.app.selftest import drawn
from edge.catalog.installed import Installed
from edge.catalog.plans import Plans
from edge.config.root import Config
from edge.contracts import Engine
from edge.control.builds import Builds, Order
from edge.detections import EngineInfo
from edge.engine_status import Agreement, Build, GpuFacts, Plan
from edge.errors import PartFailed
from edge.stages.detect import prepare
from edge.stages.engines.tensorrt_runtime import reach

log = logging.getLogger(__name__)

FLOOR = 0.01
"""Scores below are nothing, in every form of a graph."""


PARITY_FRAMES = range(0, 40, 2)
"""Frames of the drawn scene over which engines are compared: 100 people and more."""


class Way(Protocol):
    """Another engine. What blocks says so."""

    name: str
    #: it needs the GPU
    on_gpu: bool

    def lacks(self) -> tuple[str, str] | None:
        """Say what this box lacks for it, and what to do about that. Blocks at the first call."""
        ...

    def identity(self, model: Installed) -> str:
        """Return what a trial of it depends on; empty: it has to be built first. Blocks."""
        ...

    def open(self, model: Installed, threshold: float | None) -> Engine:
        """Open it with an installed model. Blocks. Raises PartFailed."""
        ...

    async def build(self, model: Installed, *, force: bool, asked: bool = False) -> Build:
        """Begin to build it where it has to be. Raises Rejected, PartFailed."""
        ...

    def refuse(self, identity: str, why: str) -> bool:
        """Never use this build again. Blocks. True: another one that served is back."""
        ...

    def renew(self, identity: str, error: PartFailed) -> bool:
        """Throw away a build that cannot be opened. Blocks. False: that is of no use."""
        ...

    def serves(self, identity: str) -> None:
        """Write down which build serves now; empty: none does. Blocks."""
        ...

    async def close(self) -> None:
        """End what is under way."""
        ...


class OpenVino:
    """OpenVINO on the processor.

    Args:
        library_path: where it may be beside Python's own packages; empty: only there.

    """

    name = "openvino"
    on_gpu = False

    def __init__(self, library_path: str = "") -> None:
        if library_path:
            reach(library_path)

    def lacks(self) -> tuple[str, str] | None:
        """Say what this box lacks for it."""
        if _version("openvino"):
            return None
        return "OpenVINO is not installed", "pip install 'edge[openvino]'"

    def identity(self, model: Installed) -> str:  # noqa: ARG002 (the contract's)
        """Return its version."""
        return f"openvino {_version('openvino')}"

    def open(self, model: Installed, threshold: float | None) -> Engine:
        """Open it. Raises PartFailed."""
        from edge.stages.engines.openvino import OpenVinoEngine  # noqa: PLC0415

        return OpenVinoEngine.open(model.path, threshold=threshold)

    async def build(self, model: Installed, *, force: bool, asked: bool = False) -> Build:  # noqa: ARG002
        """Nothing has to be built."""
        return Build()

    def refuse(self, identity: str, why: str) -> bool:  # noqa: ARG002 (the contract's)
        """The trial is remembered; there is nothing else to mark."""
        return False

    def renew(self, identity: str, error: PartFailed) -> bool:  # noqa: ARG002
        """Nothing is built."""
        return False

    def serves(self, identity: str) -> None:
        """Nothing has to be kept."""

    async def close(self) -> None:
        """Nothing is under way."""


class TensorRT:
    """TensorRT on the GPU: plans are built in a child process and kept.

    Args:
        config: of the box.
        state: its state directory.
        changed: told on the loop that a build has ended.

    """

    name = "tensorrt"
    on_gpu = True

    def __init__(self, config: Config, state: Path, changed: Callable[[], None]) -> None:
        self._config = config
        self._trt = config.tensorrt
        self._changed = changed
        self.plans = Plans(state / "engines" / "plans", self._trt.keep)
        self.builds = Builds(self._trt, self.plans, changed=self._told)
        #: what was found of the GPU; as good as empty before the first look
        self.facts = GpuFacts(lacks="it was not looked for yet")
        self._probed = False
        self._shown: Sequence[Plan] = ()
        #: digest of a canonical graph: its engine form, and what a plan of it depends on
        self._forms: dict[str, tuple[bytes, str]] = {}
        self._state = "idle"
        #: keys of plans that the library refused, and that were built once more
        self._thrown: set[str] = set()
        #: plans that were built since the start; as many of them were tried already
        self.built = self.tried = 0
        #: a key that is to be used instead of the newest; empty: that
        self.pinned = ""

    def lacks(self) -> tuple[str, str] | None:
        """Say what is missing first. Blocks at the first call."""
        if not self._probed:
            from edge.stages.engines.tensorrt_probe import probe  # noqa: PLC0415

            self.facts = probe(self._trt.library_path, self._trt.device)
            self._probed = True
            self._list()
        if self.facts.lacks or not self.facts.usable:
            return self.facts.lacks or "there is no GPU", self.facts.hint
        return None

    def identity(self, model: Installed) -> str:
        """Return the plan's key and when it was built; empty: there is none yet."""
        pinned = self._there(self.pinned) if self.pinned else ""
        return pinned or self._there(self._order(model).key)

    def _there(self, key: str) -> str:
        plan = self.plans.find(key)
        if plan is None or plan.state == "refused":
            return ""
        return f"{key} {plan.built_at.isoformat()}"

    def open(self, model: Installed, threshold: float | None) -> Engine:
        """Open the plan. Raises PartFailed: there is none, or it does not run."""
        from edge.stages.engines.tensorrt import TensorRTEngine  # noqa: PLC0415

        return TensorRTEngine.open(
            self.plans.read(_key(self.identity(model))),
            self._info(model, threshold),
            config=self._trt,
            detect=self._config.detect,
            nms_iou=model.manifest.nms_iou,
        )

    def _info(self, model: Installed, threshold: float | None) -> EngineInfo:
        manifest, (_, digest) = model.manifest, self._form(model)
        own = manifest.threshold if threshold is None else threshold
        return EngineInfo(
            name=self.name,
            model=model.id,
            digest=digest,
            input_size=manifest.input.size,
            resize=manifest.input.resize,
            pad=manifest.input.pad,
            threshold=max(FLOOR, own),
            labels=tuple(manifest.labels),
        )

    def serves(self, identity: str) -> None:
        """Write down which plan serves now; empty: none does. Blocks."""
        key, _, built_at = identity.partition(" ")
        self.plans.serve(key, built_at)
        self._thrown.discard(key)
        self._list()

    async def build(self, model: Installed, *, force: bool, asked: bool = False) -> Build:
        """Begin to build; not by itself where the configuration says so, or where it failed."""
        now = self.builds.now
        if not asked and (not self._trt.build or now.state in {"failed", "cancelled"}):
            return now
        order = await asyncio.to_thread(self._order, model)
        return await self.builds.begin(order, force=force)

    async def cancel(self) -> bool:
        """Stop the builder; False if nothing is built now."""
        return await self.builds.cancel()

    def refuse(self, identity: str, why: str) -> bool:
        """Never use this plan again. Blocks. True: the one that served before it is back."""
        key, _, built_at = identity.partition(" ")
        another = self.plans.refuse(key, why, built_at)
        self._list()
        return another

    def renew(self, identity: str, error: PartFailed) -> bool:
        """Throw away a plan that the library refuses; one that it refuses twice is refused."""
        key, _, built_at = identity.partition(" ")
        if error.reason == "bad_plan" and key in self._thrown:
            return self.refuse(identity, str(error))
        if error.reason == "bad_plan":
            self._thrown.add(key)
            self.plans.discard(key, str(error), built_at)
        self._list()
        return self._there(key) != identity

    async def close(self) -> None:
        """Stop the builder."""
        await self.builds.close()

    def build_status(self) -> Build:
        """Return how building stands."""
        return self.builds.now

    def plans_shown(self) -> Sequence[Plan]:
        """Return the plans as they were at the newest change."""
        return self._shown

    def _told(self, build: Build) -> None:
        before, self._state = self._state, build.state
        if before == "running" and build.state != "running":
            self._changed()

    def _list(self) -> None:
        try:
            self._shown = self.plans.ls()
        except PartFailed as error:
            log.warning("%s. %s", error, error.hint)
            self._shown = ()

    def _order(self, model: Installed) -> Order:
        """Say what has to be built for a model. Blocks at its first call for a model."""
        form, _ = self._form(model)
        facts = facts_of(model.id, form, self.facts, self._trt, most=self._config.detect.max_batch)
        order = order_of(facts, form, self._trt, self.plans)

        def keep(made: Path, seconds: float, words: str) -> Plan:
            plan = order.keep(made, seconds, words)
            self._list()  # before anybody hears that it is built
            self.built += 1
            return plan

        return replace(order, keep=keep)

    def _form(self, model: Installed) -> tuple[bytes, str]:
        """Return a model's engine form and its digest. Blocks for a second at the first call."""
        known = self._forms.get(model.digest)
        if known is None:
            from edge.catalog.engine_form import engine_form_of  # noqa: PLC0415 (onnx)

            form = engine_form_of(model)
            known = form, hashlib.sha256(form).hexdigest()
            self._forms = {model.digest: known}
        return known


def parity(reference: Engine, engine: Engine) -> Agreement:
    """Compare an engine with its reference over drawn scenes. Blocks for seconds.

    Raises:
        PartFailed: one of them broke.

    """
    from edge.catalog.parity import agreement  # noqa: PLC0415

    pictures = [prepare(pixels, reference.info)[0] for pixels, _ in drawn(PARITY_FRAMES)]
    return agreement(reference, engine, pictures)


def ways_of(config: Config, state: Path, changed: Callable[[], None]) -> Mapping[str, Way]:
    """Return the engines that could be had beside ONNX Runtime."""
    ways: list[Way] = [TensorRT(config, state, changed), OpenVino(config.tensorrt.library_path)]
    return {way.name: way for way in ways}


def _key(identity: str) -> str:
    return identity.partition(" ")[0]


def machine() -> str:
    """Return what the pace of an engine on a processor depends on."""
    return f"{platform.machine()} {_processor()} {os.cpu_count()} onnx {_version('onnxruntime')}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), ""
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
