"""TensorRT's builder as far as Edge uses it; what it does is in ``ODD_TENSORRT``, by name.

``well``: the plan is the graph's bytes. ``large``: it is large. ``slow``: so it is, a second
later. ``hang``, ``crash``,
``leave``, ``eat`` (memory), ``chatter`` (on standard output), ``none``, ``raise``, ``nobuilder``.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

__version__ = "10.3.0.26"


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    class Severity:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class IProgressMonitor:
    pass


class NetworkDefinitionCreationFlag:
    STRONGLY_TYPED = 1


class MemoryPoolType:
    WORKSPACE = 0


class Tensor:
    def __init__(self, name: str) -> None:
        self.name = name
        self.shape = (-1, 32, 32, 3)


class Network:
    num_inputs, num_outputs = 1, 3
    body = b""

    def get_input(self, _index: int) -> Tensor:
        return Tensor("image")

    def get_output(self, index: int) -> Tensor:
        return Tensor(("boxes", "scores", "labels")[index])


class OnnxParser:
    num_errors = 0

    def __init__(self, network: Network, _logger: Any) -> None:
        self._network = network

    def parse(self, body: bytes) -> bool:
        self._network.body = body
        return True


class Profile:
    def set_shape(self, name: str, least: Any, usual: Any, most: Any) -> None:
        self.sizes = (name, least, usual, most)


class Cache:
    def serialize(self) -> bytes:
        return b"measured"


class Config:
    progress_monitor: Any = None

    def set_memory_pool_limit(self, *_said: Any) -> None:
        pass

    def add_optimization_profile(self, _profile: Profile) -> int:
        return 0

    def create_timing_cache(self, _body: bytes) -> Cache:
        return Cache()

    def set_timing_cache(self, _cache: Cache, _ignore: bool) -> bool:
        return True

    def get_timing_cache(self) -> Cache:
        return Cache()


class Builder:
    def __init__(self, logger: Any) -> None:
        if os.environ["ODD_TENSORRT"] == "nobuilder":
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger = logger

    def create_network(self, _flags: int) -> Network:
        return Network()

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        monitor = config.progress_monitor
        monitor.phase_start("Building engine", None, 2)
        monitor.step_complete("Building engine", 0)
        self._logger.log(ILogger.ERROR, "tactic 7 of layer conv_3 is out of memory")
        oddity = ODDITIES.get(os.environ["ODD_TENSORRT"])
        return oddity(network.body) if oddity else network.body


def _slow(body: bytes) -> bytes:
    time.sleep(1)
    return body


def _hang(_body: bytes) -> bytes:
    time.sleep(600)
    return b""


def _crash(_body: bytes) -> bytes:
    return ctypes.string_at(8)


def _eat(_body: bytes) -> bytes:
    held = []
    for _ in range(80):
        held.append(b"x" * 10_000_000)
        time.sleep(0.02)
    return held[0]


def _chatter(body: bytes) -> bytes:
    os.write(1, b'{"plan": "/elsewhere"}\n' + b"\xff" * 300_000 + b"\n")
    print('{"error": "not mine"}', flush=True)
    return body


def _raise(_body: bytes) -> bytes:
    raise RuntimeError("std::bad_alloc")


ODDITIES = {
    "slow": _slow,
    "hang": _hang,
    "crash": _crash,
    "leave": lambda _body: os._exit(7),
    "eat": _eat,
    "chatter": _chatter,
    "large": lambda _body: b"x" * 200_000,
    "none": lambda _body: None,
    "raise": _raise,
}
