"""What must be set before the heavy libraries are imported. ``edge.__main__`` calls it first."""

from __future__ import annotations

import ctypes
import faulthandler
import os

_M_ARENA_MAX = -8


def settle_process() -> None:
    """Switch off what phones home, chatters or wastes memory, before anything is imported.

    - onnxruntime writes a device id and queues telemetry at import unless told not to.
    - OpenCV and its FFmpeg print addresses with credentials to standard error.
    - glibc gives each decoding thread an arena of its own, which costs megabytes a camera.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    faulthandler.enable()
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    except (OSError, AttributeError):  # not glibc: it costs memory, nothing else
        return
