"""The commands of README and CI: they are there, can be run, and need no set-up twice."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge import __version__
from tests.places import ROOT

SCRIPTS = [ROOT / ".ci" / "run"] + [
    ROOT / "packaging" / name for name in ("apt", "build", "docs", "setup", "smoke", "test-servers")
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_sound_and_can_be_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "set -" in script.read_text(), "a script stops at its first error"


@pytest.mark.parametrize("what", ["run", "dev"])
def test_a_second_set_up_does_nothing(what: str, tmp_path: Path) -> None:
    """With the stamp of these very files nothing is installed: there is no Python to do it."""
    (tmp_path / "packaging").mkdir()
    for name in ("packaging/setup", "packaging/requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "packaging/requirements-dev.lock").write_bytes(b"")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "edge").symlink_to(sys.executable)
    (tmp_path / ".venv" / f".setup-{what}").write_text(key_of(tmp_path, what))
    command = ["bash", "packaging/setup", what]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout + done.stderr == ""


def key_of(folder: Path, what: str) -> str:
    files = "packaging/setup pyproject.toml packaging/requirements.lock"
    if what == "dev":
        files += " packaging/requirements-dev.lock"
    command = f"{{ pwd; cat {files}; }} | sha256sum | cut -d' ' -f1"
    done = subprocess.run(["bash", "-c", command], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode()


def test_make_knows_every_command_that_is_promised() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets >= {"run", "test", "check", "bench", "package", "docs", "lock", "clean"}


def test_the_readme_has_exactly_two_commands_to_begin_with() -> None:
    section = (ROOT / "README.md").read_text().split("## Two commands")[1].split("\n## ")[0]
    assert re.search(r"```\n(.*?)```", section, re.DOTALL)[1] == "make run\nmake test\n"  # type: ignore[index]


def test_the_changelog_knows_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "packaging" / "CHANGELOG.md").read_text()
