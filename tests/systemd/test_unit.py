"""The unit is valid, hardened, and says what the program relies on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT, need

UNIT = ROOT / "systemd" / "edge.service"
SYSUSERS = ROOT / "systemd" / "edge.sysusers"
EXPOSURE = 20
"""Tenths: at most 2.0 of 10, which systemd calls OK."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Copy the unit with a program in it that is on every machine, as verify wants to see one."""
    text = re.sub(
        r"^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text(), flags=re.MULTILINE
    )
    copy = tmp_path / "edge.service"
    copy.write_text(text)
    return copy


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = need("systemd-analyze", "systemd")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def settings(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), flags=re.MULTILINE)


def test_systemd_has_nothing_to_say_about_the_unit(unit: Path) -> None:
    verdict = analyze("verify", "--man=no", str(unit))
    assert (verdict.returncode, verdict.stdout + verdict.stderr) == (0, "")


def test_systemd_has_nothing_to_say_about_what_a_gpu_adds(unit: Path) -> None:
    added = unit.with_name("edge.service.d")
    added.mkdir()
    (added / "gpu.conf").write_text((ROOT / "systemd" / "edge-gpu.conf").read_text())
    verdict = analyze("verify", "--man=no", str(unit))
    assert (verdict.returncode, verdict.stdout + verdict.stderr) == (0, "")
    (added / "gpu.conf").write_text("[Service]\nDeviceAlow=char-nvidia* rw\n")
    assert "DeviceAlow" in analyze("verify", "--man=no", str(unit)).stderr


def test_what_a_gpu_adds_is_not_in_the_unit_already() -> None:
    added = set(lines_of(ROOT / "systemd" / "edge-gpu.conf"))
    assert "MemoryDenyWriteExecute=no" in added
    assert added & set(lines_of(UNIT)) == set()


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if "=" in line and line[0] != "#"]


def test_verify_would_notice_an_unknown_setting(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("[Install]", "Restrat=no\n[Install]"))
    assert "Restrat" in analyze("verify", "--man=no", str(unit)).stderr


def test_little_of_the_machine_is_exposed(unit: Path) -> None:
    verdict = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", str(unit))
    assert verdict.returncode == 0, verdict.stdout


def test_a_unit_that_opens_up_is_over_the_threshold(unit: Path) -> None:
    opened = re.sub(r"^(Protect|Restrict|System).*\n", "", unit.read_text(), flags=re.MULTILINE)
    unit.write_text(opened)
    verdict = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", str(unit))
    assert verdict.returncode == 1


def test_the_unit_keeps_what_the_program_relies_on() -> None:
    assert settings("Type") == ["notify"]
    assert settings("ExecReload") == ["/bin/kill -HUP $MAINPID"]
    assert settings("RestartPreventExitStatus") == ["3 78"]
    assert "ORT_DISABLE_TELEMETRY=1" in settings("Environment")
    assert "MALLOC_ARENA_MAX=1" in settings("Environment")
    assert settings("LimitCORE") == ["0"]


def test_no_credential_is_named_with_a_path() -> None:
    """``NAME:/path`` with nothing there is a service that never starts (243/CREDENTIALS)."""
    names = settings("LoadCredential")
    assert names
    assert not [name for name in names if ":" in name]


def test_the_unit_has_no_key_twice_that_counts_once() -> None:
    """Systemd takes the last one silently; only lists may be written in several lines."""
    lists = {"environment", "loadcredential", "systemcallfilter", "deviceallow"}
    seen: set[str] = set()
    twice = []
    for line in UNIT.read_text().splitlines():
        name = line.partition("=")[0].lower()
        if "=" in line and not line.startswith("#") and name not in lists:
            twice += [name] if name in seen else []
            seen.add(name)
    assert seen
    assert twice == []


def test_the_fixed_user_can_be_made(tmp_path: Path) -> None:
    program = need("systemd-sysusers", "systemd")
    (tmp_path / "etc").mkdir()
    folder = tmp_path / "usr" / "lib" / "sysusers.d"
    folder.mkdir(parents=True)
    shutil.copy(SYSUSERS, folder / "edge.conf")
    subprocess.run([program, f"--root={tmp_path}"], check=True, capture_output=True)
    user = next(
        line
        for line in (tmp_path / "etc" / "passwd").read_text().splitlines()
        if line.startswith("edge:")
    )
    assert user.split(":")[5:] == ["/var/lib/edge", "/usr/sbin/nologin"]
    assert settings("User") == ["edge"]
