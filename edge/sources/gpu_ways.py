"""The ways in which this box might have a GPU decode a camera, the best first."""

from __future__ import annotations

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


def gpu_ways(address: Address, **limits: Unpack[Limits]) -> list[Way]:
    """Return each way to read this camera; nothing is opened or asked yet."""
    pynv = partial(PyNvReader, address, **limits)
    ffmpeg = partial(FfmpegReader, address, **limits, passing=NVDEC)
    gst = partial(GstReader, address, **limits)
    return [
        Way("PyNvVideoCodec", capture_pynvvideocodec.why_not, pynv),
        Way("ffmpeg", capture_nvdec.probe, ffmpeg),
        Way("GStreamer", capture_gstreamer.why_not, gst),
    ]
