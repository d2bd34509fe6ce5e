"""Energy: what the box measures of its own power, and a cap on it."""

from __future__ import annotations

from edge.config.section import Section, key
from edge.config.units import Duration


class EnergyConfig(Section):
    """``[energy]``."""

    measure: bool = key(True, "Read the counters of energy that processor, GPU and board have.")
    every: Duration = key("1s", "How often they are read.")
    power_cap: float = key(
        0.0,
        "Watts, of all that is measured; above it live frames are left out and counted, never "
        'uploads, folders, buckets or a source with queue = "block". 0: no cap.',
        ge=0,
    )
    least_fps: float = key(
        1.0, "The cap never lowers a camera below this many pictures a second.", gt=0
    )
