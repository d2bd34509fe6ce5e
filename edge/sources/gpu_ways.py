"""The ways in which this box might have a GPU decode a camera, the best first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TypedDict, Unpack

from edge.sources import capture_gstreamer, capture_nvdec, capture_pynvvideocodec
from edge.sources.camera_address import Address
from edge.sources.capture_ffmpeg import FfmpegReader
from edge.sources.capture_gpu import Way
from edge.sources.capture_gstreamer import GstReader
from edge.sources.capture_nvdec import NVDEC
from edge.sources.capture_pynvvideocodec import PyNvReader


class Limits(TypedDict):
    """What every reader takes that is built on ffmpeg; see there."""

    verify: bool
    open_timeout: float
    read_timeout: float


@dataclass(frozen=True, slots=True)
class Gpu:
    """Which GPU, and where a library for it may be; see ``[tensorrt]``."""

    library_path: str = ""
    device: int = 0


def gpu_ways(address: Address, gpu: Gpu, **limits: Unpack[Limits]) -> list[Way]:
    """Return each way to read this camera; nothing is opened or asked yet.

    The GPU is PyNvVideoCodec's; ffmpeg takes the first one, and a Jetson has one.
    """
    place = (gpu.library_path, gpu.device)
    pynv = partial(PyNvReader, address, **limits, library_path=gpu.library_path, device=gpu.device)
    ffmpeg = partial(FfmpegReader, address, **limits, passing=NVDEC)
    gst = partial(GstReader, address, **limits)
    return [
        Way("PyNvVideoCodec", partial(capture_pynvvideocodec.why_not, *place), pynv),
        Way("ffmpeg", capture_nvdec.probe, ffmpeg),
        Way("GStreamer", capture_gstreamer.why_not, gst),
    ]
