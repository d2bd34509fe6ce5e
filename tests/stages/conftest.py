from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import need
from tests.stages.kernels.emulation import StandIn, build


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("g++", "g++")
    return build(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def gpu(emulated: Path, tmp_path: Path) -> Iterator[StandIn]:
    """A GPU that is this processor; nothing may be held when the test ends, unless it is lost."""
    fatbin = tmp_path / "kernels.fatbin"
    fatbin.write_bytes(b"emulated")
    stand_in = StandIn(emulated, fatbin)
    stand_in.fail(-1, 0)
    held = stand_in.held
    yield stand_in
    stand_in.fail(-1, 0)
    assert stand_in.lost or stand_in.held == held
    assert stand_in.contexts == 0
