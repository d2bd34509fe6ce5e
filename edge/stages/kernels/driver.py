"""CUDA's driver by ctypes: memory, a module of kernels, launches. No Python package is needed.

pycuda ties every object to the thread that made it. A picture on the GPU is made in a camera's
thread and covered in one of the pool's, so this asks the driver itself: each call makes the
primary context (the one that TensorRT uses) current in the calling thread, and lets go of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np

from edge.errors import GpuLost, PartFailed
from edge.frame import Pixels
from edge.stages.engines.tensorrt_cuda import STICKY

LIBRARY = "libcuda.so.1"

_BUFFER, _SIZE, _END = 1, 2, 0
"""CU_LAUNCH_PARAM_BUFFER_POINTER, CU_LAUNCH_PARAM_BUFFER_SIZE, CU_LAUNCH_PARAM_END."""
_NON_BLOCKING = 1
_INT, _SIZE_T, _HANDLE = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p
_TO_HANDLE = ctypes.POINTER(ctypes.c_void_p)
_POINTER = ctypes.c_uint64
_CALLS: dict[str, tuple[object, ...]] = {
    "cuInit": (ctypes.c_uint,),
    "cuDeviceGet": (ctypes.POINTER(_INT), _INT),
    "cuDevicePrimaryCtxRetain": (_TO_HANDLE, _INT),
    "cuDevicePrimaryCtxRelease_v2": (_INT,),
    "cuCtxPushCurrent_v2": (_HANDLE,),
    "cuCtxPopCurrent_v2": (_TO_HANDLE,),
    "cuMemAlloc_v2": (ctypes.POINTER(_POINTER), _SIZE_T),
    "cuMemFree_v2": (_POINTER,),
    "cuMemcpyHtoDAsync_v2": (_POINTER, _HANDLE, _SIZE_T, _HANDLE),
    "cuMemcpyDtoHAsync_v2": (_HANDLE, _POINTER, _SIZE_T, _HANDLE),
    "cuMemsetD8Async": (_POINTER, ctypes.c_ubyte, _SIZE_T, _HANDLE),
    "cuModuleLoadData": (_TO_HANDLE, ctypes.c_char_p),
    "cuModuleUnload": (_HANDLE,),
    "cuModuleGetFunction": (_TO_HANDLE, _HANDLE, ctypes.c_char_p),
    "cuLaunchKernel": (_HANDLE, *[ctypes.c_uint] * 7, _HANDLE, _HANDLE, _HANDLE),
    "cuStreamCreate": (_TO_HANDLE, ctypes.c_uint),
    "cuStreamDestroy_v2": (_HANDLE,),
    "cuStreamSynchronize": (_HANDLE,),
}


class Driver:
    """One GPU: its primary context, and one stream on which everything happens in order.

    Args:
        device: which GPU, as the driver counts.
        library: name or path of the driver.

    Raises:
        PartFailed: ``no_gpu``: no driver, or no such GPU.

    Use it in a ``with``: that makes it current in this thread, and keeps other threads out.

    """

    def __init__(self, device: int = 0, library: str = LIBRARY) -> None:
        try:
            found = ctypes.CDLL(library)
            self._calls: dict[str, Callable[..., int]] = {
                name: _typed(found, name, arguments) for name, arguments in _CALLS.items()
            }
        except (OSError, AttributeError) as error:
            raise PartFailed(f"no NVIDIA driver: {error}", reason="no_gpu") from error
        self._lock = threading.RLock()
        self._depth = 0
        self._lost = False
        self._modules: list[ctypes.c_void_p] = []
        self._memory: set[int] = set()
        number, context, stream = _INT(), _HANDLE(), _HANDLE()
        try:
            self._call("cuInit", 0)
            self._call("cuDeviceGet", ctypes.byref(number), device)
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), number)
        except PartFailed as error:
            raise PartFailed(f"GPU {device}: {error}", reason="no_gpu") from error
        self._number, self._context, self._stream = number, context, stream
        with self:
            self._call("cuStreamCreate", ctypes.byref(stream), _NON_BLOCKING)

    @property
    def stream(self) -> ctypes.c_void_p:
        """The stream, for a library that puts its own work on it."""
        return self._stream

    @property
    def lost(self) -> bool:
        """Whether the GPU is lost to this process: nothing on it may be touched again."""
        return self._lost

    def __enter__(self) -> Self:
        self._lock.acquire()
        try:
            if not self._depth:
                self._call("cuCtxPushCurrent_v2", self._context)
        except PartFailed:
            self._lock.release()
            raise
        self._depth += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._depth -= 1
            if not self._depth:
                self._call("cuCtxPopCurrent_v2", ctypes.byref(_HANDLE()))
        finally:
            self._lock.release()

    def allocate(self, size: int) -> int:
        """Return the address of ``size`` bytes on the GPU; ``free`` gives them back.

        Raises:
            PartFailed: no room.

        """
        address = _POINTER()
        with self:
            self._call("cuMemAlloc_v2", ctypes.byref(address), size)
            self._memory.add(address.value)
        return address.value

    def free(self, address: int) -> None:
        """Give memory back."""
        with self:
            self._memory.discard(address)
            self._call("cuMemFree_v2", address)

    def clear(self, address: int, size: int) -> None:
        """Make it zeros, before whatever is started next."""
        with self:
            self._call("cuMemsetD8Async", address, 0, size, self._stream)

    def upload(self, address: int, pixels: Pixels) -> None:
        """Copy ``pixels``, dense, to the GPU; done when it returns."""
        dense = np.ascontiguousarray(pixels)
        with self:
            at = _HANDLE(dense.ctypes.data)
            self._call("cuMemcpyHtoDAsync_v2", address, at, dense.nbytes, self._stream)
            self.wait()

    def download(self, address: int, shape: tuple[int, ...]) -> Pixels:
        """Return uint8 of ``shape`` from the GPU, after all that was launched before."""
        pixels = np.empty(shape, np.uint8)
        with self:
            at = _HANDLE(pixels.ctypes.data)
            self._call("cuMemcpyDtoHAsync_v2", at, address, pixels.nbytes, self._stream)
            self.wait()
        return pixels

    def load(self, image: bytes, names: tuple[str, ...]) -> dict[str, int]:
        """Load a fatbin; return its kernels by name, for ``launch``.

        Raises:
            PartFailed: it holds nothing for this GPU and driver, or lacks one of ``names``.

        """
        module = _HANDLE()
        functions = {}
        with self:
            self._call("cuModuleLoadData", ctypes.byref(module), image)
            self._modules.append(module)
            for name in names:
                function = _HANDLE()
                self._call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
                functions[name] = function.value or 0
        return functions

    def launch(
        self,
        function: int,
        grid: tuple[int, int],
        block: tuple[int, int],
        layout: str,
        *values: float,
    ) -> None:
        """Start a kernel behind whatever was started before.

        Args:
            function: from ``load``.
            grid: blocks across and down.
            block: threads of a block across and down.
            layout: its parameters as ``struct`` writes them: natively aligned, as CUDA's are.
            values: what they are.

        """
        packed = ctypes.create_string_buffer(struct.pack(layout, *values))
        size = _SIZE_T(struct.calcsize(layout))
        extra = (_HANDLE * 5)(
            _BUFFER, ctypes.addressof(packed), _SIZE, ctypes.addressof(size), _END
        )
        with self:
            self._call(
                "cuLaunchKernel", function, *grid, 1, *block, 1, 0, self._stream, None, extra
            )

    def wait(self) -> None:
        """Wait until everything that was started is done."""
        with self:
            self._call("cuStreamSynchronize", self._stream)

    def close(self) -> None:
        """Let go of everything. Never raises. A lost GPU keeps it: to free it could hang."""
        if self._lost:
            return
        for address in tuple(self._memory):
            with contextlib.suppress(PartFailed):
                self.free(address)
        with contextlib.suppress(PartFailed), self:
            for module in self._modules:
                self._call("cuModuleUnload", module)
            self._call("cuStreamDestroy_v2", self._stream)
        with contextlib.suppress(PartFailed):
            self._call("cuDevicePrimaryCtxRelease_v2", self._number)

    def _call(self, name: str, *arguments: object) -> None:
        result = self._calls[name](*arguments)
        if result:
            what = f"{name} failed with CUDA error {result}"
            if result in STICKY:
                self._lost = True
                raise GpuLost(what)
            raise PartFailed(what, reason="gpu")


def _typed(library: ctypes.CDLL, name: str, arguments: tuple[object, ...]) -> Callable[..., int]:
    function = getattr(library, name)
    function.argtypes, function.restype = arguments, _INT
    return function  # type: ignore[no-any-return]
