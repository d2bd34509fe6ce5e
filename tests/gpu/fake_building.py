"""The builder of the fake ``tensorrt``: it checks little, optimises nothing, and takes its time.

A plan is the graph that was parsed, with the profile in front. ``FAKE_BUILD_S`` says how many
seconds a build takes; ``FAKE_BUILD_FAILS`` what it says instead of a plan. What it shows is that
Edge calls a builder in the right order and hears what it says; not that a real one takes a graph.
"""

from __future__ import annotations

import enum
import os
import time
from typing import Any

import onnxruntime as ort

from tests.gpu import fake_tensorrt as fake

STEPS = 20


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class IProgressMonitor:
    """Hears how far a build is; tests' builders call it from the building thread."""


class Tensor:
    def __init__(self, name: str, shape: list[Any]) -> None:
        self.name = name
        self.shape = tuple(side if isinstance(side, int) else -1 for side in shape)


class Network:
    def __init__(self) -> None:
        self.graph = b""
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_input(self, index: int) -> Tensor:
        return self.inputs[index]

    def get_output(self, index: int) -> Tensor:
        return self.outputs[index]


class OnnxParser:
    num_errors = 0

    def __init__(self, network: Network, logger: Any) -> None:
        self._network, self._logger = network, logger

    def parse(self, body: bytes) -> bool:
        session = ort.InferenceSession(body, providers=["CPUExecutionProvider"])
        self._network.graph = body
        self._network.inputs = [Tensor(one.name, one.shape) for one in session.get_inputs()]
        self._network.outputs = [Tensor(one.name, one.shape) for one in session.get_outputs()]
        return True


class Profile:
    def __init__(self) -> None:
        self.least, self.most = 1, 1

    def set_shape(self, name: str, least: Any, usual: Any, most: Any) -> None:
        assert least <= usual <= most, name
        self.least, self.most = least[0], most[0]


class TimingCache:
    def __init__(self, said: bytes) -> None:
        self._said = said

    def serialize(self) -> bytes:
        return self._said or b"measured"


class Config:
    builder_optimization_level = 3
    progress_monitor: Any = None

    def __init__(self) -> None:
        self.profile = Profile()
        self._cache: TimingCache | None = None

    def set_memory_pool_limit(self, pool: MemoryPoolType, limit: int) -> None:
        assert pool is MemoryPoolType.WORKSPACE
        assert limit > 0

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profile = profile
        return 0

    def create_timing_cache(self, said: bytes) -> TimingCache:
        return TimingCache(said)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        del ignore_mismatch
        self._cache = cache
        return True

    def get_timing_cache(self) -> TimingCache | None:
        return self._cache


class Builder:
    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def create_network(self, flags: int) -> Network:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return Network()

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        seconds = float(os.environ.get("FAKE_BUILD_S", "0"))
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, STEPS)
        for step in range(STEPS):
            time.sleep(seconds / STEPS)
            if not monitor.step_complete("Building", step):
                return None
        monitor.phase_finish("Building")
        if said := os.environ.get("FAKE_BUILD_FAILS"):
            self._logger.log(fake.ILogger.Severity.ERROR, said)
            return None
        return fake.plan_of(network.graph, least=config.profile.least, most=config.profile.most)


NAMES = {
    one.__name__: one
    for one in (
        Builder,
        IProgressMonitor,
        MemoryPoolType,
        NetworkDefinitionCreationFlag,
        OnnxParser,
    )
}
"""What the shim adds to the fake ``tensorrt``."""
