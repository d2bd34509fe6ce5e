"""Counters of energy that Linux shows in sysfs: RAPL of processors, INA3221 of Jetson modules.

Sources: the kernel's ``power/powercap/powercap.rst`` and ``hwmon/ina3221.rst``, NVIDIA's Jetson
developer guide. Shown with trees like theirs; not on a Jetson yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.errors import PartFailed

_RAPL_HINT = (
    "sudo chgrp edge {0} && sudo chmod g+r {0} lets the group edge read it until the next boot. "
    "It tells other programs of that group, too, what the processor does (PLATYPUS)"
)
_WHOLE = (("VDD_IN",), ("POM_5V_IN",), ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"))
"""Rails that together are a whole module: Orin NX and Nano, Xavier NX; TX2, Nano; AGX Orin."""

Why = tuple[str, str]
"""What cannot be read and why, and what to do about it."""


class Rapl:
    """One domain of a processor: counts microjoules up to its range, then begins anew at 0."""

    def __init__(self, zone: str, path: Path) -> None:
        self.zone = zone
        self._path = path
        # without a range a step back cannot be told from a fresh start, and nothing is counted
        self._range = _number(path / "max_energy_range_uj", default=0)
        self._last = self._read()

    def used(self, now: float) -> float:
        del now
        value, last = self._read(), self._last
        self._last = value
        if value < last:
            return (value + self._range - last) / 1e6 if last <= self._range else 0.0
        return (value - last) / 1e6

    def _read(self) -> int:
        return _number(self._path / "energy_uj")


class Rails:
    """The rails that together feed a module. They tell power: it is added up from look to look."""

    def __init__(self, zone: str, rails: Sequence[tuple[Path, Path]]) -> None:
        self.zone = zone
        self._rails = rails
        self._last: tuple[float, float] | None = None
        self._watts()

    def used(self, now: float) -> float:
        before, self._last = self._last, None  # a gap is not filled with guesses
        watts = self._watts()
        self._last = (now, watts)
        if before is None:
            return 0.0
        return (watts + before[1]) / 2 * (now - before[0])

    def _watts(self) -> float:
        # millivolts times milliamperes
        return sum(_number(volts) * _number(amps) for volts, amps in self._rails) / 1e6


def find_processors(sys: Path) -> tuple[list[Rapl], list[Why]]:
    """Find processors and the memory that counts apart from them.

    ``core`` and ``uncore`` are parts of a package, ``psys`` and the MMIO twin hold it once more:
    they are left out, so that all zones may be added.
    """
    found: list[Rapl] = []
    unread: list[Why] = []
    for path in sorted((sys / "class/powercap").glob("intel-rapl:*")):
        zone = _domain(path)
        if not zone:
            continue
        try:
            found.append(Rapl(zone, path))
        except PartFailed as error:
            unread.append((f"{zone}: {error}", error.hint))
    return found, unread


def _domain(path: Path) -> str:
    """Return the zone's name, ``package-0`` or ``dram-0``; empty: not one to be counted."""
    name = _text(path / "name")
    if name == "dram":
        parent = path.with_name(path.name.rpartition(":")[0])
        return _text(parent / "name").replace("package", "dram")
    return name if name.startswith("package") else ""


def find_module(sys: Path) -> tuple[list[Rails], list[Why]]:
    """Find what a Jetson's whole module takes, measured by its INA3221."""
    rails: dict[str, tuple[Path, Path]] = {}
    for label in sorted(sys.glob("bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in[123]_label")):
        number = label.name[2]
        rails[_text(label)] = (
            label.with_name(f"in{number}_input"),
            label.with_name(f"curr{number}_input"),
        )
    for whole in _WHOLE:
        if set(whole) <= set(rails):
            try:
                return [Rails("module", [rails[name] for name in whole])], []
            except PartFailed as error:
                return [], [(f"module: {error}", error.hint)]
    if rails:
        names = ", ".join(sorted(rails))
        return [], [(f"the rails {names} are measured, but not what they add up to", "")]
    return [], []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _number(path: Path, default: int | None = None) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except PermissionError as error:
        if default is not None:
            return default
        raise PartFailed(
            f"{path} may be read by root only", hint=_RAPL_HINT.format(path), reason="forbidden"
        ) from error
    except (OSError, ValueError) as error:
        if default is not None:
            return default
        raise PartFailed(f"{path} has no number: {error}", reason="silent") from error
