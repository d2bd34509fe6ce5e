"""What people see of the engines: which could look, which does, why, and what is being built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFacts:
    """What was found of a GPU, its driver and the libraries that use it. Nothing was imported."""

    #: a driver answers and has a device
    usable: bool = False
    #: what is missing first, in words; empty: nothing
    lacks: str = ""
    #: what to do about it
    hint: str = ""
    device: str = ""
    #: compute capability, ``(8, 7)``
    capability: tuple[int, int] = (0, 0)
    #: CUDA version that the driver supports, as ``13.0``
    driver: str = ""
    #: bytes
    memory: int = 0
    #: the GPU uses the processor's memory (Jetson): nothing needs to be copied
    integrated: bool = False
    #: ``tensorrt`` or ``tensorrt_rtx``; empty: neither is installed
    library: str = ""
    #: all four parts of its version
    library_version: str = ""
    pycuda: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far an engine agrees with its reference on the parity set."""

    passed: bool
    #: in words: what differed most, or that it agrees
    text: str
    pictures: int = 0
    #: detections of the reference that were compared
    compared: int = 0
    #: of these, found by the engine at the same place
    found: int = 0
    #: largest difference of a score
    score: float = 0.0
    #: smallest overlap (IoU) of two boxes that belong together
    overlap: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOption:
    """One engine that could look on this box."""

    #: ``tensorrt``, ``openvino``, ``onnx`` or ``builtin``
    name: str
    #: ``refused``: it is there and did not pass
    state: Literal["serving", "ready", "to_build", "building", "missing", "refused"]
    #: in words: what it lacks, or why it serves or does not
    why: str = ""
    hint: str = ""
    #: one picture on this box, as measured when the choice was made; None: not measured
    milliseconds: float | None = None
    agreement: Agreement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """How the building of an engine stands."""

    state: Literal["idle", "running", "done", "failed", "cancelled"] = "idle"
    model: str = ""
    #: key of the plan in the cache
    key: str = ""
    #: what the builder does now, in its words
    phase: str = ""
    #: 0 to 1; None: not known
    share: float | None = None
    seconds: float = 0.0
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A built engine in the cache."""

    key: str
    model: str
    #: ``refused``: it failed parity or the canary, and is not tried again
    state: Literal["serving", "last_good", "kept", "refused"]
    bytes: int
    built_at: datetime
    #: name and version of the library that built it, and for which device
    library: str
    device: str
    seconds: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """Everything about the engines of a box."""

    #: what the configuration or a command asks for: ``auto`` or a name
    wanted: str
    #: what serves now; empty: nothing
    serving: str
    model: str
    #: why this one, in words
    why: str
    options: Sequence[EngineOption] = ()
    build: Build = Build()
    #: what was built last is being tried beside ONNX Runtime: whether it will look is not known yet
    trying: bool = False
    plans: Sequence[Plan] = ()
    gpu: GpuFacts | None = None
    #: who encodes JPEGs, and why if not the GPU that the file asks for; empty: nobody was asked for
    encoder: str = ""
    #: how the serving engine did with the canary picture, in words
    canary: str = ""
    #: faults of the GPU within the last hour, over all starts
    faults: int = 0


class Engines(Protocol):
    """The engines of this box, for those who look at them and steer them."""

    def status(self) -> EngineStatus:
        """Say how they are. Cheap, never blocks, may be called from the loop at any time."""
        ...

    async def build(self, model: str = "", *, force: bool = False) -> Build:
        """Begin to build the TensorRT engine of a model, and return at once.

        Asked for twice, it is built once. What is built passes parity and canary before it serves.

        Args:
            model: its id; empty: the one that is wanted.
            force: build even if the cache has it.

        Raises:
            Rejected: ``no_gpu``, ``no_library``, ``no_model``, ``busy`` (another one is built).

        """
        ...

    async def cancel(self) -> bool:
        """Stop the builder; False if nothing is built now."""
        ...

    async def use(self, what: str) -> EngineStatus:
        """Let another engine look: a name, or the key of a built one. The old serves meanwhile.

        Raises:
            Rejected: ``unknown``, ``missing``; or it failed parity or canary, and nothing changed.

        """
        ...
