from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT

TARGETS = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_120")


def kernels(output: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "packaging" / "kernels", output],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env=os.environ | environment,
    )


@pytest.mark.slow
def test_the_kernels_compile_for_turing_to_blackwell(tmp_path: Path) -> None:
    if not shutil.which("nvcc"):
        pytest.skip("nvcc is not at hand: packaging/kernels says how to get it")
    output = tmp_path / "kernels.fatbin"
    said = kernels(output)
    assert said.returncode == 0, said.stderr
    assert [target for target in TARGETS if target not in said.stderr] == []
    image = output.read_bytes()
    assert image.startswith(b"\x50\xed\x55\xba")  # a fatbin's magic
    assert [path.name for path in tmp_path.iterdir()] == ["kernels.fatbin"]


def test_without_nvcc_it_says_what_to_install_and_leaves_no_old_one(tmp_path: Path) -> None:
    (tmp_path / "kernels.fatbin").write_bytes(b"old")
    said = kernels(tmp_path / "kernels.fatbin", CUDA_HOME=str(tmp_path / "nowhere"))
    assert said.returncode == 1
    assert "nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-crt nvidia-cuda-runtime" in said.stderr
    assert not list(tmp_path.iterdir())


def test_wheels_that_are_not_all_are_named(tmp_path: Path) -> None:
    root = tmp_path / "site" / "nvidia" / "cu13"
    (root / "bin").mkdir(parents=True)
    nvcc = root / "bin" / "nvcc"
    nvcc.write_text("#!/bin/sh\nexit 9\n")
    nvcc.chmod(0o755)
    (root.parent / "__init__.py").touch()
    (root / "include" / "crt").mkdir(parents=True)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/site exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    # Only what the script itself calls: an nvcc of this machine must not be found.
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "dirname", "mkdir", "rm", "tail", "g++"):
        found = shutil.which(name)
        if found:
            (programs / name).symlink_to(found)
    said = kernels(
        tmp_path / "out" / "kernels.fatbin", PATH=str(programs), PYTHON=str(python), CUDA_HOME=""
    )
    assert said.returncode == 1
    assert said.stderr.rstrip().endswith("-m pip install nvidia-nvvm nvidia-cuda-runtime")
