"""The fake GPU: where it lies, how a child process gets it, and how a test steers it.

The driver's library cannot be taken out of a process again, and a box without a GPU is what all
other tests are about. So code that needs one runs in a child with ``environment()``.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT

HERE = ROOT / "build" / "gpu"
#: for ``[tensorrt] library_path``: real pycuda, and ``tensorrt`` that is ``fake_tensorrt``
LIBRARY_PATH = HERE / "site"
ON = "EDGE_FAKE_GPU"
_LIBRARY = HERE / "lib" / "libcuda.so.1"
_NVJPEG = HERE / "lib" / "libnvjpeg.so.13"
_SHIM = """import sys
from tests.gpu import fake_building, fake_tensorrt
vars(fake_tensorrt).update(fake_building.NAMES)
sys.modules[__name__] = fake_tensorrt
"""
_VERSION = "10.16.1.11"
TIMEOUT_S = 400
"""For a whole file of tests in the child, on a busy machine: what the test that starts it gets."""


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a child that has the fake GPU; skip where it was not built.

    Args:
        more: ``FAKE_CUDA_DEVICES``, ``FAKE_CUDA_INIT``, ``FAKE_CUDA_VERSION``,
            ``FAKE_CUDA_INTEGRATED``, or anything else.

    """
    # at once where all is there; it waits for one that is building already
    subprocess.run([ROOT / "packaging" / "test-pycuda"], check=True)
    if not (HERE / ".site").exists() or not _LIBRARY.exists():
        text = "needs pycuda and a fake driver: packaging/test-pycuda builds them once (2 minutes)"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    _write(LIBRARY_PATH / "tensorrt" / "__init__.py", _SHIM)
    facts = f"Metadata-Version: 2.1\nName: tensorrt\nVersion: {_VERSION}\n"
    _write(LIBRARY_PATH / f"tensorrt-{_VERSION}.dist-info" / "METADATA", facts)
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(_LIBRARY.parent),
        "PYTHONPATH": str(ROOT),
        "ORT_DISABLE_TELEMETRY": "1",
        ON: "1",
        **more,
    }


def expect_tests_to_pass(what: str, *options: str, **more: str) -> None:
    """Run tests in a child that has the fake GPU; fail with what they say."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        f"--timeout={TIMEOUT_S - 20}",
    ]
    run = subprocess.run(
        [*command, *options, what],
        env=environment(**more),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S - 10,
        check=False,
    )
    if run.returncode:
        pytest.fail(f"on the fake GPU:\n{run.stdout[-8000:]}{run.stderr[-2000:]}", pytrace=False)


def _write(path: Path, text: str) -> None:
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(text)
    new.replace(path)


class FakeNvJpeg:
    """The nvJPEG of this process, as a test steers it; skips where it was not built."""

    def __init__(self) -> None:
        if not _NVJPEG.exists():
            text = "needs a fake nvJPEG: libjpeg62-turbo-dev, then packaging/test-pycuda"
            if os.environ.get("CI"):
                pytest.fail(text)
            pytest.skip(text)
        self._library = ctypes.CDLL(str(_NVJPEG))
        for name in ("live", "pictures", "dirty"):
            getattr(self._library, f"fake_nvjpeg_{name}").restype = ctypes.c_long
        #: what a lost GPU has for ever
        self._before = int(self._library.fake_nvjpeg_live())

    def reset(self) -> None:
        """Make everything well, and count from 0."""
        self._library.fake_nvjpeg_reset()

    def fault(self, name: str, after: int = 0) -> None:
        """Err from now on as ``nvjpeg.c`` says, after so many pictures."""
        self._library.fake_nvjpeg_fault(name.encode(), after)

    def left(self) -> int:
        """Count the handles, states and parameters that were made since and not destroyed."""
        return int(self._library.fake_nvjpeg_live()) - self._before

    def pictures(self) -> int:
        """Count the pictures that were encoded."""
        return int(self._library.fake_nvjpeg_pictures())

    def dirty(self) -> int:
        """Count the pieces of GPU memory that it got and that were not zeros."""
        return int(self._library.fake_nvjpeg_dirty())


class FakeGpu:
    """The driver of this process, as a test steers it. Only where ``environment`` was given."""

    _KINDS = ("device", "pinned", "streams", "events", "graphs", "contexts")

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        self._library.fake_in_use.restype = ctypes.c_size_t
        #: what engines that lost their GPU hold for ever
        self._before = int(self._library.fake_in_use())

    def reset(self) -> None:
        """Make everything well: also what is sticky, which no real driver does."""
        self._library.fake_reset()

    def fail(self, call: str, code: int, *, after: int = 0, times: int = 1) -> None:
        """Let a call fail, as ``cuMemAlloc_v2``; with a sticky code every later call fails, too."""
        self._library.fake_fail(call.encode(), after, code, times)

    def latency(self, seconds: float) -> None:
        """Let what is put on a stream be done only after so long."""
        self._library.fake_latency(ctypes.c_double(seconds * 1000))

    def hang(self, yes: bool) -> None:
        """Let nothing that is put on a stream ever be done."""
        self._library.fake_hang(int(yes))

    def deaf(self, yes: bool) -> None:
        """Forget every copy to the host."""
        self._library.fake_deaf(int(yes))

    def lazy(self, yes: bool) -> None:
        """Forget every copy to the GPU."""
        self._library.fake_lazy(int(yes))

    def memory(self, size: int) -> None:
        """Have so many bytes, besides what was in use when the test began."""
        self._library.fake_memory(ctypes.c_size_t(self._before + size))

    def in_use(self) -> int:
        """Count the bytes of memory that were allocated since the test began."""
        return int(self._library.fake_in_use()) - self._before

    def left(self) -> dict[str, int]:
        """Count what was made and not freed."""
        counts = {kind: self._library.fake_live(i) for i, kind in enumerate(self._KINDS)}
        return {kind: count for kind, count in counts.items() if count}

    def launches(self) -> int:
        """Count the graphs that were launched."""
        return int(self._library.fake_launches())

    def copies(self) -> int:
        """Count the asynchronous copies."""
        return int(self._library.fake_copies())
