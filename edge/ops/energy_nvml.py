"""The energy of NVIDIA GPUs, by the driver's own library (NVML). Shown with a fake of it so far.

A GPU's zone is its number here. One that has no counter of energy (older than Volta) has its
power added up; one that has neither, such as those in Jetson modules, is not asked again.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from edge.errors import PartFailed

NOT_SUPPORTED = "not_supported"
"""Reason of a ``PartFailed`` from a counter that shall not be asked again."""


class Gpu:
    """One GPU as a zone.

    Raises:
        PartFailed: it gives neither its energy nor its power.

    """

    def __init__(self, nvml: Any, number: int) -> None:
        self.zone = f"gpu{number}"
        self._nvml = nvml
        self._energy: int | None = None
        self._power: tuple[float, float] | None = None
        self._counts = True
        self._handle = self._ask(nvml.nvmlDeviceGetHandleByIndex, number)
        self._begin()

    def used(self, now: float) -> float:
        """Return the joules used since it was asked last; the first time 0.

        Raises:
            PartFailed: the driver says why; ``not_supported``: it shall not be asked again.

        """
        if self._counts:
            before, self._energy = self._energy, self._millijoules()
            # the driver was loaded anew: it counts from 0, and how far it had come is not known
            return max(0, self._energy - (self._energy if before is None else before)) / 1000
        last, self._power = self._power, None  # a gap is not filled with guesses
        watts = self._watts()
        self._power = (now, watts)
        return 0.0 if last is None else (watts + last[1]) / 2 * (now - last[0])

    def _begin(self) -> None:
        try:
            self._energy = self._millijoules()
        except PartFailed as error:
            if error.reason != NOT_SUPPORTED:
                raise
            self._counts = False
            self._watts()

    def _millijoules(self) -> int:
        return int(self._ask(self._nvml.nvmlDeviceGetTotalEnergyConsumption, self._handle))

    def _watts(self) -> float:
        return float(self._ask(self._nvml.nvmlDeviceGetPowerUsage, self._handle)) / 1000

    def _ask(self, call: Any, argument: Any) -> Any:
        nvml = self._nvml
        try:
            return call(argument)
        except nvml.NVMLError as error:
            never = (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND)
            raise PartFailed(
                f"{self.zone}: neither energy nor power: {error}"
                if error.value in never
                else f"{self.zone}: {error}",
                reason=NOT_SUPPORTED if error.value in never else "silent",
            ) from error


def find_gpus(proc: Path) -> tuple[list[Gpu], list[tuple[str, str]]]:
    """Find the GPUs whose energy or power has a value. Never raises.

    Returns:
        Them, and what cannot be read: why, and what to do about it.

    """
    try:
        import pynvml  # noqa: PLC0415 (optional)
    except ImportError:
        if not (proc / "driver/nvidia/version").exists():
            return [], []
        return [], [("the GPU's energy: nvidia-ml-py is not installed", "pip install 'edge[gpu]'")]
    try:
        pynvml.nvmlInit()
        many = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        return [], _why_none(pynvml, error)
    found: list[Gpu] = []
    unread: list[tuple[str, str]] = []
    for number in range(many):
        try:
            found.append(Gpu(pynvml, number))
        except PartFailed as error:
            unread.append((str(error), error.hint))
    return found, unread


def _why_none(nvml: Any, error: Any) -> list[tuple[str, str]]:
    """Say why there are none, unless there is simply no GPU."""
    with contextlib.suppress(nvml.NVMLError):
        nvml.nvmlShutdown()
    absent = (nvml.NVML_ERROR_LIBRARY_NOT_FOUND, nvml.NVML_ERROR_DRIVER_NOT_LOADED)
    if error.value in absent:
        return []
    return [(f"the GPU's energy: {str(error).rstrip('.')}", "nvidia-smi says more")]
