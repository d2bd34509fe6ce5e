"""What a box has of a GPU, its driver and the libraries that use it, found without importing any.

The driver is asked first: without one, TensorRT's runtime may end the process at its first use
(TensorRT 11.4, lean runtime), and no ``except`` catches that.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import sys
from dataclasses import replace
from importlib.machinery import PathFinder
from pathlib import Path

from edge.engine_status import GpuFacts

DRIVER = "libcuda.so.1"
"""The driver's library, which belongs to the driver and to no package of Python."""

LIBRARIES = ("tensorrt", "tensorrt_rtx")
"""Python packages with the runtime, the better first."""

_INTEGRATED = 18
"""CU_DEVICE_ATTRIBUTE_INTEGRATED."""
_DISTRIBUTIONS = {
    "tensorrt": ("tensorrt", "tensorrt_cu13", "tensorrt_cu12", "tensorrt_cu13_bindings"),
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_cu13", "tensorrt_rtx_cu13_bindings"),
    "pycuda": ("pycuda",),
}


def places(library_path: str = "") -> list[str]:
    """Return where the packages are looked for, in this order, besides ``sys.path``.

    Args:
        library_path: a directory named by the operator; empty: that of the system's own Python of
            the same version, where the packages of JetPack and Debian are.

    """
    if library_path:
        return [library_path]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    system = (f"/usr/lib/{version}/dist-packages", "/usr/lib/python3/dist-packages")
    return [place for place in system if Path(place).is_dir()]


def probe(library_path: str = "", device: int = 0) -> GpuFacts:
    """Say what there is, and what is missing first. Never raises; takes a moment the first time.

    Args:
        library_path: see ``places``.
        device: which GPU, as the driver counts.

    """
    # a machine that is being set up wants to know of all that is missing, not of the driver alone
    facts = _probed(library_path, device)
    if facts.usable:
        return facts
    library, version, pycuda = _libraries(library_path)
    return replace(facts, library=library, library_version=version, pycuda=pycuda)


def _probed(library_path: str, device: int) -> GpuFacts:
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return GpuFacts(
            lacks="no NVIDIA driver on this box",
            hint="an NVIDIA GPU needs its driver; without a GPU the processor looks",
        )
    try:
        return _look(driver, library_path, device)
    except AttributeError as error:
        return GpuFacts(
            lacks=f"the NVIDIA driver is too old: {error}", hint="install a newer driver"
        )


def _look(driver: ctypes.CDLL, library_path: str, device: int) -> GpuFacts:
    result, count = driver.cuInit(0), ctypes.c_int()
    if result == 0:
        result = driver.cuDeviceGetCount(ctypes.byref(count))
    if result != 0:
        return GpuFacts(
            lacks=f"the NVIDIA driver does not start: {_words(driver, result)}",
            hint="does nvidia-smi see the GPU? A container needs to be given it (--gpus all)",
        )
    if not 0 <= device < count.value:
        return GpuFacts(
            lacks=f"no GPU {device}: the driver has {count.value}",
            hint="set [tensorrt] device to one that nvidia-smi lists",
        )
    return _with_libraries(driver, library_path, device)


def _with_libraries(driver: ctypes.CDLL, library_path: str, device: int) -> GpuFacts:
    library, release, pycuda = _libraries(library_path)
    lacks, hint = "", ""
    if not library:
        lacks = "TensorRT is not installed"
        hint = "pip install tensorrt, or name its directory in [tensorrt] library_path"
    elif not pycuda:
        lacks = "pycuda is not installed"
        hint = "pip install pycuda, or name its directory in [tensorrt] library_path"
    handle, total = ctypes.c_int(), ctypes.c_size_t()
    version, integrated = ctypes.c_int(), ctypes.c_int()
    major, minor = ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGet(ctypes.byref(handle), device)
    driver.cuDeviceGetName(name, len(name), handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(total), handle)
    driver.cuDeviceComputeCapability(ctypes.byref(major), ctypes.byref(minor), handle)
    driver.cuDeviceGetAttribute(ctypes.byref(integrated), _INTEGRATED, handle)
    driver.cuDriverGetVersion(ctypes.byref(version))
    return GpuFacts(
        usable=True,
        lacks=lacks,
        hint=hint,
        device=name.value.decode(errors="replace"),
        capability=(major.value, minor.value),
        driver=f"{version.value // 1000}.{version.value % 1000 // 10}",
        memory=total.value,
        integrated=bool(integrated.value),
        library=library,
        library_version=release,
        pycuda=pycuda,
    )


def _libraries(library_path: str) -> tuple[str, str, str]:
    """Return the runtime's package and its version, and pycuda's version; empty: it is missing."""
    library = next((name for name in LIBRARIES if _is_there(name, library_path)), "")
    has_pycuda = _is_there("pycuda", library_path)
    version = _version(library, library_path) if library else ""
    return library, version, _version("pycuda", library_path) if has_pycuda else ""


def _words(driver: ctypes.CDLL, result: int) -> str:
    text = ctypes.c_char_p()
    driver.cuGetErrorString(result, ctypes.byref(text))
    return f"{(text.value or b'unknown').decode(errors='replace')} ({result})"


def _is_there(name: str, library_path: str) -> bool:
    """Tell whether a package could be imported. A folder without ``__init__`` is none."""
    spec = PathFinder.find_spec(name, [*sys.path, *places(library_path)])
    return spec is not None and spec.origin is not None


def _version(package: str, library_path: str) -> str:
    """Return the version of an installed package, all four parts; ``unknown`` without metadata."""
    where = [*sys.path, *places(library_path)]
    for name in _DISTRIBUTIONS[package]:
        for found in importlib.metadata.distributions(name=name, path=where):
            return found.version or "unknown"  # None where it is damaged
    return "unknown"
