"""What the page says of power and energy."""

from __future__ import annotations

from typing import Any, cast

from edge.web.present_energy import energy_facts
from edge.web.view import Energy, Zone

GPU = Zone(name="gpu0", joules=300.0, watts=40.04)
PACKAGE = Zone(name="package-0", joules=200.0, watts=10.0)


def energy(**other: Any) -> Energy:
    values = {
        "measured": True,
        "zones": [],
        "watts": None,
        "joules_per_1000": None,
        "unread": [],
        "cap": 0.0,
        "share": 1.0,
        "capped": 0,
        "reason": "",
        "hint": "",
    }
    return cast("Energy", values | other)


def test_a_machine_without_counters_says_so_and_shows_no_number() -> None:
    assert energy_facts(energy()) == [
        ("Power", "not measured: this machine has no counter of energy to be read")
    ]


def test_power_is_told_as_a_whole_and_by_zone() -> None:
    facts = energy_facts(energy(zones=[GPU, PACKAGE], watts=50.04, joules_per_1000=1234.5))
    assert facts == [
        ("Power", "50.0 W (gpu0 40.0 W, package-0 10.0 W)"),
        ("Energy", "1\N{NARROW NO-BREAK SPACE}234 J for 1000 pictures"),
    ]


def test_what_is_not_measured_is_named_beside_what_is() -> None:
    unread = [{"text": "package-0: may be read by root only", "hint": "sudo chgrp edge"}]
    ((_, power),) = energy_facts(energy(zones=[GPU], watts=40.04, unread=unread))
    assert power == (
        "gpu0 40.0 W; not measured: package-0: may be read by root only "
        "(edge doctor says what to do)"
    )


def test_no_sum_is_shown_while_a_zone_says_nothing() -> None:
    silent = Zone(name="package-0", joules=200.0, watts=None)
    unread = [{"text": "the counter of package-0 stands still", "hint": ""}]
    ((_, power),) = energy_facts(energy(zones=[GPU, silent], unread=unread))
    assert power == "gpu0 40.0 W; not measured: the counter of package-0 stands still"


def test_the_cap_says_what_it_does_and_why() -> None:
    facts = dict(energy_facts(energy(zones=[GPU], watts=40, cap=35.0, share=0.25, capped=12)))
    assert facts["Power cap"] == (
        "35 W: to keep to it, 25% of the live frames are looked at; 12 were left out so far"
    )
    assert dict(energy_facts(energy(cap=35.0)))["Power cap"] == "35 W"


def test_what_is_switched_off_is_not_called_missing() -> None:
    assert energy_facts(energy(measured=False)) == [("Power", "not measured: switched off")]
