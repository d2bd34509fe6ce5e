"""The lock files hold what pyproject.toml asks for, each with a digest."""

from __future__ import annotations

import re
import tomllib
from functools import cache

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.places import ROOT

RUNS = "requirements.lock"
DEV = "requirements-dev.lock"
ENTRY = re.compile(r"^([a-z0-9-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)


@cache
def locked(name: str) -> dict[str, Version]:
    text = (ROOT / "packaging" / name).read_text()
    entries = {match[1]: Version(match[2]) for match in ENTRY.finditer(text)}
    assert len(entries) == text.count("=="), f"an entry of {name} has no digest"
    return entries


def wanted(kind: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = {
        RUNS: project["build-system"]["requires"] + project["project"]["dependencies"],
        DEV: project["project"]["optional-dependencies"]["dev"],
    }
    return [Requirement(line) for line in asked[kind]]


def unlocked(asked: list[Requirement], entries: dict[str, Version]) -> list[str]:
    return [
        str(one)
        for one in asked
        if (version := entries.get(canonicalize_name(one.name))) is None
        or version not in one.specifier
    ]


def test_what_runs_is_locked() -> None:
    assert unlocked(wanted(RUNS), locked(RUNS)) == []


def test_what_the_tests_need_is_locked() -> None:
    assert unlocked(wanted(DEV), locked(RUNS) | locked(DEV)) == []


def test_a_missing_or_too_old_package_would_be_noticed() -> None:
    asked = [Requirement("rich>=99"), Requirement("nothing")]
    assert unlocked(asked, locked(RUNS)) == ["rich>=99", "nothing"]


def test_no_package_is_locked_twice() -> None:
    assert not locked(RUNS).keys() & locked(DEV).keys()


def test_the_box_gets_no_tool_of_ours() -> None:
    assert not {"pytest", "ruff", "mypy", "pyinstaller", "playwright"} & locked(RUNS).keys()
