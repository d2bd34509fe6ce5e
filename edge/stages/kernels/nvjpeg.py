"""NVIDIA's nvJPEG by ctypes: a picture in GPU memory becomes a JPEG.

Only calls that nvjpeg.h of CUDA 12.4 and of 13.3 declare alike. Checked against both headers by
hand: names, order of arguments, ``nvjpegImage_t`` (four pointers, four pitches of ``size_t``),
``nvjpegDevAllocator_t`` (two functions), and the numbers below.

**Never run on a GPU.** What is known of it comes from the headers, from the real library that
refuses a box without a GPU, and from a library of our own in tests/gpu.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge.errors import PartFailed
from edge.frame import Pixels
from edge.stages.engines.tensorrt_probe import places
from edge.stages.kernels.driver import Driver

NAMES = ("libnvjpeg.so.13", "libnvjpeg.so.12", "libnvjpeg.so")
_WHEELS = ("nvidia/cu13/lib", "nvidia/nvjpeg/lib")
"""Where NVIDIA's wheels have it, below a directory of Python packages."""

_DEFAULT_BACKEND, _NO_FLAGS = 0, 0
_BASELINE, _CSS_420, _INPUT_BGRI = 0xC0, 2, 6
_STATUS = {
    1: "not initialised",
    2: "invalid parameter",
    5: "no memory",
    6: "execution failed",
    7: "not for this GPU",
    8: "internal error",
    9: "not supported",
    10: "incomplete",
}
_OUT_OF_MEMORY = 2
"""cudaErrorMemoryAllocation, for an allocator that is modelled after cudaMalloc."""
_RESTARTS = "nvjpegEncoderParamsSetRestartInterval"
"""Not in every library; without it there are no restart markers."""

_INT, _HANDLE = ctypes.c_int, ctypes.c_void_p
_OUT = ctypes.POINTER(_HANDLE)


class _Image(ctypes.Structure):
    """``nvjpegImage_t``."""

    _fields_ = (("channel", _HANDLE * 4), ("pitch", ctypes.c_size_t * 4))


_MALLOC = ctypes.CFUNCTYPE(_INT, _OUT, ctypes.c_size_t)
_FREE = ctypes.CFUNCTYPE(_INT, _HANDLE)


class _Allocator(ctypes.Structure):
    """``nvjpegDevAllocator_t``."""

    _fields_ = (("malloc", _MALLOC), ("free", _FREE))


_CALLS: dict[str, tuple[object, ...]] = {
    "nvjpegGetProperty": (_INT, ctypes.POINTER(_INT)),
    "nvjpegCreateEx": (_INT, ctypes.POINTER(_Allocator), _HANDLE, ctypes.c_uint, _OUT),
    "nvjpegDestroy": (_HANDLE,),
    "nvjpegEncoderStateCreate": (_HANDLE, _OUT, _HANDLE),
    "nvjpegEncoderStateDestroy": (_HANDLE,),
    "nvjpegEncoderParamsCreate": (_HANDLE, _OUT, _HANDLE),
    "nvjpegEncoderParamsDestroy": (_HANDLE,),
    "nvjpegEncoderParamsSetQuality": (_HANDLE, _INT, _HANDLE),
    "nvjpegEncoderParamsSetEncoding": (_HANDLE, _INT, _HANDLE),
    "nvjpegEncoderParamsSetOptimizedHuffman": (_HANDLE, _INT, _HANDLE),
    "nvjpegEncoderParamsSetSamplingFactors": (_HANDLE, _INT, _HANDLE),
    "nvjpegEncodeImage": (
        *(_HANDLE, _HANDLE, _HANDLE, ctypes.POINTER(_Image)),
        *(_INT, _INT, _INT, _HANDLE),
    ),
    "nvjpegEncodeRetrieveBitstream": (
        *(_HANDLE, _HANDLE, _HANDLE, ctypes.POINTER(ctypes.c_size_t), _HANDLE),
    ),
}


def candidates(library_path: str = "") -> Iterator[str]:
    """Yield what may be the library, the likelier first: files, then names for the loader.

    Args:
        library_path: a directory named by the operator (``[tensorrt] library_path``).

    """
    folders = [Path(library_path), Path(library_path, "lib")] if library_path else []
    packages = (*places(library_path), *filter(None, sys.path))
    folders += [Path(place, wheel) for place in packages for wheel in _WHEELS]
    for path in (folder / name for folder in folders for name in NAMES):
        if path.is_file():
            yield str(path)
    yield from NAMES


class NvJpeg:
    """An encoder with a buffer of its own. One thread makes it, uses it and closes it.

    GPU memory that somebody else gave back may still hold what a camera saw. So everything here
    comes zeroed, nvJPEG's own memory included, and is zeroed again before each picture: an upload
    that copies nothing leaves black, and nobody's picture.

    Args:
        driver: nobody else's; closed by whoever made it.
        library_path: see ``candidates``.

    Raises:
        PartFailed: ``no_library``, or ``gpu`` with what nvJPEG said. GpuLost: as the driver says.

    """

    def __init__(self, driver: Driver, library_path: str = "") -> None:
        self._driver = driver
        self._calls = _loaded(library_path)
        # nvJPEG keeps what it is handed: these live as long as this does
        self._allocator = _Allocator(_MALLOC(self._allocate), _FREE(self._free))
        self._handle, self._state, self._params = _HANDLE(), _HANDLE(), _HANDLE()
        self._address = self._size = 0
        version = [_INT(), _INT(), _INT()]
        with driver:
            for part, number in enumerate(version):
                self._call("nvjpegGetProperty", part, ctypes.byref(number))
            self.name = f"nvJPEG {'.'.join(str(number.value) for number in version)}"
            try:
                self._create()
            except PartFailed:
                self.close()
                raise

    def _create(self) -> None:
        stream = self._driver.stream
        allocator = ctypes.byref(self._allocator)
        handle = ctypes.byref(self._handle)
        self._call("nvjpegCreateEx", _DEFAULT_BACKEND, allocator, None, _NO_FLAGS, handle)
        state, params = ctypes.byref(self._state), ctypes.byref(self._params)
        self._call("nvjpegEncoderStateCreate", self._handle, state, stream)
        self._call("nvjpegEncoderParamsCreate", self._handle, params, stream)
        self._set("nvjpegEncoderParamsSetEncoding", _BASELINE)
        self._set("nvjpegEncoderParamsSetSamplingFactors", _CSS_420)
        self._set("nvjpegEncoderParamsSetOptimizedHuffman", 0)

    def encode(self, pixels: Pixels, quality: int) -> bytes:
        """Do what ``edge.contracts.JpegEncoder`` says, in the thread that made this."""
        height, width = pixels.shape[:2]
        with self._driver:
            self._make_room(pixels.nbytes)
            self._driver.clear(self._address, self._size)
            self._driver.upload(self._address, pixels)
            self._set("nvjpegEncoderParamsSetQuality", quality)
            if _RESTARTS in self._calls:
                self._set(_RESTARTS, width // 16)
            image = _Image()
            image.channel[0], image.pitch[0] = self._address, 3 * width
            self._call(
                *("nvjpegEncodeImage", self._handle, self._state, self._params),
                *(ctypes.byref(image), _INPUT_BGRI, width, height, self._driver.stream),
            )
            return self._retrieved(pixels.nbytes)

    def _retrieved(self, most: int) -> bytes:
        length = ctypes.c_size_t()
        self._retrieve(None, length)
        # what does not even save a byte is no JPEG of a picture; headers have some hundred bytes
        if not 0 < length.value <= most + 4096:
            raise PartFailed(f"nvJPEG says that a JPEG has {length.value} bytes", reason="gpu")
        body = (ctypes.c_char * length.value)()
        self._retrieve(body, length)
        return body.raw[: length.value]

    def _retrieve(self, body: Any, length: ctypes.c_size_t) -> None:
        self._call(
            *("nvjpegEncodeRetrieveBitstream", self._handle, self._state),
            *(body, ctypes.byref(length), self._driver.stream),
        )
        self._driver.wait()

    def close(self) -> None:
        """Give everything back but the driver. Never raises. A lost GPU keeps it."""
        if self._driver.lost:
            return
        with contextlib.suppress(PartFailed), self._driver:
            for name, handle in (
                ("nvjpegEncoderParamsDestroy", self._params),
                ("nvjpegEncoderStateDestroy", self._state),
                ("nvjpegDestroy", self._handle),
            ):
                if handle.value:
                    with contextlib.suppress(PartFailed):
                        self._call(name, handle)
                    handle.value = None
            if self._address:
                self._driver.free(self._address)
                self._address = self._size = 0

    def _make_room(self, size: int) -> None:
        if size <= self._size:
            return
        if self._address:
            self._driver.free(self._address)
            self._address = self._size = 0
        self._address = self._driver.allocate(size)
        self._size = size

    def _set(self, name: str, value: int) -> None:
        self._call(name, self._params, value, self._driver.stream)

    def _call(self, name: str, *arguments: object) -> None:
        status = self._calls[name](*arguments)
        if status:
            self._driver.wait()  # says whether the GPU is lost
            words = _STATUS.get(status, "unknown")
            raise PartFailed(f"{name} answered {status} ({words})", reason="gpu")

    def _allocate(self, at: Any, size: int) -> int:
        """``cudaMalloc`` for nvJPEG. Raises nothing: there is C above it."""
        at[0] = None
        try:
            address = self._driver.allocate(max(size, 1))
            self._driver.clear(address, max(size, 1))
            self._driver.wait()
        except PartFailed:
            return _OUT_OF_MEMORY
        at[0] = address
        return 0

    def _free(self, address: int | None) -> int:
        try:
            if address:
                self._driver.free(address)
        except PartFailed:
            return 1
        return 0


def _loaded(library_path: str) -> dict[str, Callable[..., int]]:
    why = ""
    for name in candidates(library_path):
        try:
            found = ctypes.CDLL(name)
            calls = {call: _typed(found, call, types) for call, types in _CALLS.items()}
        except (OSError, AttributeError) as error:
            why = why or str(error)
            continue
        if hasattr(found, _RESTARTS):
            calls[_RESTARTS] = _typed(found, _RESTARTS, (_HANDLE, ctypes.c_uint, _HANDLE))
        return calls
    raise PartFailed(
        f"nvJPEG cannot be loaded: {why}",
        hint="pip install nvidia-nvjpeg, or name its directory in [tensorrt] library_path",
        reason="no_library",
    )


def _typed(library: ctypes.CDLL, name: str, types: tuple[object, ...]) -> Callable[..., int]:
    function = getattr(library, name)
    function.argtypes, function.restype = types, _INT
    return function  # type: ignore[no-any-return]
