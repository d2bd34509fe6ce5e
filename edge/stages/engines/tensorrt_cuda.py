"""CUDA through pycuda: a context of one thread, its streams, events and buffers, and its errors.

Everything here is made, used and freed by one thread, the one that opened the ``Device``: pycuda
leaks what another thread frees, and ends the process when a thread ends with a pushed context. It
is the primary context, which TensorRT and every other library in the process use, too.

Shown with pycuda on a driver in host memory (tests/gpu); not yet on a GPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edge.errors import GpuLost, PartFailed
from edge.stages.engines.tensorrt_probe import DRIVER, probe
from edge.stages.engines.tensorrt_runtime import reach

STICKY = frozenset({214, 220, 226, 700, 702, 710, *range(714, 720), 721, 911, 999})
"""Results after which the process cannot use the GPU again (cuda.h of CUDA 13.0)."""

LESS_MEMORY = "smaller [detect] max_batch, [tensorrt] slots = 1"
"""What to do where the GPU's memory is short."""
_OUT_OF_MEMORY = 2
_NON_BLOCKING = 1

_lost: list[str] = []
"""Why the GPU is lost to this process. There is no way back: its context is dead in all threads."""


class OutOfMemory(PartFailed):
    """The GPU's memory is full. Nothing else is wrong: less may fit."""

    default_reason = "gpu_memory"


class Device:
    """A GPU, as the thread that opened it sees it.

    Raises:
        PartFailed: ``no_gpu`` or ``no_library``. GpuLost: it is lost to this process.

    """

    def __init__(self, number: int, library_path: str = "") -> None:
        if _lost:
            raise GpuLost(f"the GPU is lost to this process: {_lost[0]}")
        facts = probe(library_path, number)
        if not facts.usable:
            raise PartFailed(facts.lacks, hint=facts.hint, reason="no_gpu")
        self.driver = ctypes.CDLL(DRIVER)
        self._texts = {self._text(code): code for code in (*STICKY, _OUT_OF_MEMORY)}
        self.cuda = _pycuda(library_path)
        #: the GPU uses the processor's memory: buffers are mapped, and nothing is copied
        self.integrated = facts.integrated
        with self.asked("opening the GPU"):
            self.cuda.init()
            self._context = self.cuda.Device(number).retain_primary_context()
            self._context.push()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Pop the context, whatever happened; a lost GPU's is not released."""
        self.cuda.Context.pop()
        if _lost:
            keep(self._context)
        else:
            self._context.detach()

    @contextlib.contextmanager
    def asked(self, what: str) -> Iterator[None]:
        """Translate pycuda's errors.

        Raises:
            OutOfMemory, GpuLost, PartFailed: ``gpu_failed``.

        """
        try:
            yield
        except self.cuda.Error as error:
            text = str(error)
            code = self._texts.get(text.partition(" failed: ")[2], 0)
            raise self._failure(code, f"{what}: {text}") from error

    def check(self, result: int, what: str) -> None:
        """Raise what a result of the driver means; 0 means nothing.

        Raises:
            OutOfMemory, GpuLost, PartFailed: ``gpu_failed``.

        """
        if result:
            raise self._failure(result, f"{what}: {self._text(result)} ({result})")

    def examine(self, stream: Stream, what: str) -> None:
        """Ask after the GPU itself, once a library has said that something failed.

        Raises:
            OutOfMemory, GpuLost: as the driver says; anything else is the library's to say.

        """
        result = self.driver.cuStreamQuery(ctypes.c_void_p(stream.handle))
        if result in STICKY or result == _OUT_OF_MEMORY:
            self.check(result, what)

    def stream(self) -> Stream:
        """Make a stream of its own, which waits for no other."""
        with self.asked("making a stream"):
            return Stream(self)

    def buffer(self, shape: tuple[int, ...], dtype: DTypeLike) -> Buffer:
        """Make a buffer on both sides.

        Raises:
            OutOfMemory: there is no room for it.

        """
        with self.asked(f"making a buffer of {shape}"):
            return Buffer(self, shape, dtype)

    def _failure(self, code: int, text: str) -> PartFailed:
        if code in STICKY:
            return lost(text)
        if code == _OUT_OF_MEMORY:
            return OutOfMemory(text, hint=LESS_MEMORY)
        return PartFailed(text, reason="gpu_failed")

    def _text(self, code: int) -> str:
        text = ctypes.c_char_p()
        self.driver.cuGetErrorString(code, ctypes.byref(text))
        return (text.value or b"").decode(errors="replace")


class Stream:
    """Work that the GPU does in order, and an event that says when it is done."""

    def __init__(self, device: Device) -> None:
        cuda = device.cuda
        self._device = device
        self.raw = cuda.Stream(_NON_BLOCKING)
        # without timing, and who waits for it sleeps
        self._event = cuda.Event(cuda.event_flags.BLOCKING_SYNC | cuda.event_flags.DISABLE_TIMING)

    @property
    def handle(self) -> int:
        """The driver's handle, for TensorRT and ctypes."""
        return int(self.raw.handle)

    def mark(self) -> None:
        """Let ``done`` speak of everything that is on the stream now."""
        with self._device.asked("recording an event"):
            self._event.record(self.raw)

    def done(self) -> bool:
        """Tell whether everything before the mark is done. Never blocks.

        Raises:
            GpuLost, PartFailed: something of it failed.

        """
        with self._device.asked("running a batch"):
            return bool(self._event.query())

    def free(self) -> None:
        """Free it here and now: what else knows of it may be dropped in any thread."""
        del self.raw, self._event


class Buffer:
    """An array in pinned memory, and the same on the GPU; on an integrated GPU it is the same."""

    def __init__(self, device: Device, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._device = device
        self._memory: Any = None
        cuda, mapped = device.cuda, device.integrated
        flags = cuda.host_alloc_flags.DEVICEMAP if mapped else 0
        #: ``shape``, what the processor sees
        self.host: NDArray[Any] = cuda.pagelocked_empty(shape, np.dtype(dtype), mem_flags=flags)
        self._pinned = self.host.base
        try:
            if mapped:
                self.address = int(self._pinned.get_device_pointer())
            else:
                self._memory = cuda.mem_alloc(self.host.nbytes)
                self.address = int(self._memory)
        except cuda.Error:
            self._pinned.free()
            raise

    def to_gpu(self, rows: int, stream: Stream) -> None:
        """Put a copy of the first rows on the stream."""
        if self._memory is not None:
            with self._device.asked("copying to the GPU"):
                self._device.cuda.memcpy_htod_async(self._memory, self.host[:rows], stream.raw)

    def to_host(self, rows: int, stream: Stream) -> None:
        """Put a copy of the first rows back on the stream."""
        if self._memory is not None:
            with self._device.asked("copying from the GPU"):
                self._device.cuda.memcpy_dtoh_async(self.host[:rows], self._memory, stream.raw)

    def spoil(self, rows: int, stream: Stream) -> None:
        """Put on the stream that the GPU's first rows become NaN (all bits set)."""
        if self._memory is not None:
            size = self.host[:rows].nbytes
            with self._device.asked("clearing the GPU's memory"):
                self._device.cuda.memset_d8_async(self._memory, 0xFF, size, stream.raw)

    def free(self) -> None:
        """Free both sides. ``host`` may not be used any more."""
        with self._device.asked("freeing memory"):
            if self._memory is not None:
                self._memory.free()
            self._pinned.free()


class Memory:
    """Memory of the GPU alone, as a library's workspace."""

    def __init__(self, device: Device, size: int) -> None:
        self._device = device
        with device.asked(f"making a workspace of {size} bytes"):
            self._memory = device.cuda.mem_alloc(max(size, 1))
        self.address = int(self._memory)

    def free(self) -> None:
        """Free it."""
        with self._device.asked("freeing memory"):
            self._memory.free()


def lost(why: str) -> GpuLost:
    """Note that the GPU is lost to this process, and return what says so."""
    _lost.append(why)
    return GpuLost(
        f"the GPU is lost to this process: {why}",
        hint="it starts anew by itself; if it keeps happening, look for Xid in the kernel's log",
    )


def is_lost() -> bool:
    """Tell whether the GPU is lost to this process."""
    return bool(_lost)


def keep(what: object) -> None:
    """Let something of a lost GPU never be freed, at the process's end neither: it could hang."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(what))


def _pycuda(library_path: str) -> Any:
    reach(library_path)
    try:
        return importlib.import_module("pycuda.driver")
    except ImportError as error:
        raise PartFailed(
            f"pycuda cannot be imported: {error}",
            hint="it has to be built on this box, for its CUDA and its Python",
            reason="no_library",
        ) from error
