"""What a plan (a built TensorRT engine) depends on, and the key that follows from it."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

KEY = re.compile(r"[0-9a-f]{24}")
"""What a key looks like."""

PLACES = {
    "power_mode": Path("/var/lib/nvpmodel/status"),
    "release": Path("/etc/nv_tegra_release"),
}
"""Where a Jetson says in which power mode it is, and which release of its system it has. Tactics
are chosen by time, so a plan of another mode is slower than need be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFacts:
    """Everything that a plan depends on. The driver's version is not among it: it may be newer."""

    #: id of the model, for people; its digest is what counts
    model: str
    #: SHA-256 of the engine form (hex), which has its recipe's version in it
    graph: str
    #: ``tensorrt`` or ``tensorrt_rtx``, with all four parts of its version
    library: str
    library_version: str
    #: name of the GPU and its compute capability
    device: str
    capability: tuple[int, int]
    #: pictures in a batch: at most, and usually
    most: int
    usual: int
    #: how hard the builder looks, and bytes that a tactic may use
    level: int
    workspace: int
    machine: str = platform.machine()
    #: of a Jetson; see ``jetson``
    power_mode: str = ""
    release: str = ""

    @property
    def key(self) -> str:
        """Name in the cache: 24 hex digits."""
        facts = asdict(self)
        del facts["model"]
        return _digest(facts)[:24]

    @property
    def timing_key(self) -> str:
        """Name of what buildings measured: it fits this library version and this device only."""
        names = ("library", "library_version", "device", "capability", "power_mode", "release")
        return _digest({name: getattr(self, name) for name in names})[:16]


def jetson(places: Mapping[str, Path] = PLACES) -> dict[str, str]:
    """Return ``power_mode`` and ``release`` of a Jetson; empty on any other machine."""
    found = {}
    for name, path in places.items():
        try:
            found[name] = path.read_text(encoding="utf-8", errors="replace").strip()[:200]
        except OSError:
            found[name] = ""
    return found


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
