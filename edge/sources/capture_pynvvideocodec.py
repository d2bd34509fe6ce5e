"""RTSP cameras that NVDEC decodes through NVIDIA's PyNvVideoCodec, in a process of its own.

``ffmpeg`` (which has the address, the login and the TLS) pipes the compressed stream into a child
of Edge's own program (``decode_child.py``), and the child's pictures come through shared memory.
The library is no dependency: who has it, in Python's or the system's packages, may use it.

No GPU was ever seen by this. The tests run the real library over a driver that is ours, and
for right pictures a library of ours that decodes with the processor.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.errors import PartFailed
from edge.frame import Pixels
from edge.ops.own_program import own_command, own_environment
from edge.sources.camera_address import Address
from edge.sources.decode_child import LIBRARY
from edge.sources.ffmpeg_pipe import FfmpegPipe, wait_for_end

_LOOK = 30.0
"""Seconds that the child may look for a GPU, its driver and the library."""


class PyNvReader:
    """A reader of an RTSP camera, opened once.

    Args:
        address: where it is.
        verify: check its certificate against the system's authorities.
        open_timeout, read_timeout: seconds without a byte after which it is given up.
        library_path: see ``places``.
        device: which GPU, as the driver counts.

    ``open``, ``grab`` and ``retrieve`` raise ``PartFailed`` where the child fails.
    """

    def __init__(
        self,
        address: Address,
        *,
        verify: bool,
        open_timeout: float,
        read_timeout: float,
        library_path: str = "",
        device: int = 0,
    ) -> None:
        self.pipe = FfmpegPipe(
            address, verify=verify, open_timeout=open_timeout, read_timeout=read_timeout
        )
        self._open_timeout = open_timeout
        self._read_timeout = read_timeout
        self._library_path = library_path
        self._device = device
        self._interrupted = False
        self._talk: socket.socket | None = None
        self._memory = -1
        self._shared: mmap.mmap | None = None
        #: the child, once it was started
        self.process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        stream, their_end = os.pipe()
        try:
            self._start(stream)
            self.pipe.start(their_end)
        finally:
            os.close(stream)
            os.close(their_end)
        if not self._ask(b"", self._open_timeout).get("ready"):
            raise PartFailed("ffmpeg could not open it in time", reason="not_opened")

    def _start(self, stream: int) -> None:
        self._talk, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Anonymous: raw pictures lie in no file.
        self._memory = os.memfd_create("pictures")
        with theirs:
            self.process = _child(
                theirs,
                *("--memory", str(self._memory), "--device", str(self._device)),
                library_path=self._library_path,
                stdin=stream,
                keep=self._memory,
            )
        if self._interrupted:
            self.process.kill()

    def grab(self) -> bool:
        return bool(self._ask(b"grab", self._read_timeout).get("more"))

    def retrieve(self) -> Pixels | None:
        said = self._ask(b"retrieve", self._read_timeout)
        if not said:
            return None
        width, height = int(said["width"]), int(said["height"])
        size = width * height * 3 // 2
        if os.fstat(self._memory).st_size < size:
            raise PartFailed("the process that decodes shares no picture")
        if self._shared is None or len(self._shared) < size:
            self._shared = mmap.mmap(self._memory, size, prot=mmap.PROT_READ)
        planes = np.frombuffer(self._shared, np.uint8, size).reshape(height * 3 // 2, width)
        return cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_NV12)  # type: ignore[return-value]

    def _ask(self, order: bytes, limit: float) -> dict[str, Any]:
        """Return the child's answer; nothing after a timeout, or if it was interrupted.

        Raises:
            PartFailed: the child says so, or died.

        """
        if self._talk is None or self.process is None:
            return {}
        self._talk.settimeout(limit)
        try:
            if order:
                self._talk.send(order)
            heard = self._talk.recv(4096)
        except TimeoutError:
            return {}
        except ConnectionError:
            heard = b""
        if self._interrupted:
            return {}
        if not heard:
            raise PartFailed(f"the process that decodes {_death(self.process)}")
        said: dict[str, Any] = json.loads(heard)
        if "error" in said:
            raise PartFailed(str(said["error"]), reason=str(said.get("reason", "")))
        return said

    @property
    def position(self) -> float:
        """Of no meaning for a camera."""
        return 0.0

    def close(self) -> None:
        """End both children."""
        self.interrupt()
        self.pipe.close()
        wait_for_end(self.process)
        if self._talk:
            self._talk.close()
            os.close(self._memory)
        self._talk = self._shared = None

    def interrupt(self) -> None:
        """End both children, and with them any read."""
        self._interrupted = True
        self.pipe.interrupt()
        if self.process:
            self.process.kill()


def why_not(library_path: str = "", device: int = 0) -> str:
    """Tell why this way decodes no camera on this box; empty: one may try. Blocks at first.

    Args:
        library_path: see ``places``.
        device: which GPU, as the driver counts.

    """
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver on this box"
    if PathFinder.find_spec(LIBRARY, [*sys.path, *places(library_path)]) is None:
        return f"{LIBRARY} is not installed"
    return _asked(library_path, device)


def places(library_path: str = "") -> list[str]:
    """Return where the library is looked for, besides Python's own packages.

    Args:
        library_path: a directory named by the operator; empty: those of the system's own Python
            of the same version.

    """
    if library_path:
        return [library_path]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    system = (
        f"/usr/local/lib/{version}/dist-packages",
        f"/usr/lib/{version}/dist-packages",
        "/usr/lib/python3/dist-packages",
    )
    return [place for place in system if Path(place).is_dir()]


@functools.cache
def _asked(library_path: str, device: int) -> str:
    """Have a child look: NVIDIA's libraries may end the process that they are in."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            process = _child(theirs, "--device", str(device), library_path=library_path)
        ours.settimeout(_LOOK)
        try:
            heard = ours.recv(4096)
        except TimeoutError:
            process.kill()
            return f"{LIBRARY} hangs"
        finally:
            process.wait()
    if not heard:
        return f"the process that tries {LIBRARY} {_death(process)}"
    return str(json.loads(heard).get("error", ""))


def _child(
    talk: socket.socket,
    *words: str,
    library_path: str,
    stdin: int = subprocess.DEVNULL,
    keep: int | None = None,
) -> subprocess.Popen[bytes]:
    where = os.pathsep.join(places(library_path))
    command, home = own_command("decode-child", "--talk", str(talk.fileno()))
    try:
        return subprocess.Popen(  # noqa: S603 (this very program)
            [*command, *words, "--library-path", where],
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[talk.fileno(), *([keep] if keep is not None else [])],
            cwd=home,
            env=own_environment(),
            # Ctrl-C at a terminal is for Edge, which then ends the child.
            start_new_session=True,
        )
    except OSError as error:
        raise PartFailed(f"the process that decodes cannot be started: {error}") from error


def _death(process: subprocess.Popen[bytes]) -> str:
    """Say how a child ended that closed its socket."""
    wait_for_end(process)
    code = process.returncode
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"died of {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
