from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.errors import PartFailed
from edge.ops.energy import STALE, Look, Meter, find_meter

RANGE = 262143328850


def domain(sys: Path, number: str, name: str, microjoules: int) -> Path:
    """Make a domain as Linux shows it."""
    path = sys / "class/powercap" / f"intel-rapl:{number}"
    path.mkdir(parents=True, exist_ok=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    return path


def rail(sys: Path, chip: str, number: int, label: str, power: tuple[int, int]) -> Path:
    """Make a rail of an INA3221: millivolts and milliamperes."""
    path = sys / f"bus/i2c/drivers/ina3221/{chip}/hwmon/hwmon{chip[-1]}"
    path.mkdir(parents=True, exist_ok=True)
    (path / f"in{number}_label").write_text(f"{label}\n")
    (path / f"in{number}_input").write_text(f"{power[0]}\n")
    (path / f"curr{number}_input").write_text(f"{power[1]}\n")
    return path


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may look into."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be no longer root, where the tests are run by root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def count(path: Path, microjoules: int) -> None:
    (path / "energy_uj").write_text(f"{microjoules}\n")


def meter(sys: Path) -> Meter:
    return find_meter(sys, sys / "proc")


def zones(look: Look) -> list[tuple[str, float, float | None]]:
    return [(zone.name, round(zone.joules, 6), zone.watts) for zone in look.zones]


def test_a_processor_and_its_memory_are_zones_and_their_parts_are_not_counted_twice(
    tmp_path: Path,
) -> None:
    package = domain(tmp_path, "0", "package-0", 1_000_000)
    core = domain(tmp_path, "0:0", "core", 500_000)
    memory = domain(tmp_path, "0:1", "dram", 100_000)
    other = domain(tmp_path, "1", "package-1", 0)
    whole = domain(tmp_path, "2", "psys", 0)
    twin = tmp_path / "class/powercap/intel-rapl-mmio:0"
    twin.mkdir()
    (twin / "name").write_text("package-0\n")
    found = meter(tmp_path)
    found.look(10.0)
    for path, value in ((package, 21_000_000), (core, 9_500_000), (memory, 3_100_000)):
        count(path, value)
    for path in (other, whole):
        count(path, 8_000_000)
    look = found.look(12.0)
    assert zones(look) == [
        ("package-0", 20.0, 10.0),
        ("dram-0", 3.0, 1.5),
        ("package-1", 8.0, 4.0),
    ]
    assert look.watts == 15.5
    assert look.joules == 31.0


def test_a_counter_that_begins_anew_at_its_range_loses_nothing(tmp_path: Path) -> None:
    path = domain(tmp_path, "0", "package-0", RANGE - 4_000_000)
    found = meter(tmp_path)
    found.look(0.0)
    count(path, 6_000_000)
    assert zones(found.look(1.0)) == [("package-0", 10.0, 10.0)]
    count(path, 7_000_000)
    assert zones(found.look(2.0)) == [("package-0", 11.0, 1.0)]


def test_a_counter_that_steps_back_and_has_no_range_adds_nothing(tmp_path: Path) -> None:
    path = domain(tmp_path, "0", "package-0", 9_000_000)
    (path / "max_energy_range_uj").unlink()
    found = meter(tmp_path)
    found.look(0.0)
    count(path, 1_000_000)
    assert zones(found.look(1.0)) == []
    count(path, 3_000_000)
    assert zones(found.look(2.0)) == [("package-0", 2.0, 1.0)]


def test_a_counter_that_only_root_may_read_is_named_with_what_to_do(
    open_directory: Path,
) -> None:
    path = domain(open_directory, "0", "package-0", 1)
    (path / "energy_uj").chmod(0)
    with as_nobody():
        look = meter(open_directory).look(0.0)
    assert look.watts is None
    (unread,) = look.unread
    assert "package-0" in unread.text
    assert "root only" in unread.text
    assert "chgrp" in unread.hint


def test_a_machine_without_counters_measures_nothing_and_invents_nothing(tmp_path: Path) -> None:
    found = meter(tmp_path)
    found.look(0.0)
    assert found.look(1.0) == Look()


def test_a_counter_that_never_moves_is_not_told_as_zero_watts(tmp_path: Path) -> None:
    domain(tmp_path, "0", "package-0", 77)
    found = meter(tmp_path)
    for now in (0.0, 1.0, STALE + 1):
        look = found.look(now)
        assert look.zones == ()
        assert look.watts is None
    assert [one.text for one in look.unread] == ["the counter of package-0 stands still"]


def test_the_sum_is_not_known_while_one_of_its_zones_says_nothing(tmp_path: Path) -> None:
    first = domain(tmp_path, "0", "package-0", 0)
    second = domain(tmp_path, "1", "package-1", 0)
    found = meter(tmp_path)
    found.look(0.0)
    count(first, 10_000_000)
    count(second, 20_000_000)
    assert found.look(1.0).watts == 30.0
    (second / "energy_uj").write_text("")
    for now in range(2, 13):
        count(first, now * 10_000_000)
        look = found.look(float(now))
    assert zones(look) == [("package-0", 120.0, 10.0), ("package-1", 20.0, None)]
    assert look.watts is None
    count(second, 140_000_000)
    count(first, 130_000_000)
    assert found.look(13.0).watts == 20.0, "120 J in the 12 s since it last answered, and 10 W"


def test_a_jetson_s_module_is_measured_by_its_whole_rail_and_nothing_beside_it(
    tmp_path: Path,
) -> None:
    path = rail(tmp_path, "1-0040", 1, "VDD_IN", (5000, 1000))
    rail(tmp_path, "1-0040", 2, "VDD_CPU_GPU_CV", (5000, 400))
    rail(tmp_path, "1-0040", 3, "VDD_SOC", (5000, 200))
    (path / "in7_label").write_text("sum of shunt voltages\n")
    domain(tmp_path, "0", "package-0", 0)
    found = meter(tmp_path)
    found.look(0.0)
    (path / "curr1_input").write_text("2000\n")
    look = found.look(2.0)
    assert zones(look) == [("module", 15.0, 7.5)], "5 W, then 10 W"


def test_rails_that_add_up_to_a_module_are_added(tmp_path: Path) -> None:
    rail(tmp_path, "1-0040", 1, "VDD_GPU_SOC", (20000, 100))
    rail(tmp_path, "1-0040", 2, "VDD_CPU_CV", (20000, 50))
    rail(tmp_path, "1-0041", 2, "VIN_SYS_5V0", (5000, 400))
    rail(tmp_path, "1-0041", 3, "VDDQ_VDD2_1V8AO", (5000, 100))
    found = meter(tmp_path)
    found.look(0.0)
    assert zones(found.look(1.0)) == [("module", 5.0, 5.0)]


def test_rails_of_which_nobody_knows_the_sum_are_said_and_not_added(tmp_path: Path) -> None:
    rail(tmp_path, "1-0040", 1, "VDD_NEW", (5000, 1000))
    found = meter(tmp_path)
    found.look(0.0)
    look = found.look(1.0)
    assert look.zones == ()
    assert "VDD_NEW" in look.unread[0].text


def test_a_gap_of_a_rail_is_not_filled_with_guesses(tmp_path: Path) -> None:
    path = rail(tmp_path, "1-0040", 1, "VDD_IN", (5000, 1000))
    found = meter(tmp_path)
    found.look(0.0)
    found.look(1.0)
    (path / "curr1_input").write_text("")
    found.look(2.0)
    (path / "curr1_input").write_text("1000\n")
    found.look(8.0)
    assert found.look(9.0).joules == 10.0, "the first and the last second"


class Refuses:
    zone = "odd"

    def used(self, now: float) -> float:
        raise PartFailed(f"no answer at {now:g}", reason="silent")


def test_a_counter_that_never_answers_is_no_zone_and_says_why() -> None:
    found = Meter([Refuses()])
    found.look(0.0)
    look = found.look(STALE + 1)
    assert look.zones == ()
    assert [one.text for one in look.unread] == [f"no answer at {STALE + 1:g}"]
