"""The built program works on a machine without Python."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.places import ROOT, need


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_built_program_answers_serves_and_stops(tmp_path: Path) -> None:
    """``packaging/build`` ends with ``packaging/smoke``, which fails loudly."""
    need("objdump", "binutils")
    need("curl", "curl")
    built = subprocess.run(
        [str(ROOT / "packaging" / "build"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-2000:]
    assert os.access(tmp_path / "edge" / "edge", os.X_OK)
    assert list((tmp_path / "edge").rglob("picodet_s_416.toml"))
