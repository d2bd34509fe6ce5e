"""The energy that this machine uses, read from the counters that it has. Nothing is estimated.

A zone is a part of the machine with a counter of its own. Zones never overlap, so they may be
added: processors and their memory (RAPL), each NVIDIA GPU (NVML), or a Jetson's whole module,
beside which nothing else is counted. What has no counter (disks, fans, the power supply's own
loss; on a PC everything but processor and GPU) is in none of the numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge.errors import PartFailed
from edge.ops.energy_nvml import NOT_SUPPORTED, find_gpus
from edge.ops.energy_sysfs import find_module, find_processors

log = logging.getLogger(__name__)

STALE = 10.0
"""Seconds after which a counter that does not move, or does not answer, says nothing."""


class Counter(Protocol):
    """Counts the energy of one zone."""

    zone: str

    def used(self, now: float) -> float:
        """Return the joules used since it was asked last; the first time 0.

        Args:
            now: seconds of a monotonic clock.

        Raises:
            PartFailed: no answer this time; ``not_supported``: there never will be one.

        """
        ...


@dataclass(frozen=True, slots=True)
class Unread:
    """What could be measured here and is not: why, and what to do about it."""

    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Zone:
    """One part of the machine."""

    name: str
    #: since the first look
    joules: float
    #: None: its counter says nothing at present
    watts: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the counters said at one moment."""

    #: those whose counter has moved
    zones: Sequence[Zone] = ()
    #: of all zones; None: not known, because one of them says nothing, or there is none
    watts: float | None = None
    #: of all zones, since the first look
    joules: float = 0.0
    unread: Sequence[Unread] = ()


class Meter:
    """Reads the counters of a machine. Its calls may block for milliseconds: not for the loop.

    Args:
        counters: of zones that do not overlap.
        unread: what was found and cannot be read.

    """

    def __init__(self, counters: Sequence[Counter], unread: Sequence[Unread] = ()) -> None:
        self._tracks = [_Track(counter) for counter in counters]
        self._unread = list(unread)

    def look(self, now: float) -> Look:
        """Read all counters once.

        Args:
            now: seconds of a monotonic clock.

        """
        for track in list(self._tracks):
            if not track.look(now):
                self._tracks.remove(track)
                self._unread.append(Unread(track.fault))
        zones = [track.zone() for track in self._tracks if track.moved]
        watts = [zone.watts for zone in zones if zone.watts is not None]
        return Look(
            zones=tuple(zones),
            watts=sum(watts) if zones and len(watts) == len(zones) else None,
            joules=sum(zone.joules for zone in zones),
            unread=(*self._unread, *(still for one in self._tracks for still in one.still(now))),
        )


def find_meter(sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> Meter:
    """Find the counters of this machine, each by a value that it gives. Once; may block.

    Args:
        sys: where sysfs is mounted.
        proc: where procfs is.

    """
    module, unread = find_module(sys)
    counters: list[Counter] = list(module)
    if not counters:
        # a module's number holds its processor and its GPU already
        processors, more = find_processors(sys)
        gpus, most = find_gpus(proc)
        counters += [*processors, *gpus]
        unread = [*unread, *more, *most]
    for text, hint in unread:
        log.info("energy: %s. %s", text, hint)
    log.info("energy is measured of: %s", ", ".join(one.zone for one in counters) or "nothing")
    return Meter(counters, [Unread(*one) for one in unread])


class _Track:
    """How one counter went."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._joules = 0.0
        self._watts: float | None = None
        self._since: float | None = None
        #: why it does not answer; empty: it does
        self.fault = ""
        #: it has counted something; before that it is not known to count at all
        self.moved = False

    def look(self, now: float) -> bool:
        """Ask it; False: it shall not be asked again."""
        try:
            used = self._counter.used(now)
        except PartFailed as error:
            if error.reason == NOT_SUPPORTED:
                self.fault = str(error)
                return False
            if not self.fault:
                log.warning("energy: %s", error)
            self.fault = str(error)
            used = 0.0
        else:
            self.fault = ""
        self._add(used, now)
        return True

    def _add(self, used: float, now: float) -> None:
        if self._since is None:
            self._since = now
        elif used > 0 and now > self._since:
            self._joules += used
            self._watts = used / (now - self._since)
            self._since, self.moved = now, True
        elif now - self._since > STALE:
            self._watts = None

    def zone(self) -> Zone:
        return Zone(self._counter.zone, self._joules, self._watts)

    def still(self, now: float) -> list[Unread]:
        """Return that it says nothing, if that lasts, or that it has said nothing yet."""
        if self._since is not None and now - self._since > STALE:
            return [Unread(self.fault or f"the counter of {self._counter.zone} stands still")]
        if self.moved:
            return []
        return [Unread(self.fault or f"the counter of {self._counter.zone} has not moved yet")]
