"""Doctor: the counters of energy."""

from __future__ import annotations

import time
from pathlib import Path

from edge.cli.doctor import Check, Finding, in_thread
from edge.config.energy import EnergyConfig
from edge.ops.energy import find_meter

_BETWEEN = 1.0
"""Seconds between two looks at the counters."""


def energy_checks(config: EnergyConfig) -> list[Check]:
    """Return a check for the counters, unless they are not to be read."""
    return [("energy", in_thread(lambda: energy(config)))] if config.measure else []


def energy(config: EnergyConfig, sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> Finding:
    """Look what is measured here. None is no fault, but where power has a cap."""
    meter = find_meter(sys, proc)
    meter.look(time.monotonic())
    time.sleep(_BETWEEN)
    look = meter.look(time.monotonic())
    unread = [one.text for one in look.unread]
    hint = next((one.hint for one in look.unread if one.hint), "")
    if look.zones:
        parts = ", ".join(f"{zone.name} {zone.watts or 0:.1f} W" for zone in look.zones)
        return Finding(name="energy", state="ok", text="; ".join([parts, *unread]))
    text = "not measured: " + ("; ".join(unread) or "this machine has no counter to be read")
    if config.power_cap:
        text = f"the cap of {config.power_cap:g} W cannot be kept, {text}"
        return Finding(
            name="energy", state="warn", text=text, hint=hint or "take [energy] power_cap out"
        )
    return Finding(name="energy", state="ok", text=text, hint=hint)
