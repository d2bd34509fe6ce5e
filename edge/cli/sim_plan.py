"""What is simulated: how many boxes, how fast, and what goes wrong."""

from __future__ import annotations

import math
import resource
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from edge.config.units import parse_duration
from edge.errors import Rejected

SPARE: Final = 64
"""Open files beyond those of the links."""
_TIMES: Final = frozenset({"away", "reconnect"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong. Shares are 0 to 1, times are seconds."""

    #: share of the time that a box is away, gone without a word; what it produces meanwhile comes
    #: late
    offline: float = 0.0
    #: how long it is away at a time, on average
    away: float = 60.0
    #: every so often all boxes are thrown off at once, and come back at once; 0: never
    reconnect: float = 0.0
    #: share of the results that never go: a tombstone tells of them
    loss: float = 0.0
    #: share of the results that are sent twice, as after a lost acknowledgement
    duplicate: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A simulation. Times are seconds."""

    boxes: int
    #: results a second of a box
    rate: float = 0.1
    sources: int = 4
    site: str = "sim"
    #: over so many sites the boxes are spread
    sites: int = 1
    health: float = 60.0
    #: boxes that begin to connect in a second, at the start
    connect_rate: float = 200.0
    historical_after: float = 60.0
    #: results that a box keeps while it is away; beyond that the oldest give way
    most_waiting: int = 10_000
    seed: int = 0
    faults: Faults = Faults()

    def name(self, number: int) -> tuple[str, str]:
        """Return site and node of a box."""
        site = self.site if self.sites == 1 else f"{self.site}-{number % self.sites + 1:03}"
        return site, f"box-{number + 1:05}"


def read_faults(text: str) -> Faults:
    """Read ``offline=0.05,away=2min,reconnect=5min,loss=0.001,duplicate=0.01``.

    Raises:
        ValueError: it is none, with what was expected.

    """
    known = [one.name for one in fields(Faults)]
    found: dict[str, float] = {}
    for word in filter(None, (one.strip() for one in text.split(","))):
        name, _, value = word.partition("=")
        if name not in known:
            raise ValueError(f"no fault {name!r}: there are {', '.join(known)}")
        found[name] = parse_duration(value) if name in _TIMES else _share(name, value)
    if "away" in found and found["away"] <= 0:
        raise ValueError("away: expected more than nothing")
    return Faults(**found)


def _share(name: str, value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = math.nan
    if not 0 <= share < 1:
        raise ValueError(f"{name}={value}: expected a share, from 0 to less than 1")
    return share


def raise_limit(boxes: int, limits: Mapping[str, int] | None = None) -> None:
    """Let this process open as many files as boxes need.

    Args:
        boxes: each has a socket.
        limits: ``soft`` and ``hard``, in the place of the process's own.

    Raises:
        Rejected: it may not.

    """
    found = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (limits["soft"], limits["hard"]) if limits else found
    wanted = boxes + SPARE
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Rejected(
            f"{boxes} boxes need {wanted} open files, and this process may have {hard}",
            hint=f"ulimit -Hn {wanted} as root, or --boxes {max(0, hard - SPARE)}",
            reason="open_files",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
