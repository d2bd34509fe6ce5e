"""NVDEC through the system's ffmpeg, which pipes whole frames.

ffmpeg would decode by itself, silently, what the GPU cannot. Here its output must come out of the
GPU's memory, so that such a stream fails and the log tells the truth. NVDEC itself was never seen
by this code; its tests have ffmpeg decode with the processor in its place, through the same pipe
and filters.
"""

from __future__ import annotations

import functools
import shutil
import subprocess

from edge.sources.ffmpeg_pipe import Passing

# NUT does not say whether a raw picture has the full range of values: it always gets the limited.
FROM_NV12 = "scale=out_range=tv,format=yuv420p"
# autoscale: a camera that changes its resolution must not change the size of raw frames.
RAW = ("-c:v", "rawvideo", "-autoscale", "1")
NVDEC = Passing(
    before=("-threads", "1", "-hwaccel", "cuda", "-hwaccel_output_format", "cuda"),
    output=("-vf", f"hwdownload,format=nv12|p010le,{FROM_NV12}", *RAW),
)
_PROBE = ("-v", "error", "-init_hw_device", "cuda", "-f", "lavfi", "-i", "nullsrc=s=16x16",
          "-frames:v", "1", "-f", "null", "-")  # fmt: skip


def probe() -> str:
    """Tell why no camera can be decoded by this box's GPU; empty: one may try. Blocks at first."""
    program = shutil.which("ffmpeg")
    return _asked(program) if program else "the program ffmpeg is not installed"


@functools.cache
def _asked(program: str) -> str:
    try:
        said = subprocess.run(  # noqa: S603 (a fixed program and fixed arguments)
            [program, "-hide_banner", *_PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"ffmpeg cannot be asked for a GPU: {error}"
    if not said.returncode:
        return ""
    first = said.stderr.decode(errors="replace").strip().partition("\n")[0]
    return f"ffmpeg finds no GPU: {first.rpartition('] ')[2] or 'it does not say why'}"
