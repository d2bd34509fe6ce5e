#!/usr/bin/env python3
"""Write the two lock files from pyproject.toml: exact versions, and a hash for every wheel.

Usage: ``packaging/lock.py`` (or ``make lock``). The newest versions that pyproject.toml allows are
resolved once, for the Python that runs this script; then the wheels of the same versions are looked
up for every Python and processor below, so that one lock serves all of them. Needs nothing but pip.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
GLIBC = ("2_28", "2_27", "2_26", "2_24", "2_17", "2_12", "2_5", "2_35")
"""The first that a package has counts; the last is for what has no other (tensorrt-rtx)."""
HEAD = "# Written by packaging/lock.py (make lock). Do not edit.\n"

Wheels = dict[str, tuple[str, set[str]]]
"""Version and sha256 digests by package name."""


def resolve(requirements: list[str], *options: str) -> Wheels:
    """Ask pip what it would install for ``requirements``."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--quiet", "--only-binary=:all:", f"--target={folder}/never"]
        command += [f"--report={report}", *options, *requirements]
        subprocess.run(command, check=True)  # noqa: S603 (pip, with our own arguments)
        found = json.loads(report.read_text())["install"]
    wheels: Wheels = {}
    for item in found:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        wheels[name] = (item["metadata"]["version"], {digest})
    return wheels


def targets() -> list[list[str]]:
    """Return pip's options for every Python and processor that the lock serves."""
    return [
        [f"--python-version={python}", f"--platform=manylinux2014_{machine}"]
        + [f"--platform=manylinux_{glibc}_{machine}" for glibc in GLIBC]
        for python in PYTHONS
        for machine in MACHINES
    ]


def write(path: Path, wheels: Wheels, names: set[str]) -> None:
    """Write one lock file with the packages in ``names``."""
    lines = [HEAD]
    for name in sorted(names):
        version, digests = wheels[name]
        hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(digests))
        lines.append(f"{name}=={version}{hashes}\n")
    path.write_text("".join(lines))


def main() -> None:
    """Resolve, look the other machines' wheels up, write both files."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    build = project["build-system"]["requires"]
    runs = build + project["project"]["dependencies"]
    wheels = resolve(runs + project["project"]["optional-dependencies"]["dev"])
    pins = [f"{name}=={version}" for name, (version, _) in wheels.items()]
    for options in targets():
        for name, (_, digests) in resolve(pins, "--no-deps", *options).items():
            wheels[name][1].update(digests)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(pins))
        constraints.flush()
        needed = set(resolve(runs, f"--constraint={constraints.name}"))
    write(HERE / "requirements.lock", wheels, needed)
    write(HERE / "requirements-dev.lock", wheels, set(wheels) - needed)


if __name__ == "__main__":
    main()
