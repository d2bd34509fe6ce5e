"""What the page says of power and energy."""

from __future__ import annotations

from edge.web.view import Energy
from edge.web.words import count


def energy_facts(energy: Energy) -> list[tuple[str, str]]:
    """Return power, energy and the cap as names and words."""
    facts = [("Power", _power(energy))]
    if energy["joules_per_1000"] is not None:
        facts.append(("Energy", f"{count(energy['joules_per_1000'])} J for 1000 pictures"))
    if energy["cap"]:
        facts.append(("Power cap", _cap(energy)))
    return facts


def _power(energy: Energy) -> str:
    if not energy["measured"]:
        return "not measured: switched off"
    unread = "; ".join(one["text"] for one in energy["unread"])
    if any(one["hint"] for one in energy["unread"]):
        unread += " (edge doctor says what to do)"
    answering = [zone for zone in energy["zones"] if zone["watts"] is not None]
    if not answering:
        return f"not measured: {unread or 'this machine has no counter of energy to be read'}"
    parts = ", ".join(f"{zone['name']} {zone['watts']:.1f} W" for zone in answering)
    watts = energy["watts"]
    whole = parts if watts is None or len(answering) == 1 else f"{watts:.1f} W ({parts})"
    return f"{whole}; not measured: {unread}" if unread else whole


def _cap(energy: Energy) -> str:
    words = f"{energy['cap']:g} W"
    if energy["share"] < 1:
        words += f": to keep to it, {energy['share']:.0%} of the live frames are looked at"
    if energy["capped"]:
        words += f"; {count(energy['capped'])} were left out so far"
    return words
