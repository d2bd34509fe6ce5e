"""The real pynvml over a driver library of our own (fake_nvml.c), each test in a new process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.ops.nvml import build

BEGIN = """
import ctypes, json, os, sys
from pathlib import Path
from edge.ops.energy import find_meter
said = Path(os.environ["FAKE_NVML"])
def nvml(text):
    said.write_text(text)
def asked():
    library = ctypes.CDLL("libnvidia-ml.so.1")
    return [library.fakeAsked(0), library.fakeAsked(1)]
def shown(look):
    return {
        "zones": [[z.name, round(z.joules, 6), z.watts] for z in look.zones],
        "watts": look.watts,
        "unread": [one.text for one in look.unread],
    }
none = Path("/nowhere")
def find():
    return find_meter(none, none)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that holds the library."""
    return build(tmp_path_factory.mktemp("nvml"))


def run(library: Path, tmp_path: Path, code: str) -> Any:
    """Run code in a process that finds the library; return what it printed as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code],
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(library),
            "FAKE_NVML": str(tmp_path / "said"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_energy_is_the_difference_of_the_driver_s_count(library: Path, tmp_path: Path) -> None:
    first, second = run(
        library,
        tmp_path,
        """
nvml("5000000 40000\\n9000000 70000\\n")
meter = find()
first = shown(meter.look(0.0))
nvml("5030000 40000\\n9140000 70000\\n")
print(json.dumps([first, shown(meter.look(2.0))]))
""",
    )
    unread = [f"the counter of gpu{number} has not moved yet" for number in (0, 1)]
    assert first == {"zones": [], "watts": None, "unread": unread}
    assert second["zones"] == [["gpu0", 30.0, 15.0], ["gpu1", 140.0, 70.0]]
    assert second["watts"] == 85.0


def test_a_gpu_without_a_count_has_its_power_added_up_and_is_not_asked_for_the_count_again(
    library: Path, tmp_path: Path
) -> None:
    look, asked = run(
        library,
        tmp_path,
        """
nvml("-3 40000\\n")
meter = find()
for second in range(3):
    look = meter.look(float(second))
print(json.dumps([shown(look), asked()]))
""",
    )
    assert look["zones"] == [["gpu0", 80.0, 40.0]]
    assert asked == [1, 4], "the count once, the power at the probe and at each look"


def test_a_gpu_that_gives_neither_is_no_zone_and_is_not_asked_again(
    library: Path, tmp_path: Path
) -> None:
    look, asked = run(
        library,
        tmp_path,
        """
nvml("-3 -3\\n5000 70000\\n")
meter = find()
meter.look(0.0)
nvml("-3 -3\\n8000 70000\\n")
print(json.dumps([shown(meter.look(1.0)), asked()]))
""",
    )
    assert look["zones"] == [["gpu1", 3.0, 3.0]]
    assert look["unread"] == ["gpu0: neither energy nor power: Not Supported"]
    assert asked == [4, 1]


def test_a_gpu_that_stops_to_support_its_count_is_asked_no_more(
    library: Path, tmp_path: Path
) -> None:
    look, asked = run(
        library,
        tmp_path,
        """
nvml("5000 -3\\n")
meter = find()
meter.look(0.0)
nvml("-3 -3\\n")
for second in range(1, 5):
    look = meter.look(float(second))
print(json.dumps([shown(look), asked()]))
""",
    )
    assert look["zones"] == []
    assert look["watts"] is None
    assert look["unread"] == ["gpu0: neither energy nor power: Not Supported"]
    assert asked == [3, 0]


def test_a_lost_gpu_says_nothing_after_a_while_and_what_it_used_stays(
    library: Path, tmp_path: Path
) -> None:
    soon, later = run(
        library,
        tmp_path,
        """
nvml("5000 1\\n")
meter = find()
meter.look(0.0)
nvml("65000 1\\n")
meter.look(1.0)
nvml("-15 -15\\n")
soon = shown(meter.look(2.0))
print(json.dumps([soon, shown(meter.look(20.0))]))
""",
    )
    assert soon["zones"] == [["gpu0", 60.0, 60.0]]
    assert later["zones"] == [["gpu0", 60.0, None]]
    assert later["watts"] is None
    assert later["unread"] == ["gpu0: GPU is lost"]


def test_a_driver_that_was_loaded_anew_adds_nothing_that_is_not_known(
    library: Path, tmp_path: Path
) -> None:
    look = run(
        library,
        tmp_path,
        """
nvml("5000000 1\\n")
meter = find()
meter.look(0.0)
nvml("1000 1\\n")
meter.look(1.0)
nvml("4000 1\\n")
print(json.dumps(shown(meter.look(2.0))))
""",
    )
    assert look["zones"] == [["gpu0", 3.0, 1.5]]


def test_a_machine_without_driver_has_nothing_to_say_of_gpus(library: Path, tmp_path: Path) -> None:
    assert run(library, tmp_path, "print(json.dumps(shown(find().look(0.0))))")["unread"] == []
    absent = tmp_path / "empty"
    absent.mkdir()
    code = "nvml('1 1')\nprint(json.dumps(shown(find().look(0.0))))"
    if not Path("/proc/driver/nvidia").exists():
        assert run(absent, tmp_path, code)["unread"] == []


def test_a_driver_that_does_not_fit_its_library_says_so(library: Path, tmp_path: Path) -> None:
    look = run(library, tmp_path, "nvml('init 18')\nprint(json.dumps(shown(find().look(0.0))))")
    assert look["unread"] == ["the GPU's energy: RM has detected an NVML/RM version mismatch"]
    assert look["watts"] is None
