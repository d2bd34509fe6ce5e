"""``edge doctor``: what it says of the counters of energy."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from edge.cli.doctor_energy import energy, energy_checks
from edge.config.energy import EnergyConfig


def test_a_machine_without_counters_is_well_and_says_that_nothing_is_measured(
    tmp_path: Path,
) -> None:
    found = energy(EnergyConfig(), tmp_path, tmp_path)
    assert found.state == "ok"
    assert found.text == "not measured: this machine has no counter to be read"


def test_a_cap_that_cannot_be_kept_is_to_be_looked_at(tmp_path: Path) -> None:
    found = energy(EnergyConfig(power_cap=15), tmp_path, tmp_path)
    assert found.state == "warn"
    assert "cap of 15 W cannot be kept" in found.text
    assert found.hint


def test_what_is_measured_is_told_in_watts(tmp_path: Path) -> None:
    path = tmp_path / "class/powercap/intel-rapl:0"
    path.mkdir(parents=True)
    (path / "name").write_text("package-0\n")
    (path / "max_energy_range_uj").write_text("262143328850\n")
    (path / "energy_uj").write_text("0\n")

    def count() -> None:
        time.sleep(0.4)
        (path / "next").write_text("20000000\n")
        (path / "next").rename(path / "energy_uj")

    thread = threading.Thread(target=count, name="counter")
    thread.start()
    found = energy(EnergyConfig(), tmp_path, tmp_path)
    thread.join()
    assert found.state == "ok"
    assert found.text.startswith("package-0 ")
    assert 10 < float(found.text.split()[1]) <= 20


def test_what_is_not_to_be_measured_is_not_looked_at() -> None:
    assert energy_checks(EnergyConfig(measure=False)) == []
