"""TensorRT for tests: the names that Edge's runtime uses, on ONNX Runtime and the fake driver.

A plan is an ONNX graph with a profile in front (``plan_of``). Strict like the real one: it returns
False or None and says why in its log. ``README.md`` says what it cannot show.
"""

from __future__ import annotations

import ctypes
import enum
import json
from typing import Any, NoReturn

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

__version__ = "10.16.1.11"
MAGIC = b"FAKEPLAN"

#: what a test tells the runtime to do wrong: ``refuse_capture``, ``nan``, ``silent``,
#: ``wrong_labels``, ``frozen_replay``, ``refuse``, ``no_runtime``
faults: set[str] = set()
#: engines and contexts that were dropped where no context of CUDA was current
orphans: list[str] = []
#: sizes of the batches that were run, in order, replays not counted
ran: list[int] = []


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    INT64 = 8


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class ExecutionContextAllocationStrategy(enum.Enum):
    STATIC = 0
    ON_PROFILE_CHANGE = 1
    USER_MANAGED = 2


_TYPES = {
    "tensor(float)": (DataType.FLOAT, np.float32),
    "tensor(uint8)": (DataType.UINT8, np.uint8),
    "tensor(int32)": (DataType.INT32, np.int32),
    "tensor(int64)": (DataType.INT64, np.int64),
}
WORKSPACE = 1 << 20


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def log(self, severity: Severity, text: str) -> None:
        """Hear a line; nobody does, unless a subclass says so."""


def plan_of(graph: bytes, *, least: int = 1, most: int = 8) -> bytes:
    """Make a plan of an ONNX file."""
    return MAGIC + json.dumps({"least": least, "most": most}).encode() + b"\n" + graph


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        if "no_runtime" in faults:
            message = "pybind11::init(): factory function returned nullptr"
            raise TypeError(message)
        self.logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        if not plan.startswith(MAGIC):
            text = "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (magic tag)"
            self.logger.log(ILogger.Severity.ERROR, text)
            return None
        head, _, graph = plan[len(MAGIC) :].partition(b"\n")
        return Engine(graph, json.loads(head), self.logger)


class Engine:
    device_memory_size_v2 = WORKSPACE
    num_optimization_profiles = 1

    def __init__(self, graph: bytes, profile: dict[str, int], logger: ILogger) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.logger, self.profile = logger, profile
        self.inputs = {value.name: value for value in self.session.get_inputs()}
        self.outputs = {value.name: value for value in self.session.get_outputs()}
        self._all: dict[str, Any] = {**self.inputs, **self.outputs}
        self.num_io_tensors = len(self._all)

    def __del__(self) -> None:
        _note_orphan(self)

    def get_tensor_name(self, index: int) -> str:
        return list(self._all)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return _TYPES[self._all[name].type][0]

    def numpy_dtype(self, name: str) -> Any:
        return _TYPES[self._all[name].type][1]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        shape = self._all[name].shape
        return tuple(side if isinstance(side, int) else -1 for side in shape)

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        if index or name not in self.inputs:
            return [(), (), ()]
        least, most = self.profile["least"], self.profile["most"]
        rest = self.get_tensor_shape(name)[1:]
        return [(size, *rest) for size in (least, most, most)]

    def create_execution_context(
        self,
        strategy: ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy.STATIC,
    ) -> Context:
        return Context(self, strategy)


class Context:
    def __init__(self, engine: Engine, strategy: ExecutionContextAllocationStrategy) -> None:
        self.engine = engine
        self._needs_memory = strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        self._shape: tuple[int, ...] = ()
        self._addresses: dict[str, int] = {}
        self._driver = ctypes.CDLL("libcuda.so.1")
        #: calls that were put on a stream; a recorded one is called again by every replay
        self._calls: list[Any] = []

    def __del__(self) -> None:
        _note_orphan(self)

    def _refuse(self, text: str) -> bool:
        line = f"IExecutionContext: Error Code 3: API Usage Error ({text})"
        self.engine.logger.log(ILogger.Severity.ERROR, line)
        return False

    def set_device_memory(self, address: int, size: int) -> None:
        if not self._driver.fake_reachable(ctypes.c_void_p(address), ctypes.c_size_t(size)):
            message = "the workspace is not memory of the GPU"
            raise ValueError(message)
        self._needs_memory = False

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.get_tensor_profile_shape(name, 0)
        fits = all(low <= side <= high for low, side, high in zip(least, shape, most, strict=True))
        if not fits:
            return self._refuse(f"{shape} is not within the profile {least} to {most}")
        self._shape = tuple(shape)
        return True

    def infer_shapes(self) -> list[str]:
        return [] if self._shape else list(self.engine.inputs)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Put a run on the stream. In it, shapes are those of now, also where it is replayed."""
        if not stream_handle or self.infer_shapes() or self._needs_memory or "refuse" in faults:
            return self._refuse("enqueueV3 with a missing shape, address or workspace")
        if "refuse_capture" in faults and self._capturing(stream_handle):
            return self._refuse("operation not permitted when stream is capturing")
        views = {name: self._view(name) for name in self._addresses}
        frozen = views["image"].copy() if "frozen_replay" in faults else None
        ran.append(self._shape[0])
        engine = self.engine  # not self: a cycle would be freed by whichever thread collects it

        def call(_: Any) -> None:
            _run(engine, views, frozen)

        handle = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(call)
        self._calls.append(handle)
        result = self._driver.cuLaunchHostFunc(ctypes.c_void_p(stream_handle), handle, None)
        return result == 0 or self._refuse(f"Cuda Runtime (error {result})")

    def _capturing(self, stream_handle: int) -> bool:
        return bool(self._driver.fake_capturing(ctypes.c_void_p(stream_handle)))

    def _view(self, name: str) -> NDArray[Any]:
        shape = self.engine.get_tensor_shape(name)
        shape = tuple(self._shape[0] if side < 0 else side for side in shape)
        dtype = np.dtype(self.engine.numpy_dtype(name))
        size = int(np.prod(shape)) * dtype.itemsize
        address = self._addresses[name]
        if not self._driver.fake_reachable(ctypes.c_void_p(address), ctypes.c_size_t(size)):
            _stray(name)
        raw = (ctypes.c_ubyte * size).from_address(address)
        return np.frombuffer(raw, dtype).reshape(shape)


def _run(engine: Engine, views: dict[str, NDArray[Any]], frozen: NDArray[Any] | None) -> None:
    if "silent" in faults:
        return
    image = views["image"] if frozen is None else frozen
    names = list(engine.outputs)
    for name, value in zip(names, engine.session.run(names, {"image": image}), strict=True):
        views[name][...] = value
    if "nan" in faults:
        views["scores"][-1, -1] = np.nan
    if "wrong_labels" in faults:
        views["labels"][0, 0] = 99


def _note_orphan(what: object) -> None:
    if not ctypes.CDLL("libcuda.so.1").fake_depth():
        orphans.append(type(what).__name__)


def _stray(name: str) -> NoReturn:
    message = f"{name} reaches outside of the GPU's memory"
    raise ValueError(message)
