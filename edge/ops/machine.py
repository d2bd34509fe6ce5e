"""What the machine says of itself: its clock, its temperature, which boot this is."""

from __future__ import annotations

import ctypes
from pathlib import Path

_UNSYNCHRONISED = 0x40
_TIMEX_BYTES, _TIMEX_STATUS = 208, 40
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SENSORS = Path("/sys/class/thermal")
_PLAUSIBLE = range(-60, 200)


def clock_synchronised() -> bool | None:
    """Ask the kernel (``adjtimex(2)``), as timedatectl does; None where it does not say."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        result = ctypes.CDLL(None).adjtimex(timex)
    except (OSError, AttributeError):
        return None
    if result < 0:
        return None
    status = int.from_bytes(timex.raw[_TIMEX_STATUS : _TIMEX_STATUS + 4], "little")
    return not status & _UNSYNCHRONISED


def temperature(sensors: Path = _SENSORS) -> float | None:
    """Return the hottest sensor in °C; None where there is none."""
    found = [degrees for path in sensors.glob("thermal_zone*/temp") if (degrees := _read(path))]
    return max((one for one in found if int(one) in _PLAUSIBLE), default=None)


def _read(path: Path) -> float | None:
    try:
        return int(path.read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return None  # a zone that is switched off says so with an error


def boot_id(path: Path = _BOOT_ID) -> str:
    """Return what tells this boot of the machine from others; empty where nothing does."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
