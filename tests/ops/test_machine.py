from __future__ import annotations

from pathlib import Path

from edge.ops.machine import boot_id, temperature


def test_the_hottest_plausible_sensor_counts(tmp_path: Path) -> None:
    assert temperature(tmp_path) is None
    for zone, text in enumerate(["45000", "61500\n", "-274000", "999000", "hot", ""]):
        (tmp_path / f"thermal_zone{zone}").mkdir()
        (tmp_path / f"thermal_zone{zone}" / "temp").write_text(text)
    (tmp_path / "thermal_zone9").mkdir()  # switched off
    assert temperature(tmp_path) == 61.5


def test_this_boot_has_a_name_that_stays(tmp_path: Path) -> None:
    assert len(boot_id()) == 36
    assert boot_id() == boot_id()
    assert boot_id(tmp_path / "nothing") == ""
