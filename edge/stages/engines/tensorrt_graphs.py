"""CUDA graphs: the work of a batch, recorded once and replayed by one call.

pycuda has no calls for them, so the driver is asked by ctypes. Recorded is what a call puts on a
stream: copies, kernels, and their addresses, so the buffers have to stay where they are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from edge.errors import PartFailed
from edge.stages.engines.tensorrt_cuda import Device, Stream

_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do does not matter."""


class Graph:
    """What ``enqueue`` puts on the stream, recorded. Run it once before, so that all is loaded.

    Raises:
        PartFailed: it cannot be recorded; the stream is as it was. GpuLost: as it says.

    """

    def __init__(self, device: Device, stream: Stream, enqueue: Callable[[], None]) -> None:
        self._device, self._stream = device, stream
        self._graph = ctypes.c_void_p()
        driver, handle = device.driver, ctypes.c_void_p(stream.handle)
        recorded = ctypes.c_void_p()
        device.check(driver.cuStreamBeginCapture_v2(handle, _THREAD_LOCAL), "beginning to record")
        failure: PartFailed | None = None
        try:
            enqueue()
        except PartFailed as error:
            failure = error
        finally:
            ended = driver.cuStreamEndCapture(handle, ctypes.byref(recorded))
        try:
            if failure is not None:
                raise failure
            device.check(ended, "recording")
            result = driver.cuGraphInstantiateWithFlags(
                ctypes.byref(self._graph), recorded, ctypes.c_ulonglong(0)
            )
            device.check(result, "making a graph")
        finally:
            if recorded.value is not None:
                driver.cuGraphDestroy(recorded)

    def launch(self) -> None:
        """Put the recorded work on the stream.

        Raises:
            OutOfMemory, GpuLost, PartFailed: as the driver says.

        """
        handle = ctypes.c_void_p(self._stream.handle)
        self._device.check(self._device.driver.cuGraphLaunch(self._graph, handle), "a graph")

    def free(self) -> None:
        """Free it."""
        self._device.driver.cuGraphExecDestroy(self._graph)
